//! Backups as they are told: the newest set, failures after it, and whether the last one is recent enough.

use std::time::Duration;

use croner::parser::CronParser;
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp, tz::TimeZone},
};
use kube::ResourceExt;

use super::{Outcome, conditions::Told, copies, operation::ended, verify};
use crate::{
    api::{
        ACCEPTED_SET, Dhis2Instance, Dhis2InstanceStatus, Reason,
        status::{BackupFailure, BackupStatus, ScheduleStatus, SetStatus, ShrunkStatus},
    },
    operator::{
        desired::errand,
        errands::{Asked, removals},
        instance::Backup,
        kind::Kind,
        observe::{self, Observed},
        parse::{self, Refusal},
        slot::{Pod, Slot},
    },
    report::{BackedUp, Data, Retention},
};

/// The component of pods that make backups.
pub(super) const PART: &str = "backup";
/// Sets that the status remembers.
const HISTORY: usize = 5;
/// How late a backup may be before it counts as overdue: it takes time itself, and a node may have been away.
const GRACE: SignedDuration = SignedDuration::from_hours(2);

/// A backup that runs longer than this is not what keeps the next one from being overdue.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);

/// The status of backups, with what the pods that are still there tell. It is told however the pass went: the CronJob
/// goes on while an instance is paused or waits for a person.
pub fn recorded(old: Option<BackupStatus>, resource: &Dhis2Instance, observed: &Observed, now: Timestamp) -> Option<BackupStatus> {
    let mut status = old.unwrap_or_default();
    let pods = runs(resource, observed, PART);
    let mut failures = standing(status.failure.take(), &pods);
    let mut sets = Vec::new();
    for (name, pod) in pods {
        for report in &pod.reports {
            if let Some(Data::Backup(set)) = &report.data {
                sets.push((pod.created, set));
                failures.extend(shortcoming(name, pod, set));
            }
        }
        failures.extend(failure(name, pod));
    }
    sets.sort_by_key(|(started, _)| *started);
    for (started, set) in sets {
        take(&mut status, started, set);
    }
    let last = status.last.as_ref().and_then(when);
    status.failure = newest(failures, last);
    if let Ok(backup) = parse::backup(resource) {
        keep(&mut status.schedule, &backup.schedule, &backup, backup.suspend, now);
    }
    status.repository = place(resource);
    forget_removed(&mut status, resource, observed);
    verify::record(&mut status, resource, observed, now);
    copies::record(&mut status, resource, observed, now);
    (status != BackupStatus::default()).then_some(status)
}

/// A set that was removed is none to restore.
fn forget_removed(status: &mut BackupStatus, resource: &Dhis2Instance, observed: &Observed) {
    let name = resource.name_any();
    let is_gone = |asked: &Asked<'_>| {
        let job = format!("{name}-{}", errand::name(&asked.to_do()));
        asked.is_at_work() && ended(&job, observed) == Some(true)
    };
    for set in removals(observed).filter(is_gone).filter_map(|asked| asked.errand.set.as_deref()) {
        let before = status.history.len();
        status.history.retain(|known| known.set != set);
        if status.history.len() < before {
            status.sets = status.sets.map(|sets| sets - 1);
        }
    }
}

/// Where the repository is; none on a volume, or where that can't be read, which is told elsewhere.
fn place(resource: &Dhis2Instance) -> Option<String> {
    let s3 = resource.spec.backup.repository.s3.as_ref()?;
    parse::bucket("backup.repository.s3", s3, resource, None).ok().map(|bucket| bucket.url)
}

/// The failure that is known already, unless its pod goes on.
pub(super) fn standing(known: Option<BackupFailure>, pods: &[(&str, &Pod)]) -> Vec<BackupFailure> {
    let goes_on = |failure: &BackupFailure| pods.iter().any(|(name, pod)| *name == failure.pod && !pod.ended && pod.trouble.is_none());
    known.into_iter().filter(|failure| !goes_on(failure)).collect()
}

/// What is wrong with a pod.
pub(super) fn failure(name: &str, pod: &Pod) -> Option<BackupFailure> {
    pod.trouble.as_ref().map(|trouble| BackupFailure {
        pod: name.to_owned(),
        time: pod.created.map(Time),
        reason: trouble.reason.as_str().to_owned(),
        message: trouble.message.clone(),
    })
}

