//! What is shipped, and how fast it is there.

use std::path::Path;
use std::time::Instant;

use crate::scale::figure::{Figure, Goal};
use crate::scale::spread::{Spread, millis};
use crate::scale::stand::Stand;
use crate::site::Outcome;

/// So many starts.
const STARTS: usize = 11;

/// The size of the program, and how long it takes to get ready on an empty cluster.
///
/// # Errors
/// When it does not get ready.
pub async fn size(stand: &Stand, program: &Path) -> Outcome<[Figure; 2]> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        let mut operator = stand.start()?.spawn()?;
        operator.ready("ready: leading").await?;
        times.push(millis(begun.elapsed()));
        operator.kill();
    }
    // The first one waits for nobody's Lease, but makes it.
    let spread = Spread::of(&times).ok_or("nothing was started")?;
    #[expect(clippy::cast_precision_loss, reason = "no program has 2^52 bytes")]
    let megabytes = std::fs::metadata(program)?.len() as f64 / 1e6;
    Ok([
        Figure::new("operator's program", 0, "MB", Spread::one(megabytes)).goal(Goal::AtMost(10.0)),
        Figure::new("start on an empty cluster: until ready", 0, "ms", spread).goal(Goal::AtMost(300.0)),
    ])
}
