//! Copies of sets as they are told: what each holds, failures after that, and whether the last run is recent enough.

use std::time::Duration;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};
use kube::ResourceExt;

use super::{backup, conditions::Told, verify};
use crate::{
    api::{
        Dhis2Instance, Dhis2InstanceStatus, Reason,
        status::{BackupFailure, BackupStatus, CopyStatus},
    },
    operator::{
        desired::copies::{suffix, tests_suffix},
        kind::Kind,
        observe::{self, Observed},
        parse,
        slot::Pod,
    },
    report::{Copied, Data, Retention},
};

/// The component of their pods.
const PART: &str = "copy";
/// How late a copy may be: on a thin line it takes hours, and its node may have been away.
const GRACE: SignedDuration = SignedDuration::from_hours(24);

/// Takes in what the pods tell that are still there. What is told of a place counts for that place only.
pub fn record(status: &mut BackupStatus, resource: &Dhis2Instance, observed: &Observed, now: Timestamp) {
    // What can't be read now is told elsewhere; what is known of the copies that are asked for stays.
    let (Ok(copies), Ok(schedules)) = (parse::copies::copies(resource), parse::backup(resource)) else {
        status.copies.retain(|known| resource.spec.backup.copies.iter().any(|copy| copy.name == known.name));
        return;
    };
    let none_to_copy = status.last.is_none();
    let known = std::mem::take(&mut status.copies);
    for copy in copies {
        let same = known.iter().find(|known| (&known.name, &known.repository) == (&copy.name, &copy.bucket.url)).cloned();
        let new = || CopyStatus { name: copy.name.clone(), repository: copy.bucket.url.clone(), ..CopyStatus::default() };
        let mut told = same.unwrap_or_else(new);
        let pods = runs(resource, observed, &copy.name);
        let mut failures = backup::standing(told.failure.take(), &pods);
        for (name, pod) in pods {
            for report in &pod.reports {
                if let Some(Data::Copy(copied)) = report.data.as_ref().filter(|data| is_of(data, &told)) {
                    take(&mut told, copied, pod.created);
                    failures.extend(shortcoming(name, pod, copied));
                }
            }
            failures.extend(backup::failure(name, pod).map(named));
        }
        told.failure = backup::newest(failures, when(&told));
        take_tests(&mut told, resource, observed);
        told.behind = behind(status, &told);
        backup::keep(&mut told.schedule, &copy.schedule, &schedules, none_to_copy, now);
        // None is due before there is a set.
        let untested = copy.verify_schedule.is_none() || told.set.is_none();
        backup::keep(&mut told.verify_schedule, copy.verify_schedule.as_deref().unwrap_or_default(), &schedules, untested, now);
        status.copies.push(told);
    }
}

fn runs<'a>(resource: &Dhis2Instance, observed: &'a Observed, copy: &str) -> Vec<(&'a str, &'a Pod)> {
    backup::pods_of(observed, PART, &[cron_job(resource, observed, &suffix(copy))])
}

fn cron_job<'a>(resource: &Dhis2Instance, observed: &'a Observed, suffix: &str) -> Option<&'a str> {
    observed.slot(Kind::CronJob, &format!("{}-{suffix}", resource.name_any())).map(|slot| &*slot.uid)
}

/// Restore tests of a set in this copy: those that people asked for, and scheduled ones.
fn tests<'a>(resource: &Dhis2Instance, observed: &'a Observed, copy: &str) -> Vec<(&'a str, &'a Pod)> {
    let scheduled = cron_job(resource, observed, &tests_suffix(copy));
    let all = backup::pods_of(observed, PART, &[resource.metadata.uid.as_deref(), scheduled]);
    all.into_iter().filter(|(_, pod)| pod.copy.as_deref() == Some(copy)).collect()
}