/// The failure that counts: until something newer makes it good, also when its pod is gone. Of two of one pod the later word holds.
pub(super) fn newest(failures: Vec<BackupFailure>, good: Option<Timestamp>) -> Option<BackupFailure> {
    let newest = failures.into_iter().max_by_key(time_of_failure);
    newest.filter(|failure| good.is_none() || time_of_failure(failure) >= good)
}

fn time_of_failure(failure: &BackupFailure) -> Option<Timestamp> {
    failure.time.as_ref().map(|time| time.0)
}

/// The schedule in force. One that can't be read leaves the old one: the CronJob was not changed.
pub(super) fn keep(known: &mut Option<ScheduleStatus>, cron: &str, Backup { time_zone, .. }: &Backup, suspend: bool, now: Timestamp) {
    if suspend {
        *known = None;
    } else if known.as_ref().is_none_or(|known| (known.cron.as_str(), &known.time_zone) != (cron, time_zone)) {
        *known = Some(ScheduleStatus { cron: cron.to_owned(), time_zone: time_zone.clone(), since: Some(Time(now)) });
    }
}

/// Pods of backups, or of restore tests: those that a Job made which is the instance's own, or its CronJob's.
pub(super) fn runs<'a>(resource: &Dhis2Instance, observed: &'a Observed, part: &str) -> Vec<(&'a str, &'a Pod)> {
    let cron = observed.slot(Kind::CronJob, &format!("{}-{part}", resource.name_any())).map(|slot| &*slot.uid);
    pods_of(observed, part, &[resource.metadata.uid.as_deref(), cron])
}

/// Pods of the Jobs of one of these owners.
pub(super) fn pods_of<'a>(observed: &'a Observed, part: &str, owners: &[Option<&str>]) -> Vec<(&'a str, &'a Pod)> {
    let ours = |job: &Slot| job.owner.as_deref().is_some_and(|owner| owners.contains(&Some(owner)));
    let jobs: Vec<&str> = observed.slots(Kind::Job).filter(|(_, slot)| ours(slot)).map(|(_, slot)| &*slot.uid).collect();
    observed
        .slots(Kind::Pod)
        .filter(|(_, slot)| slot.owner.as_deref().is_some_and(|owner| jobs.contains(&owner)))
        .filter_map(|(name, slot)| Some((name, slot.pod()?)))
        .filter(|(_, pod)| pod.component == part)
        .collect()
}

/// What is wrong with a set that counts all the same.
fn shortcoming(name: &str, pod: &Pod, set: &BackedUp) -> Option<BackupFailure> {
    let wrong = if set.files_incomplete {
        "lacks files that could not be read: is the volume of the files damaged? Old sets are kept meanwhile"
    } else if set.retention == Retention::Failed {
        "is whole, but the sets that are not to be kept could not be removed: the repository grows until it is full"
    } else {
        return None;
    };
    Some(BackupFailure {
        pod: name.to_owned(),
        time: pod.created.map(Time),
        reason: Reason::BackupFailed.as_str().to_owned(),
        message: format!("Set {} {wrong}. See the log of its pod.", set.set),
    })
}

fn take(status: &mut BackupStatus, started: Option<Timestamp>, set: &BackedUp) {
    let told = SetStatus {
        set: set.set.clone(),
        time: set.created.parse().ok().map(Time),
        started: started.map(Time),
        added_bytes: i64::try_from(set.bytes_added).ok(),
        seconds: i64::try_from(set.seconds).ok(),
    };
    // An older one was told before, and may have been removed since.
    let is_older = status.last.as_ref().is_some_and(|last| when(last) > started);
    if is_older || status.history.iter().any(|known| known.set == set.set) {
        return;
    }
    status.history.insert(0, told.clone());
    status.history.truncate(HISTORY);
    status.last = Some(told);
    status.shrunk = set.shrunk.clone().map(|message| ShrunkStatus { set: set.set.clone(), message });
    status.sets = i64::try_from(set.sets_kept).ok();
    status.key = (!set.key.is_empty()).then(|| set.key.clone());
}

/// When a set was made, by the clock that does not depend on a node.
pub(super) fn when(set: &SetStatus) -> Option<Timestamp> {
    set.started.as_ref().or(set.time.as_ref()).map(|time| time.0)
}

/// Is one under way, and not for so long that it must be stuck?
pub(super) fn is_running(resource: &Dhis2Instance, observed: &Observed, part: &str, now: Timestamp) -> bool {
    is_one_running(&runs(resource, observed, part), now)
}

