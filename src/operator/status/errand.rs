//! What is told on a request for a backup or a restore test, and which one is carried out next. Its phase is the only record of how far it
//! is: the Job of one that is told to run is made by the next pass, and goes once what came of it is told.

use std::time::Duration;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};
use serde_json::{Value, json};

use super::{
    Outcome,
    operation::{ended, why},
    requested::{self, Standing},
};
use crate::{
    api::{
        Dhis2InstanceStatus, Reason,
        backup::VerifyLevel,
        errand::{Dhis2BackupStatus, Dhis2RestoreTestStatus, Phase, Progress},
        restore,
        status::OperationStatus,
    },
    operator::{
        desired::errand,
        errands::{Asked, asked, under_way},
        instance::Task,
        kind::Kind,
        observe::Observed,
        parse::Refusal,
    },
    report::{BackedUp, Data, Report, Verified},
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
    /// When to look again, if there is a reason that no watch tells.
    pub again: Option<Duration>,
}

/// What the requests are told on.
#[derive(Clone, Copy)]
pub struct View<'a> {
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
    let mut answers = Answers::default();
    let free = |asked: &Asked<'_>| asked.phase() == Some(Phase::Waiting) && waits_for(asked, view).is_none();
    let next = asked(view.observed).filter(free).min_by_key(Asked::age).map(|asked| asked.uid);
    for asked in asked(view.observed) {
        let Some(step) = step(&asked, next, view) else { continue };
        if matches!(step, Step::Ended) {
            answers.again = answers.again.or(Some(LATER));
        }
        let Some((status, added)) = told(&asked, &step, view) else { continue };
        if status.pointer("/phase").and_then(Value::as_str) != asked.errand.progress.phase.as_deref() {
            answers.again = Some(SOON);
        }
        answers.news.push(Answer { kind: asked.task.kind(), name: asked.name.to_owned(), uid: asked.uid.to_owned(), status, added });
    }
    answers
}

/// How a request stands.
enum Step<'a> {
    Waits(String),
    Begins,
    Runs,
    /// Its Job has ended, and what came of it is not told yet.
    Ended,
    Done(&'a Report),
    Failed(Reason, String),
    Over,
}

fn step<'a>(asked: &Asked<'_>, next: Option<&str>, view: &View<'a>) -> Option<Step<'a>> {
    let phase = asked.phase()?;
    Some(match phase {
        Phase::Done | Phase::Failed => Step::Over,
        // Its Job went with the instance. Another one of the name may come.
        Phase::Running => no_instance(view).map_or_else(|| work(asked, view), Step::Waits),
        Phase::Waiting => match waits_for(asked, view) {
            Some(reason) => Step::Waits(reason),
            None if next == Some(asked.uid) => Step::Begins,
            None => Step::Waits("It waits for the end of one that was made before it.".to_owned()),
        },
    })
}

/// How far the Job is. What its pod tells, and that it has ended, come by watches of their own, in any order.
fn work<'a>(asked: &Asked<'_>, view: &View<'a>) -> Step<'a> {
    let job = job(asked, view);
    // A restore test that starts DHIS2 has a step that reports what it restored, too.
    let is_result = |data: &Data| match asked.task {
        Task::Backup => matches!(data, Data::Backup(_)),
        Task::RestoreTest => matches!(data, Data::Verify(_)),
    };
    if let Some(report) = view.observed.result_of_step_where(&job, is_result) {
        return Step::Done(report);
    }
    let Some(well) = ended(&job, view.observed) else { return Step::Runs };
    let owner = view.observed.own(Kind::Job, &job).map(|slot| slot.uid.to_string()).unwrap_or_default();
    let mut pods = view.observed.pods_of(&owner).peekable();
    let told = pods.peek().is_some() && pods.all(|pod| pod.ended);
    let began = asked.errand.progress.started.as_ref().map_or(Timestamp::MIN, |time| time.0);
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
    }
}

fn job(asked: &Asked<'_>, view: &View<'_>) -> String {
    format!("{}-{}", view.name, errand::name(&asked.to_do()))
}

fn no_instance(view: &View<'_>) -> Option<String> {
    let name = view.name;
    match view.instance {
        None => Some(format!("There is no Dhis2Instance {name} in this namespace.")),
        Some((status, _)) if status.admin.is_none() => {
            Some(format!("It waits until {name} is set up: its conditions tell how far that is."))
        }
        Some(_) => None,
    }
}

/// What keeps it from beginning, in words.
fn waits_for(asked: &Asked<'_>, view: &View<'_>) -> Option<String> {
    let name = view.name;
    if let Some(reason) = no_instance(view) {
        return Some(reason);
    }
    let (status, outcome) = view.instance?;
    match outcome {
        Outcome::Paused => return Some(format!("It waits: the annotation dhis2.hosting/paused keeps the operator away from {name}.")),
        Outcome::Refused(Refusal { message, .. }) | Outcome::Failed { refusal: Refusal { message, .. }, .. } => {
            return Some(format!("It waits until {name} is not stalled any more: {message}"));
        }
        Outcome::Applied { .. } | Outcome::Interrupted { .. } => {}
    }
    if let Some(operation) = status.operation.as_deref().filter(|operation| is_under_way(operation)) {
        return Some(format!("It waits for the end of {} {}.", operation.kind, operation.name));
    }
    if let Some(other) = under_way(view.observed) {
        return Some(format!("It waits for the end of {} {}.", other.task.kind().name(), other.name));
    }
    let starts = asked.errand.level == Some(VerifyLevel::Application);
    if let Outcome::Applied { instance, .. } = outcome
        && starts
        && !instance.policies
    {
        let message = format!(
            "It waits until spec.network.policies of {name} is true: DHIS2 is started on a copy only where that reaches nobody. Level Data goes without."
        );
        return Some(message);
    }
    let has_a_set = status.backup.as_ref().is_some_and(|backup| backup.last.is_some());
    (asked.task == Task::RestoreTest && !has_a_set).then(|| format!("It waits until {name} has a backup set."))
}

