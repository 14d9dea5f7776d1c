//! All storms, and a run of some of them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::future::LocalBoxFuture;
use futures::{FutureExt, StreamExt, stream};

use super::play::{self, Sky};
use super::report::Report;
use super::sky::{self, Entry};
use super::stage::Stage;
use super::{beside, election, namespace, overtaken, past, server};
use crate::site::{Outcome, chain};

/// A storm.
pub struct Storm {
    /// Its name.
    pub name: &'static str,
    /// Which fault of the catalogue it is.
    pub fault: &'static str,
    /// What happens.
    pub what: &'static str,
    /// How.
    pub how: How,
}

/// A storm that is played on a stage.
pub type Scripted = for<'s> fn(&'s Stage) -> LocalBoxFuture<'s, Outcome<Report>>;

/// How a storm goes.
pub enum How {
    /// It befalls requests.
    Sky(Box<Sky>),
    /// It is a story of its own.
    Script(Scripted),
    /// It is one, and breaks what others stand on: it is alone on a stage.
    Alone(Scripted),
}

/// All storms.
pub fn all() -> Vec<Storm> {
    let requests = [sky::requests(), sky::refusals(), sky::watches(), sky::silences()].concat();
    let told: [(_, _, _, Scripted); 11] = [
        ("silent-one", "F11", "what is asked about one instance is never answered; told is when another one is done", beside::silent),
        ("overtaken", "F2", "what was repaired is changed again before the answer to the repair is back", overtaken::by_somebody),
        ("past-change", "F9", "after a start lists are as before a change that is done", past::before_change),
        ("past-create", "F9", "after a start lists are as before a step that is done", past::before_steps),
        ("past-delete", "F9", "after a start lists have an instance that is gone", past::before_delete),
        ("leader-killed", "F13", "the leader is killed at its third write", election::killed),
        ("leader-stopped", "F13", "the leader is stopped with a write under way, and goes on when another one leads", election::stopped),
        (
            "leader-cut-off",
            "F13",
            "the leader is cut off at its third write, and connected again when another one leads",
            election::cut_off,
        ),
        ("clocks", "F14", "the clocks of two operators are ten minutes apart, either way", election::clocks),
        ("quota", "F16", "a quota is exhausted, and goes", namespace::quota),
        ("limits", "F16", "a LimitRange changes pods", namespace::limits),
    ];
    let told = told.into_iter().map(|(name, fault, what, script)| Storm { name, fault, what, how: How::Script(script) });
    let alone: [(_, _, _, Scripted); 5] = [
        ("definition-missing", "F15", "the operator starts before the definition is there", server::missing),
        ("definition-deleted", "F15", "the definition is deleted and comes back", server::deleted),
        ("definition-older", "F15", "the definition is replaced by an older one, and back", server::older),
        ("server-restarted", "F15", "the API server is killed, and away for five seconds", server::restarted),
        ("database-full", "F15", "etcd has no room left, and has some again", server::full),
    ];
    let alone = alone.into_iter().map(|(name, fault, what, script)| Storm { name, fault, what, how: How::Alone(script) });
    requests.into_iter().map(storm).chain(told).chain(alone).collect()
}

fn storm((name, fault, what, sky): Entry) -> Storm {
    Storm { name, fault, what, how: How::Sky(Box::new(sky)) }
}

/// What became of one.
pub struct Verdict {
    /// Its name.
    pub name: &'static str,
    /// Which fault of the catalogue it is.
    pub fault: &'static str,
    /// What was seen.
    pub report: Report,
    /// How long it took.
    pub took: Duration,
}

/// Etcd on the stage of those that are alone: full after a while, and room enough for all that comes before.
const SMALL: u64 = 24 << 20;

/// Plays these storms, so many at a time, and those that need it alone beside them, one after the other. Tells of each when it is over.
///
/// # Errors
/// When a stage can't be built.
pub async fn play(operator: Option<PathBuf>, storms: Vec<Storm>, at_a_time: usize, told: impl Fn(&Verdict)) -> Outcome<Vec<Verdict>> {
    let (alone, others): (Vec<Storm>, Vec<Storm>) = storms.into_iter().partition(|storm| matches!(storm.how, How::Alone(_)));
    // One behind the other: both build the operator.
    let stage = if others.is_empty() { None } else { Some(Stage::build(operator.clone(), None).await?) };
    let apart = if alone.is_empty() { None } else { Some(Stage::build(operator, Some(SMALL)).await?) };
    let many = on(stage.as_ref(), &others, at_a_time, &told);
    let single = on(apart.as_ref(), &alone, 1, &told);
    let (mut many, single) = futures::join!(many, single);
    many.extend(single);
    Ok(many)
}

async fn on(stage: Option<&Stage>, storms: &[Storm], at_a_time: usize, told: &impl Fn(&Verdict)) -> Vec<Verdict> {
    let Some(stage) = stage else { return Vec::new() };
    let verdicts = stream::iter(storms).map(|storm| one(stage, storm)).buffer_unordered(at_a_time);
    verdicts.inspect(|verdict| told(verdict)).collect().await
}

fn one<'a>(stage: &'a Stage, storm: &'a Storm) -> LocalBoxFuture<'a, Verdict> {
    async move {
        let begun = Instant::now();
        let report = match &storm.how {
            How::Sky(sky) => play::play(stage, storm.name, sky).await,
            How::Script(script) | How::Alone(script) => script(stage).await,
        };
        let report = report.unwrap_or_else(|error| Report { wrong: vec![chain(&*error)], ..Report::default() });
        Verdict { name: storm.name, fault: storm.fault, report, took: begun.elapsed() }
    }
    .boxed_local()
}