fn take_tests(told: &mut CopyStatus, resource: &Dhis2Instance, observed: &Observed) {
    let pods = tests(resource, observed, &told.name);
    let mut failures = backup::standing(told.verify_failure.take(), &pods);
    for (name, pod) in pods {
        for report in &pod.reports {
            if let Some(Data::Verify(proof)) = &report.data
                && proof.copy.as_ref() == Some(&told.repository)
                && pod.created >= proven(told)
            {
                told.last_verified = Some(verify::proof(proof, pod.created));
            }
        }
        failures.extend(verify::failure(name, pod));
    }
    let failure = backup::newest(failures, None);
    told.verify_failure = failure.filter(|failure| !is_made_good(failure, told));
}

fn proven(told: &CopyStatus) -> Option<Timestamp> {
    told.last_verified.as_ref()?.time.as_ref().map(|time| time.0)
}

/// An older set than the newest one may need nothing of what is damaged.
fn is_made_good(failure: &BackupFailure, told: &CopyStatus) -> bool {
    let of_set = told.last_verified.as_ref().and_then(|proof| proof.set_time.as_ref());
    proven(told) > failure.time.as_ref().map(|time| time.0) && of_set >= told.set_time.as_ref()
}

fn is_of(data: &Data, told: &CopyStatus) -> bool {
    matches!(data, Data::Copy(copied) if (&copied.copy, &copied.repository) == (&told.name, &told.repository))
}

fn take(told: &mut CopyStatus, copied: &Copied, started: Option<Timestamp>) {
    let bytes = copied.bytes.and_then(|bytes| i64::try_from(bytes).ok());
    if started < when(told) {
        // What it takes only the run tells that has added something.
        told.bytes = told.bytes.or(bytes);
        return;
    }
    told.set = Some(copied.set.clone());
    told.set_time = copied.created.parse().ok().map(Time);
    told.time = started.map(Time);
    told.sets = i64::try_from(copied.sets).ok();
    told.missing = i64::try_from(copied.missing).ok();
    told.bytes = bytes.or(told.bytes);
    told.seconds = i64::try_from(copied.seconds).ok();
    told.key = Some(copied.key.clone());
}

fn when(told: &CopyStatus) -> Option<Timestamp> {
    told.time.as_ref().map(|time| time.0)
}

/// Sets that are newer than those of the copy.
fn behind(status: &BackupStatus, told: &CopyStatus) -> Option<i64> {
    let known = status.history.iter().position(|known| told.set.as_ref() == Some(&known.set));
    let newest = told.set_time.as_ref()?.0;
    let newer = || status.history.iter().filter(|set| backup::when(set).is_some_and(|time| time > newest)).count();
    i64::try_from(known.unwrap_or_else(newer)).ok()
}

/// A failure without a reason of its own.
fn named(failure: BackupFailure) -> BackupFailure {
    let unnamed = failure.reason == Reason::Failed.as_str();
    if unnamed { BackupFailure { reason: Reason::CopyFailed.as_str().to_owned(), ..failure } } else { failure }
}

/// What is wrong with a copy that has the newest set all the same.
fn shortcoming(name: &str, pod: &Pod, copied: &Copied) -> Option<BackupFailure> {
    (copied.retention == Retention::Failed).then(|| BackupFailure {
        pod: name.to_owned(),
        time: pod.created.map(Time),
        reason: Reason::CopyFailed.as_str().to_owned(),
        message: format!(
            "Set {} is in the copy, but the sets that are not to be kept could not be removed from it: it grows. See the log of its pod.",
            copied.set
        ),
    })
}

/// The condition `BackupCopied`; none where no copies are asked for.
pub fn copied(resource: &Dhis2Instance, status: &Dhis2InstanceStatus, observed: &Observed, now: Timestamp) -> Option<Told> {
    let copies = &resource.spec.backup.copies;
    if copies.is_empty() {
        return None;
    }
    let told = |holds, reason, message: String| Some(Told { kind: "BackupCopied", holds, reason, message });
    let known = |name: &str| status.backup.iter().flat_map(|backup| &backup.copies).find(|known| known.name == name);
    let found: Vec<_> = copies.iter().map(|copy| state(resource, &copy.name, known(&copy.name), observed, now)).collect();
    let trouble = found.iter().filter_map(|state| state.as_ref().err());
    // What needs somebody first; of what comes by itself the rest is told.
    match trouble.min_by_key(|(reason, _)| reason.is_progress()) {
        Some((reason, message)) => told(false, *reason, message.clone()),
        None => told(true, Reason::Done, found.into_iter().filter_map(Result::ok).collect::<Vec<_>>().join(" ")),
    }
}

