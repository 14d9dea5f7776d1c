//! A burst of new instances: what is asked for each, and how much memory that takes.

use std::collections::BTreeMap;
use std::time::Duration;

use dhis2_operator::operator::settings::Settings;

use crate::scale::contender::{Running, mebibytes};
use crate::scale::figure::{Figure, Goal};
use crate::scale::spread::Spread;
use crate::scale::stand::Stand;
use crate::scale::{children, crowd};
use crate::site::Outcome;
use crate::site::audit::{self, Request};

/// So long may a burst take: a slow machine may be used.
const LIMIT: Duration = Duration::from_mins(1);
const LIMIT_EACH: Duration = Duration::from_millis(500);

/// Writes of an instance beside those of its objects: of its status, and an event.
const BESIDE: f64 = 3.0;

/// The time that a burst may take.
pub fn limit(instances: usize) -> Duration {
    LIMIT + LIMIT_EACH * u32::try_from(instances).unwrap_or(u32::MAX)
}

/// How many objects an instance has before anybody runs a pod.
///
/// # Errors
/// When the operator would refuse it.
pub fn objects() -> Outcome<usize> {
    Ok(children::wanted(&crowd::instance(0)?, &Settings::default())?.len())
}

/// Makes so many instances, waits until all of their objects are there and nothing more is asked, and returns the mark before it.
///
/// # Errors
/// When that does not come about.
pub async fn burst(stand: &mut Stand, running: &Running, instances: usize) -> Outcome<usize> {
    let mark = stand.traffic.mark()?;
    crowd::create(&stand.rig.client(), 0..instances).await?;
    stand.traffic.until_made(running.user(), mark, instances * objects()?, limit(instances)).await?;
    Ok(mark)
}

/// What the operator asked for each of so many instances that were made after a mark.
///
/// # Errors
/// When an instance has no objects.
pub fn requests(stand: &Stand, running: &Running, mark: usize, instances: usize) -> Outcome<[Figure; 2]> {
    let asked = stand.traffic.by(running.user(), mark);
    let counts = |chosen: &dyn Fn(&Request) -> bool| -> BTreeMap<String, usize> {
        let requests: Vec<Request> = asked.iter().filter(|request| chosen(request)).map(|request| (*request).clone()).collect();
        audit::count(&requests, Request::what)
    };
    let (writes, reads) = (counts(&Request::writes), counts(&|request| !request.writes()));
    eprintln!("{instances} instances: {}; read: {}", audit::told(&writes), audit::told(&reads));
    let each = |counts: &BTreeMap<String, usize>| Spread::one(ratio(counts.values().sum(), instances));
    let most = ratio(objects()?, 1) + BESIDE;
    Ok([
        Figure::new("requests that change something, a create", instances, "", each(&writes)).goal(Goal::AtMost(most)),
        Figure::new("requests that read, a create", instances, "", each(&reads)).goal(Goal::AtMost(1.0)),
    ])
}

/// The most memory that somebody had so far.
pub fn memory(running: &Running, instances: usize) -> Figure {
    with_memory_goal(Figure::new("memory at most (VmHWM)", instances, "MiB", Spread::one(mebibytes(running.usage().peak))), instances)
}

/// With the goal for the memory that so many instances take, where there is one.
pub fn with_memory_goal(figure: Figure, instances: usize) -> Figure {
    match instances {
        0 => figure.goal(Goal::AtMost(16.0)),
        1000 => figure.goal(Goal::AtMost(40.0)),
        5000 => figure.goal(Goal::AtMost(112.0)),
        _ => figure,
    }
}

/// Clock ticks as seconds.
#[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^52")]
pub fn seconds(ticks: u64) -> f64 {
    ticks as f64 / 100.0
}

/// So many for each.
#[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^52")]
pub fn ratio(all: usize, each: usize) -> f64 {
    all as f64 / each as f64
}