/// Likewise, of these.
pub(super) fn is_one_running(pods: &[(&str, &Pod)], now: Timestamp) -> bool {
    pods.iter().any(|(_, pod)| !pod.ended && pod.created.is_none_or(|created| now.duration_since(created) < LONGEST))
}

/// The condition `BackupHealthy`.
pub fn healthy(resource: &Dhis2Instance, status: &Dhis2InstanceStatus, outcome: &Outcome, observed: &Observed, now: Timestamp) -> Told {
    let told = |holds, reason, message: String| Told { kind: "BackupHealthy", holds, reason, message };
    let backup = status.backup.clone().unwrap_or_default();
    if let Outcome::Refused(Refusal { reason: reason @ (Reason::SecretLost | Reason::VolumeLost), message }) = outcome {
        return told(false, *reason, message.clone());
    }
    if let Some(message) = missing(observed) {
        return told(false, Reason::SecretMissing, message);
    }
    if let Some(failure) = backup.failure {
        let reason = failure.reason.parse().unwrap_or(Reason::BackupFailed);
        return told(false, reason, format!("{}: {}", failure.pod, failure.message));
    }
    if resource.spec.backup.suspend {
        return told(false, Reason::BackupSuspended, "spec.backup.suspend: scheduled backups are off.".into());
    }
    let running = is_running(resource, observed, PART, now);
    let Some(last) = backup.last else {
        return if running {
            told(false, Reason::BackupRunning, "The first backup is running.".into())
        } else {
            told(false, Reason::NoBackupYet, "The first backup is made as soon as the instance serves.".into())
        };
    };
    if overdue_in(status, now) != Some(Duration::ZERO) {
        told(true, Reason::Done, format!("The last backup is set {}.", last.set))
    } else if running {
        told(true, Reason::BackupRunning, format!("The last backup is set {}; the next one is being made.", last.set))
    } else {
        told(false, Reason::BackupOverdue, format!("The last good backup is set {}; the next one should be there by now.", last.set))
    }
}

/// What the repository's pods lack of what the user has.
pub(super) fn missing(observed: &Observed) -> Option<String> {
    let fields = [
        (observe::S3_CREDENTIALS, "no backup is made. Make it, with the keys accessKeyID and secretAccessKey"),
        (observe::S3_CA, "no backup is made. Make it, with the certificate of the server's authority under ca.crt"),
    ];
    fields.into_iter().find_map(|(field, then)| {
        let name = observed.missing.get(field)?;
        Some(format!("Secret {name} of {field} does not exist: {then}."))
    })
}

/// The condition `ContentSane`.
pub fn sane(resource: &Dhis2Instance, status: &Dhis2InstanceStatus) -> Told {
    let told = |holds, reason, message: String| Told { kind: "ContentSane", holds, reason, message };
    let shrunk = status.backup.as_ref().and_then(|backup| backup.shrunk.as_ref());
    let accepted = resource.annotations().get(ACCEPTED_SET);
    match shrunk.filter(|shrunk| accepted != Some(&shrunk.set)) {
        None => told(true, Reason::Done, "The newest set holds about as much as the one before it, or is accepted.".into()),
        Some(ShrunkStatus { set, message }) => {
            let name = resource.name_any();
            let accept = format!("kubectl annotate dhis2 {name} {ACCEPTED_SET}={set} --overwrite");
            let message = format!("Set {set} has {message}. Old sets are kept. Was something lost? If it is meant so: {accept}");
            told(false, Reason::ContentShrunk, message)
        }
    }
}

/// How long until the last backup counts as overdue; zero when it does. What was due before the schedule came into
/// force was never promised.
pub fn overdue_in(status: &Dhis2InstanceStatus, now: Timestamp) -> Option<Duration> {
    let backup = status.backup.as_ref()?;
    due_in(backup.schedule.as_ref()?, when(backup.last.as_ref()?)?, GRACE, now)
}

/// How long until what comes after `last` by this schedule is late by more than the grace.
pub(super) fn due_in(schedule: &ScheduleStatus, last: Timestamp, grace: SignedDuration, now: Timestamp) -> Option<Duration> {
    let last = last.max(schedule.since.as_ref().map_or(Timestamp::MIN, |since| since.0));
    let cron = CronParser::new().parse(&schedule.cron).ok()?;
    let zone = schedule.time_zone.as_deref().and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC);
    let due = cron.find_next_occurrence(&last.to_zoned(zone), false).ok()?.timestamp();
    let deadline = due.checked_add(grace).ok()?;
    Some(Duration::try_from(deadline.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests;
