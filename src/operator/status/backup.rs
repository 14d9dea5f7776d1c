//! Backups as they are told: the newest set, failures after it, and whether the last one is recent enough.

use std::time::Duration;

use croner::parser::CronParser;
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp, tz::TimeZone},
};

use super::{Outcome, conditions::Told};
use crate::{
    api::{
        Dhis2Instance, Dhis2InstanceStatus, Reason,
        status::{BackupFailure, BackupStatus, SetStatus},
    },
    operator::{
        instance::Instance,
        kind::Kind,
        observe::Observed,
        slot::{Pod, Slot},
    },
    report::{BackedUp, Data},
};

/// Sets that the status remembers.
const HISTORY: usize = 5;
/// How late a backup may be before it counts as overdue: it takes time itself, and a node may have been away.
const GRACE: SignedDuration = SignedDuration::from_hours(2);

/// The status of backups, with what the pods that are still there tell.
pub fn recorded(old: Option<BackupStatus>, instance: &Instance, observed: &Observed) -> Option<BackupStatus> {
    let mut status = old.unwrap_or_default();
    for (_, _, pod) in pods(instance, observed) {
        for report in &pod.reports {
            if let Some(Data::Backup(set)) = &report.data {
                take(&mut status, set);
            }
        }
    }
    status.failure =
        failure(&status, instance, observed).or(status.failure.take()).filter(|failure| still_counts(failure, &status, instance, observed));
    (status != BackupStatus::default()).then_some(status)
}

/// Pods of backups: those that a Job made which is the instance's own, or its CronJob's.
fn pods<'a>(instance: &Instance, observed: &'a Observed) -> Vec<(&'a str, &'a Slot, &'a Pod)> {
    let cron = observed.slot(Kind::CronJob, &instance.child("backup")).map(|slot| slot.uid.as_str());
    let ours = |job: &Slot| job.owner.as_deref().is_some_and(|owner| owner == instance.uid || Some(owner) == cron);
    let jobs: Vec<&str> = observed.slots(Kind::Job).filter(|(_, slot)| ours(slot)).map(|(_, slot)| slot.uid.as_str()).collect();
    observed
        .slots(Kind::Pod)
        .filter(|(_, slot)| slot.owner.as_deref().is_some_and(|owner| jobs.contains(&owner)))
        .filter_map(|(name, slot)| Some((name, slot, slot.pod()?)))
        .filter(|(_, _, pod)| pod.component == "backup")
        .collect()
}

fn take(status: &mut BackupStatus, set: &BackedUp) {
    let time = set.created.parse::<Timestamp>().ok().map(Time);
    let told = SetStatus {
        set: set.set.clone(),
        time,
        added_bytes: i64::try_from(set.bytes_added).ok(),
        seconds: i64::try_from(set.seconds).ok(),
    };
    if !status.history.iter().any(|known| known.set == told.set) {
        status.history.push(told);
        status.history.sort_by_key(|set| std::cmp::Reverse(when(set)));
        status.history.truncate(HISTORY);
    }
    if status.last.as_ref().is_none_or(|last| when(last) <= time_of(set)) {
        status.last = status.history.first().cloned();
        status.sets = i64::try_from(set.sets_kept).ok();
    }
}

fn when(set: &SetStatus) -> Option<Timestamp> {
    set.time.as_ref().map(|time| time.0)
}

fn time_of(set: &BackedUp) -> Option<Timestamp> {
    set.created.parse().ok()
}

/// The newest failure that no set has made good since.
fn failure(status: &BackupStatus, instance: &Instance, observed: &Observed) -> Option<BackupFailure> {
    let last = status.last.as_ref().and_then(when);
    let mut pods = pods(instance, observed);
    pods.sort_by_key(|(_, _, pod)| std::cmp::Reverse(pod.created));
    let (name, _, pod) = pods.into_iter().find(|(_, _, pod)| pod.created > last && pod.trouble.is_some())?;
    let trouble = pod.trouble.as_ref()?;
    Some(BackupFailure { pod: name.to_owned(), reason: trouble.reason.as_str().to_owned(), message: trouble.message.clone() })
}

/// A failure counts until a newer set exists, even when its pod is gone.
fn still_counts(failure: &BackupFailure, status: &BackupStatus, instance: &Instance, observed: &Observed) -> bool {
    let last = status.last.as_ref().and_then(when);
    let pod = pods(instance, observed).into_iter().find(|(name, _, _)| *name == failure.pod);
    match pod {
        Some((_, _, pod)) => pod.trouble.is_some() || pod.created > last,
        None => last.is_none(),
    }
}

/// The condition `BackupHealthy`.
pub fn healthy(resource: &Dhis2Instance, status: &Dhis2InstanceStatus, outcome: &Outcome, observed: &Observed, now: Timestamp) -> Told {
    let told = |holds, reason, message: String| Told { kind: "BackupHealthy", holds, reason, message };
    let backup = status.backup.clone().unwrap_or_default();
    if let Some(failure) = backup.failure {
        let reason = failure.reason.parse().unwrap_or(Reason::BackupFailed);
        return told(false, reason, format!("{}: {}", failure.pod, failure.message));
    }
    if resource.spec.backup.suspend {
        return told(false, Reason::BackupSuspended, "spec.backup.suspend: scheduled backups are off.".into());
    }
    let Some(last) = backup.last else {
        let running = matches!(outcome, Outcome::Applied { instance, .. } if !pods(instance, observed).is_empty());
        return if running {
            told(false, Reason::BackupRunning, "The first backup is running.".into())
        } else {
            told(false, Reason::NoBackupYet, "The first backup is made as soon as the instance serves.".into())
        };
    };
    let overdue = matches!(outcome, Outcome::Applied { instance, .. } if overdue_in(instance, status, now) == Some(Duration::ZERO));
    if overdue {
        told(false, Reason::BackupOverdue, format!("The last good backup is set {}; the next one should be there by now.", last.set))
    } else {
        told(true, Reason::Done, format!("The last backup is set {}.", last.set))
    }
}

/// How long until the last backup counts as overdue; zero when it does.
pub fn overdue_in(instance: &Instance, status: &Dhis2InstanceStatus, now: Timestamp) -> Option<Duration> {
    let last = when(status.backup.as_ref()?.last.as_ref()?)?;
    if instance.backup.suspend {
        return None;
    }
    let cron = CronParser::new().parse(&instance.backup.schedule).ok()?;
    let zone = instance.backup.time_zone.as_deref().and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC);
    let due = cron.find_next_occurrence(&last.to_zoned(zone), false).ok()?.timestamp();
    let deadline = due.checked_add(GRACE).ok()?;
    Some(Duration::try_from(deadline.duration_since(now)).unwrap_or(Duration::ZERO))
}
