//! Nothing happens: what is asked then?

use std::time::Duration;

use crate::scale::contender::Running;
use crate::scale::figure::{Figure, Goal};
use crate::scale::measure::create::ratio;
use crate::scale::spread::Spread;
use crate::scale::stand::Stand;
use crate::site::Outcome;
use crate::site::audit::{self, Request};

/// So long after a start nothing of it is left to do.
pub const AFTER_A_START: Duration = Duration::from_secs(5);

/// Requests of so many instances in this time, beside those that keep the Lease and the watches.
///
/// # Errors
/// When the log can't be read.
pub async fn idle(stand: &mut Stand, running: &Running, instances: usize, time: Duration) -> Outcome<[Figure; 2]> {
    let (mark, before) = (stand.traffic.mark()?, running.usage().ticks);
    tokio::time::sleep(time).await;
    stand.traffic.mark()?;
    let asked: Vec<Request> = stand.traffic.by(running.user(), mark).into_iter().cloned().collect();
    if !asked.is_empty() {
        eprintln!("idle: {}", audit::told(&audit::count(&asked, Request::what)));
    }
    let seconds = time.as_secs();
    let ticks = usize::try_from(running.usage().ticks - before)?;
    Ok([
        Figure::new(&format!("requests in {seconds} idle seconds"), instances, "", Spread::one(ratio(asked.len(), 1)))
            .goal(Goal::AtMost(0.0)),
        Figure::new("processor, idle", instances, "ms/s", Spread::one(ratio(ticks * 10, 1) / time.as_secs_f64())),
    ])
}