/// How one copy is.
fn state(
    resource: &Dhis2Instance,
    name: &str,
    known: Option<&CopyStatus>,
    observed: &Observed,
    now: Timestamp,
) -> Result<String, (Reason, String)> {
    for (field, with) in observe::fields_of_copy(name) {
        if let Some(secret) = observed.missing.get(&field) {
            let message = format!("Secret {secret} of {field} does not exist: nothing is copied. Make it, with {with}.");
            return Err((Reason::SecretMissing, message));
        }
    }
    if let Some(failure) = known.and_then(|known| known.failure.as_ref()) {
        let reason = failure.reason.parse().unwrap_or(Reason::CopyFailed);
        return Err((reason, format!("{}: {}", failure.pod, failure.message)));
    }
    if let Some(failure) = known.and_then(|known| known.verify_failure.as_ref()) {
        let reason = failure.reason.parse().unwrap_or(Reason::RestoreTestFailed);
        return Err((reason, format!("A restore test from copy {name}, {}: {}", failure.pod, failure.message)));
    }
    let running = backup::is_one_running(&runs(resource, observed, name), now);
    let late = known.and_then(|known| due_in(known, now)) == Some(Duration::ZERO) && !running;
    match known.and_then(|known| Some((known, known.set.as_ref()?))) {
        None if late => Err((Reason::CopyOverdue, format!("Copy {name} should have its first set by now."))),
        None if running => Err((Reason::NotCopiedYet, format!("Copy {name} is being made for the first time."))),
        None => Err((Reason::NotCopiedYet, format!("Copy {name} has no set yet; it is made by its schedule."))),
        Some((_, set)) if late => {
            Err((Reason::CopyOverdue, format!("The newest set in copy {name} is {set}; the next run should have been made by now.")))
        }
        Some((known, _)) if is_untested(known, &tests(resource, observed, name), now) => {
            let last = known.last_verified.as_ref().map_or("no set was restored from it yet".to_owned(), |proof| {
                format!("the last set that was restored from it is {}", proof.set)
            });
            Err((Reason::VerifyOverdue, format!("Copy {name}: {last}; the next restore test should have been made by now.")))
        }
        Some((known, set)) => {
            let missing = known.missing.filter(|missing| *missing > 0).map(|missing| format!("; {missing} older ones are to follow"));
            let proven = known.last_verified.as_ref().map(|proof| format!("; set {} was restored from it", proof.set));
            Ok(format!("Copy {name} has set {set}{}{}.", missing.unwrap_or_default(), proven.unwrap_or_default()))
        }
    }
}

fn is_untested(known: &CopyStatus, tests: &[(&str, &Pod)], now: Timestamp) -> bool {
    test_due_in(known, now) == Some(Duration::ZERO) && !backup::is_one_running(tests, now)
}

fn test_due_in(known: &CopyStatus, now: Timestamp) -> Option<Duration> {
    backup::due_in(known.verify_schedule.as_ref()?, proven(known).unwrap_or(Timestamp::MIN), GRACE, now)
}

fn due_in(known: &CopyStatus, now: Timestamp) -> Option<Duration> {
    backup::due_in(known.schedule.as_ref()?, when(known).unwrap_or(Timestamp::MIN), GRACE, now)
}

/// How long until the first of the copies, or of the tests from them, counts as overdue that does not yet.
pub fn overdue_in(status: &Dhis2InstanceStatus, now: Timestamp) -> Option<Duration> {
    let copies = status.backup.iter().flat_map(|backup| &backup.copies);
    let waits = copies.flat_map(|known| [due_in(known, now), test_due_in(known, now)]).flatten();
    waits.filter(|wait| !wait.is_zero()).min()
}

#[cfg(test)]
mod tests;
