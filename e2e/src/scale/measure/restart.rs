//! The operator is killed and started again while nothing else happens.

use std::time::{Duration, Instant};

use crate::scale::contender::mebibytes;
use crate::scale::figure::{Figure, Goal};
use crate::scale::measure::create::{self, ratio};
use crate::scale::spread::Spread;
use crate::scale::stand::Stand;
use crate::site::Outcome;
use crate::site::audit::{self, Request};

/// So long is looked at what it writes when it knows everything.
const AFTER: Duration = Duration::from_secs(10);

/// Starts an operator anew that looks after so many instances. It was killed a moment ago.
///
/// # Errors
/// When it does not get ready.
pub async fn restart(stand: &mut Stand, instances: usize) -> Outcome<Vec<Figure>> {
    let mark = stand.traffic.mark()?;
    let begun = Instant::now();
    let mut operator = stand.start()?.spawn()?;
    operator.ready("ready: leading").await?;
    let ready = begun.elapsed().as_secs_f64();
    tokio::time::sleep(AFTER).await;
    stand.traffic.mark()?;
    let asked: Vec<Request> = stand.traffic.by(&stand.user(), mark).into_iter().cloned().collect();
    eprintln!("restart with {instances}: {}", audit::told(&audit::count(&asked, Request::what)));
    let writes = asked.iter().filter(|request| request.writes()).count();
    let usage = operator.usage();
    operator.kill();
    let memory = Figure::new("restart: memory at most (VmHWM)", instances, "MiB", Spread::one(mebibytes(usage.peak)));
    Ok(vec![
        Figure::new("restart: until ready", instances, "s", Spread::one(ready)).goal(Goal::AtMost(15.0)),
        Figure::new("restart: requests that change something", instances, "", Spread::one(ratio(writes, 1))).goal(Goal::AtMost(0.0)),
        create::with_memory_goal(memory, instances),
        Figure::new("restart: processor", instances, "s", Spread::one(create::seconds(usage.ticks))),
    ])
}
