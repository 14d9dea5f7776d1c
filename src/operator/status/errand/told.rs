//! The status of a request, in words.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::{Step, View, job};
use crate::{
    api::{
        Dhis2InstanceStatus, Reason,
        errand::{Dhis2BackupStatus, Dhis2RestoreTestStatus, Phase, Progress},
    },
    operator::{
        errands::Asked,
        instance::Task,
        status::requested::{self, Standing},
    },
    report::{BackedUp, Data, Verified},
};

/// The status, or what is added to it, if it says something new.
pub fn told(asked: &Asked<'_>, step: &Step<'_>, view: &View<'_>) -> Option<(Value, bool)> {
    let (phase, standing, reason, message) = match step {
        Step::Rests(_) => return None,
        Step::Over => return news_of_one_that_is_over(asked, view).map(|news| (news, true)),
        Step::Waits(message) => (Phase::Waiting, Standing::Open, Reason::RequestWaiting, message.clone()),
        Step::Needed(message) => (Phase::Waiting, Standing::Stalled, Reason::SetNeeded, message.clone()),
        Step::Begins => (Phase::Running, Standing::Open, running(asked.task), doing(asked, view)),
        Step::Runs => (Phase::Running, Standing::Open, running(asked.task), troubled(asked, view).unwrap_or_else(|| doing(asked, view))),
        Step::Ended => {
            let message = format!("Job {} has ended; what came of it is yet to be told.", job(asked, view));
            (Phase::Running, Standing::Open, running(asked.task), message)
        }
        Step::Done(report) => (Phase::Done, Standing::Complete, Reason::Done, sentence(&report.message)),
        Step::Failed(reason, message) => (Phase::Failed, Standing::Stalled, *reason, sentence(message)),
    };
    // Of a backup that is over the removal of its set begins anew.
    let nothing = Progress::default();
    let old = asked.errand.progress().unwrap_or(&nothing);
    let began = old.started.clone().filter(|_| !matches!(step, Step::Begins));
    let (generation, place) = (asked.errand.generation, (view.runbooks, view.now));
    let progress = Progress {
        observed_generation: generation,
        conditions: requested::conditions(&old.conditions, generation, standing, reason, &message, place),
        phase: Some(if asked.task == Task::Removal { Phase::Removing } else { phase }.as_str().to_owned()),
        message: Some(message),
        started: (phase != Phase::Waiting).then(|| began.unwrap_or(Time(view.now))),
        finished: phase.is_over().then_some(Time(view.now)),
    };
    if progress == *old {
        return None;
    }
    if asked.task == Task::Removal {
        // Beside what was told of the set. A time that holds no more is taken back.
        let mut added = json!(progress);
        for time in ["started", "finished"] {
            added.as_object_mut()?.entry(time).or_insert(Value::Null);
        }
        return Some((added, true));
    }
    let data = if let Step::Done(report) = step { report.data.as_ref() } else { None };
    Some((with_result(asked.task, progress, data, view), false))
}

fn with_result(task: Task, progress: Progress, data: Option<&Data>, view: &View<'_>) -> Value {
    match (task, data) {
        (Task::Backup, Some(Data::Backup(set))) => {
            let source = format!("{}/{}", view.namespace, view.name);
            json!(backed_up(progress, set, &source, view.instance.map(|(status, _)| status)))
        }
        (Task::RestoreTest, Some(Data::Verify(proof))) => json!(restored(progress, proof)),
        _ => json!(progress),
    }
}

/// What is told of a set that was made.
pub fn backed_up(progress: Progress, set: &BackedUp, source: &str, instance: Option<&Dhis2InstanceStatus>) -> Dhis2BackupStatus {
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
        source: Some(source.to_owned()),
        proven: proof_of(&set.set, instance),
        removed: None,
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

/// That its set was proven, and that another wish was seen: what becomes of the set when it is deleted.
fn news_of_one_that_is_over(asked: &Asked<'_>, view: &View<'_>) -> Option<Value> {
    let proven = proven(asked, view).map(|time| ("proven".to_owned(), json!(time)));
    let generation = asked.errand.generation.filter(|generation| asked.errand.observed_generation() != Some(*generation));
    let seen = generation.filter(|_| asked.task != Task::Removal).map(|generation| ("observedGeneration".to_owned(), json!(generation)));
    let news: serde_json::Map<String, Value> = proven.into_iter().chain(seen).collect();
    (!news.is_empty()).then_some(Value::Object(news))
}

/// When the set of a backup was proven, if that is news.
fn proven(asked: &Asked<'_>, view: &View<'_>) -> Option<Time> {
    if asked.task != Task::Backup || asked.errand.proven {
        return None;
    }
    proof_of(asked.errand.set.as_deref()?, view.instance.map(|(status, _)| status))
}

/// When this set was proven, if it is the one that was proven last.
fn proof_of(set: &str, instance: Option<&Dhis2InstanceStatus>) -> Option<Time> {
    let last = instance?.backup.as_ref()?.last_verified.as_ref()?;
    last.time.clone().filter(|_| last.set == set)
}

fn running(task: Task) -> Reason {
    match task {
        Task::Backup => Reason::BackupRunning,
        Task::RestoreTest => Reason::RestoreTestRunning,
        Task::Removal => Reason::RemovingSet,
    }
}

fn doing(asked: &Asked<'_>, view: &View<'_>) -> String {
    let job = job(asked, view);
    match asked.task {
        Task::Backup => format!("The set is being made; `kubectl logs job/{job} -c backup` tells how far it is."),
        Task::RestoreTest => {
            format!("The set is being restored on scratch space and compared; `kubectl logs job/{job} -c verify` tells how far it is.")
        }
        Task::Removal => format!("Its set is being removed; `kubectl logs job/{job} -c remove` tells how far that is."),
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
