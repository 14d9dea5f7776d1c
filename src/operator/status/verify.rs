//! Restore tests as they are told: the set that is proven, failures after that, and whether the last test is recent enough.

use std::time::Duration;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};

use super::{backup, conditions::Told};
use crate::{
    api::{
        Dhis2Instance, Dhis2InstanceStatus, Reason,
        status::{BackupFailure, BackupStatus, VerifiedStatus},
    },
    operator::{observe::Observed, parse, slot::Pod},
    report::{Data, Verified},
};

/// The component of their pods.
const PART: &str = "verify";
/// How late a test may be: it takes as long as a restore, and its node may have been away.
const GRACE: SignedDuration = SignedDuration::from_hours(24);

/// Takes in what the pods that are still there tell, of restore tests and, from the repository, of backups.
pub fn record(status: &mut BackupStatus, resource: &Dhis2Instance, observed: &Observed, now: Timestamp) {
    for (_, pod) in backup::runs(resource, observed, "backup") {
        for report in &pod.reports {
            if let Some(Data::Backup(set)) = &report.data {
                set.verified.iter().for_each(|proof| take_second_hand(status, proof, pod));
            }
        }
    }
    let pods = backup::runs(resource, observed, PART);
    let mut failures = backup::standing(status.verify_failure.take(), &pods);
    for (name, pod) in pods {
        for report in &pod.reports {
            if let Some(Data::Verify(proof)) = &report.data {
                take(status, proof, pod.created);
            }
        }
        failures.extend(failure(name, pod));
    }
    let failure = backup::newest(failures, None);
    status.verify_failure = failure.filter(|failure| !is_made_good(failure, status));
    if let Ok(schedules) = parse::backup(resource) {
        // None is due before there is a set.
        let suspend = schedules.verify_suspend || status.last.is_none();
        backup::keep(&mut status.verify_schedule, &schedules.verify_schedule, &schedules, suspend, now);
    }
}

/// Is it made good by the set that is proven? An older set than the one that a test could have failed at makes nothing good: that the last
/// months are whole says nothing of the last weeks.
fn is_made_good(failure: &BackupFailure, status: &BackupStatus) -> bool {
    let Some(proof) = &status.last_verified else { return false };
    let [proven, failed] = [&proof.time, &failure.time].map(|time| time.as_ref().map(|time| time.0));
    let newest_then = status.history.iter().filter_map(backup::when).filter(|made| Some(*made) <= failed).max();
    let is_as_new = match status.history.iter().find(|known| known.set == proof.set) {
        Some(known) => backup::when(known) >= newest_then,
        None => newest_then.is_none() || proof.set_time.as_ref().map(|time| time.0) >= failed,
    };
    proven > failed && is_as_new
}

/// What is wrong with a restore test. One that was asked for a set that is not there says nothing of those that are.
pub(super) fn failure(name: &str, pod: &Pod) -> Option<BackupFailure> {
    backup::failure(name, pod).filter(|failure| failure.reason != Reason::SetUnknown.as_str()).map(named)
}

/// A failure without a reason of its own says nothing about the set.
fn named(failure: BackupFailure) -> BackupFailure {
    let unnamed = failure.reason == Reason::Failed.as_str();
    if unnamed { BackupFailure { reason: Reason::RestoreTestFailed.as_str().to_owned(), ..failure } } else { failure }
}

/// What the repository tells of a proof whose pod may be gone. Its time is that of a node's clock: one that is to come for the backup that
/// has read it would be the newest for years, and is taken only where nothing better is known.
fn take_second_hand(status: &mut BackupStatus, proof: &Verified, backup: &Pod) {
    let said = proof.verified.parse::<Timestamp>().ok();
    match &status.last_verified {
        Some(known) if known.set == proof.set => {}
        _ if said <= backup.created => take(status, proof, said),
        None => take(status, proof, backup.created),
        Some(_) => {}
    }
}

fn take(status: &mut BackupStatus, proof: &Verified, time: Option<Timestamp>) {
    if time >= when(status) {
        status.last_verified = Some(self::proof(proof, time));
    }
}

/// A proof, as it is told.
pub(super) fn proof(proof: &Verified, time: Option<Timestamp>) -> VerifiedStatus {
    VerifiedStatus {
        set: proof.set.clone(),
        time: time.map(Time),
        set_time: proof.created.parse().ok().map(Time),
        seconds: i64::try_from(proof.seconds).ok(),
        bytes: i64::try_from(proof.bytes).ok(),
        start_seconds: proof.start_seconds.and_then(|seconds| i64::try_from(seconds).ok()),
    }
}

fn when(status: &BackupStatus) -> Option<Timestamp> {
    status.last_verified.as_ref()?.time.as_ref().map(|time| time.0)
}

/// The condition `RestoreVerified`.
pub fn verified(resource: &Dhis2Instance, status: &Dhis2InstanceStatus, observed: &Observed, now: Timestamp) -> Told {
    let told = |holds, reason, message: String| Told { kind: "RestoreVerified", holds, reason, message };
    let late = overdue_in(status, now) == Some(Duration::ZERO);
    let backup = status.backup.clone().unwrap_or_default();
    if let Some(message) = backup::missing(observed) {
        return told(false, Reason::SecretMissing, message);
    }
    if let Some(failure) = backup.verify_failure {
        let reason = failure.reason.parse().unwrap_or(Reason::RestoreTestFailed);
        return told(false, reason, format!("{}: {}", failure.pod, failure.message));
    }
    if resource.spec.backup.verify.suspend {
        return told(false, Reason::VerifySuspended, "spec.backup.verify.suspend: scheduled restore tests are off.".into());
    }
    let running = backup::is_running(resource, observed, PART, now);
    match backup.last_verified {
        None if running => told(false, Reason::NotVerifiedYet, "The first restore test is running.".into()),
        None if late => told(false, Reason::VerifyOverdue, "The first restore test should have been made by now.".into()),
        None => told(false, Reason::NotVerifiedYet, not_yet(&backup)),
        Some(proof) if late && !running => told(
            false,
            Reason::VerifyOverdue,
            format!("The last set that was restored is {}; the next test should have been made by now.", proof.set),
        ),
        Some(proof) => {
            let seconds = proof.seconds.unwrap_or_default();
            let serves = proof.start_seconds.map(|seconds| format!("; DHIS2 served on it after {seconds} s")).unwrap_or_default();
            told(true, Reason::Done, format!("Set {} was restored in {seconds} s, and is as its manifest says{serves}.", proof.set))
        }
    }
}

/// That no set is proven, and what to do for whoever will not wait.
pub fn not_yet(backup: &BackupStatus) -> String {
    let schedule = backup.verify_schedule.as_ref().map(|known| {
        let zone = known.time_zone.as_ref().map_or_else(String::new, |zone| format!(" ({zone})"));
        format!(" The first test comes by its schedule, {:?}{zone}.", known.cron)
    });
    let schedule = schedule.unwrap_or_default();
    format!("No set was restored yet to see whether it can be.{schedule} A Dhis2RestoreTest makes one now.")
}

/// How long until the last restore test counts as overdue; zero when it does.
pub fn overdue_in(status: &Dhis2InstanceStatus, now: Timestamp) -> Option<Duration> {
    let backup = status.backup.as_ref()?;
    backup::due_in(backup.verify_schedule.as_ref()?, when(backup).unwrap_or(Timestamp::MIN), GRACE, now)
}

#[cfg(test)]
mod tests;
