//! What is told on a request for a backup or a restore test, and which one is carried out next. Its phase is the only record of how far it
//! is: the Job of one that is told to run is made by the next pass, and goes once what came of it is told.

mod removal;
mod told;
mod waits;

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;

pub(super) use told::backed_up;
use waits::waits_for;

use super::{
    Outcome,
    operation::{ended, why},
};
use crate::{
    api::{Dhis2InstanceStatus, Reason, errand::Phase},
    operator::{
        desired::errand,
        errands::{Asked, asked, mirrors, removals},
        instance::Task,
        kind::Kind,
        observe::Observed,
    },
    report::{Data, Report},
};

/// So long after its beginning nobody tells any more that its Job has pods.
const UNTOLD: SignedDuration = SignedDuration::from_mins(10);
/// What the next pass has to do is not told by any watch.
const SOON: Duration = Duration::from_millis(250);
/// Until what tells why a Job has ended is waited for.
const LATER: Duration = Duration::from_mins(1);

/// News of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion when that was found out: what is told of another is not told.
    pub version: u64,
    /// Its status, or what is added to it.
    pub status: Value,
    /// Is it added to what was told before?
    pub added: bool,
}

/// All news, and when to look again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// The news.
    pub news: Vec<Answer>,
    /// Objects that stay until their set is gone, or may go now.
    pub holds: Vec<Hold>,
    /// When to look again, if there is a reason that no watch tells.
    pub again: Option<Duration>,
}

/// Whether an object stays until its set is gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Does it stay?
    pub held: bool,
}

/// What the requests are told on.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Namespace of the instance.
    pub namespace: &'a str,
    /// Name of the instance.
    pub name: &'a str,
    /// Its status and how the pass went; none where there is no instance.
    pub instance: Option<(&'a Dhis2InstanceStatus, &'a Outcome)>,
    /// What was seen.
    pub observed: &'a Observed,
    /// Where the runbooks are.
    pub runbooks: &'a str,
    /// The time of the pass.
    pub now: Timestamp,
}

/// The requests whose status is another one now.
pub fn answers(view: &View<'_>) -> Answers {
    let mut answers = Answers { holds: removal::holds(view), ..Answers::default() };
    let all = || asked(view.observed).chain(removals(view.observed));
    let free = |asked: &Asked<'_>| is_to_begin(asked, view) && needed_by(asked, view).is_none() && waits_for(asked, view).is_none();
    let next = all().filter(free).min_by_key(Asked::age).map(|asked| asked.uid);
    for asked in all().chain(mirrors(view.observed)) {
        let Some(step) = step(&asked, next, view) else { continue };
        let wait = match &step {
            Step::Ended => Some(LATER),
            Step::Rests(wait) => Some(*wait),
            _ => None,
        };
        answers.look_in(wait);
        let Some((status, added)) = told::told(&asked, &step, view) else { continue };
        let phase = status.get("phase").and_then(Value::as_str);
        if phase.is_some_and(|phase| asked.errand.phase() != Some(phase)) || matches!(step, Step::Begins) {
            answers.look_in(Some(SOON));
        }
        let (kind, name, uid) = (asked.task.kind(), asked.name.to_owned(), asked.uid.to_owned());
        answers.news.push(Answer { kind, name, uid, version: asked.version, status, added });
    }
    answers
}

impl Answers {
    fn look_in(&mut self, wait: Option<Duration>) {
        self.again = self.again.into_iter().chain(wait).min();
    }
}

/// How a request stands.
enum Step<'a> {
    Waits(String),
    /// It is about a set that may not go.
    Needed(String),
    Begins,
    Runs,
    /// Its Job has ended, and what came of it is not told yet.
    Ended,
    Done(&'a Report),
    Failed(Reason, String),
    /// It failed, and is tried again in a while.
    Rests(Duration),
    Over,
}

fn step<'a>(asked: &Asked<'_>, next: Option<&str>, view: &View<'a>) -> Option<Step<'a>> {
    let phase = asked.phase()?;
    if asked.is_at_work() {
        // Its Job went with the instance. Another one of the name may come.
        return Some(waits::no_instance(view).map_or_else(|| work(asked, view), Step::Waits));
    }
    if !is_to_begin(asked, view) {
        return Some(removal::rests(asked, view.now).map_or(Step::Over, Step::Rests)).filter(|_| phase != Phase::Waiting);
    }
    if let Some(why) = needed_by(asked, view) {
        return Some(Step::Needed(why));
    }
    Some(match waits_for(asked, view) {
        Some(reason) => Step::Waits(reason),
        None if next == Some(asked.uid) => Step::Begins,
        None => Step::Waits("It waits for the end of one that was made before it.".to_owned()),
    })
}

/// Has it yet to begin, or to begin once more?
fn is_to_begin(asked: &Asked<'_>, view: &View<'_>) -> bool {
    match asked.task {
        Task::Backup | Task::RestoreTest => asked.phase() == Some(Phase::Waiting),
        Task::Removal => !removal::is_done(asked, view) && !asked.is_at_work() && removal::rests(asked, view.now).is_none(),
    }
}

fn needed_by(asked: &Asked<'_>, view: &View<'_>) -> Option<String> {
    waits::needed(asked, view).filter(|_| asked.task == Task::Removal)
}

/// How far the Job is. What its pod tells, and that it has ended, come by watches of their own, in any order.
fn work<'a>(asked: &Asked<'_>, view: &View<'a>) -> Step<'a> {
    let job = job(asked, view);
    // A restore test that starts DHIS2 has a step that reports what it restored, too.
    let is_result = |data: &Data| match asked.task {
        Task::Backup => matches!(data, Data::Backup(_)),
        Task::RestoreTest => matches!(data, Data::Verify(_)),
        // That its Job has succeeded is all.
        Task::Removal => false,
    };
    if let Some(report) = view.observed.result_of_step_where(&job, is_result) {
        return Step::Done(report);
    }
    // Its Job went with the copy.
    if let Some(message) = view.instance.and_then(|(_, outcome)| waits::without_copy(asked, outcome, view.name)) {
        return Step::Failed(Reason::InvalidSpec, message);
    }
    let Some(well) = ended(&job, view.observed) else { return Step::Runs };
    if well && asked.task == Task::Removal {
        return Step::Over;
    }
    let owner = view.observed.own(Kind::Job, &job).map(|slot| slot.uid.to_string()).unwrap_or_default();
    let mut pods = view.observed.pods_of(&owner).peekable();
    let told = pods.peek().is_some() && pods.all(|pod| pod.ended);
    let began = asked.errand.progress().and_then(|told| told.started.as_ref()).map_or(Timestamp::MIN, |time| time.0);
    if !told && view.now.duration_since(began) < UNTOLD {
        return Step::Ended;
    }
    let named = |reason| if reason == Reason::Failed { unnamed(asked.task) } else { reason };
    if well {
        let message = format!("Job {job} succeeded, but what it reported went with its pod: status.backup of the instance may tell of it");
        return Step::Failed(unnamed(asked.task), message);
    }
    let (reason, message) = why(&job, view.observed);
    Step::Failed(named(reason), message)
}

/// A failure without a reason of its own.
fn unnamed(task: Task) -> Reason {
    match task {
        Task::Backup => Reason::BackupFailed,
        Task::RestoreTest => Reason::RestoreTestFailed,
        Task::Removal => Reason::RemovalFailed,
    }
}

fn job(asked: &Asked<'_>, view: &View<'_>) -> String {
    format!("{}-{}", view.name, errand::name(&asked.to_do()))
}

#[cfg(test)]
mod tests;