/// A blocked upgrade waits itself.
fn is_under_way(operation: &OperationStatus) -> bool {
    operation.phase.parse().is_ok_and(|phase: restore::Phase| !phase.is_over()) || operation.operation().is_none()
}

/// The status, or what is added to it, if it says something new.
fn told(asked: &Asked<'_>, step: &Step<'_>, view: &View<'_>) -> Option<(Value, bool)> {
    let (phase, reason, message) = match step {
        Step::Over => return proven(asked, view).map(|time| (json!({ "proven": time }), true)),
        Step::Waits(message) => (Phase::Waiting, Reason::RequestWaiting, message.clone()),
        Step::Begins => (Phase::Running, running(asked.task), doing(asked, view)),
        Step::Runs => (Phase::Running, running(asked.task), troubled(asked, view).unwrap_or_else(|| doing(asked, view))),
        Step::Ended => {
            let message = format!("Job {} has ended; what came of it is yet to be told.", job(asked, view));
            (Phase::Running, running(asked.task), message)
        }
        Step::Done(report) => (Phase::Done, Reason::Done, sentence(&report.message)),
        Step::Failed(reason, message) => (Phase::Failed, *reason, sentence(message)),
    };
    let old = &asked.errand.progress;
    let standing = match phase {
        Phase::Done => Standing::Complete,
        Phase::Failed => Standing::Stalled,
        Phase::Waiting | Phase::Running => Standing::Open,
    };
    let started = (phase != Phase::Waiting).then(|| old.started.clone().unwrap_or(Time(view.now)));
    let (generation, place) = (asked.errand.generation, (view.runbooks, view.now));
    let progress = Progress {
        observed_generation: generation,
        conditions: requested::conditions(&old.conditions, generation, standing, reason, &message, place),
        phase: Some(phase.as_str().to_owned()),
        message: Some(message),
        started,
        finished: phase.is_over().then_some(Time(view.now)),
    };
    let data = if let Step::Done(report) = step { report.data.as_ref() } else { None };
    (progress != *old).then(|| (with_result(asked.task, progress, data, view), false))
}

fn with_result(task: Task, progress: Progress, data: Option<&Data>, view: &View<'_>) -> Value {
    match (task, data) {
        (Task::Backup, Some(Data::Backup(set))) => json!(backed_up(progress, set, view)),
        (Task::RestoreTest, Some(Data::Verify(proof))) => json!(restored(progress, proof)),
        _ => json!(progress),
    }
}

fn backed_up(progress: Progress, set: &BackedUp, view: &View<'_>) -> Dhis2BackupStatus {
    let number = |number: u64| i64::try_from(number).ok();
    Dhis2BackupStatus {
        progress,
        set: Some(set.set.clone()),
        set_time: set.created.parse().ok().map(Time),
        seconds: number(set.seconds),
        added_bytes: number(set.bytes_added),
        database_bytes: set.database_bytes.and_then(number),
        files: number(set.files),
        file_bytes: number(set.file_bytes),
        dhis2: set.dhis2.map(|version| version.to_string()),
        postgresql: set.postgresql.clone(),
        proven: proof_of(&set.set, view),
    }
}

fn restored(progress: Progress, proof: &Verified) -> Dhis2RestoreTestStatus {
    Dhis2RestoreTestStatus {
        progress,
        set: Some(proof.set.clone()),
        set_time: proof.created.parse().ok().map(Time),
        seconds: i64::try_from(proof.seconds).ok(),
        bytes: i64::try_from(proof.bytes).ok(),
        start_seconds: proof.start_seconds.and_then(|seconds| i64::try_from(seconds).ok()),
    }
}

/// When the set of a backup was proven, if that is news.
fn proven(asked: &Asked<'_>, view: &View<'_>) -> Option<Time> {
    if asked.task != Task::Backup || asked.errand.proven {
        return None;
    }
    proof_of(asked.errand.set.as_deref()?, view)
}

/// When this set was proven, if it is the one that was proven last.
fn proof_of(set: &str, view: &View<'_>) -> Option<Time> {
    let (status, _) = view.instance?;
    let last = status.backup.as_ref()?.last_verified.as_ref()?;
    last.time.clone().filter(|_| last.set == set)
}

fn running(task: Task) -> Reason {
    match task {
        Task::Backup => Reason::BackupRunning,
        Task::RestoreTest => Reason::RestoreTestRunning,
    }
}

fn doing(asked: &Asked<'_>, view: &View<'_>) -> String {
    let job = job(asked, view);
    match asked.task {
        Task::Backup => format!("The set is being made; `kubectl logs job/{job} -c backup` tells how far it is."),
        Task::RestoreTest => {
            format!("The set is being restored on scratch space and compared; `kubectl logs job/{job} -c verify` tells how far it is.")
        }
    }
}

/// What keeps the newest pod of its Job from working, or ended it: there may be another try.
fn troubled(asked: &Asked<'_>, view: &View<'_>) -> Option<String> {
    let trouble = view.observed.pod_of_step(&job(asked, view))?.trouble.as_ref()?;
    Some(sentence(&trouble.message))
}

fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests;
