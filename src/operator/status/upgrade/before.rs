//! What comes before an upgrade, while the old version serves: the new image is looked at, the newest set proven and the new version tried on it
//! where that is asked for, and a set made. Pure, like all operations.

use super::{
    super::{
        backup,
        operation::{View, came_to_nothing, enter, hindrance, waits, why},
    },
    is_due_again,
};
use crate::{
    api::{
        Dhis2Instance, Dhis2InstanceStatus, Reason,
        restore::Phase,
        status::{OperationStatus, SetStatus},
    },
    operator::{
        desired::{
            backup::before_upgrade_name,
            upgrade::{check_name, proof_name, rehearsal_name},
        },
        trouble::reason_of,
    },
    report::{Data, Outcome as Ending, Report, Verb},
};

/// What a set is found to be by a restore test that time does not mend.
const NOT_WHOLE: [Reason; 5] =
    [Reason::RepositoryDamaged, Reason::SetIncomplete, Reason::SetNewer, Reason::ContentsDiffer, Reason::RestoreTestFailed];

/// The new image is looked at.
pub fn check(operation: &mut OperationStatus, resource: &Dhis2Instance, status: &Dhis2InstanceStatus, view: &View<'_>) {
    let job = format!("{}-{}", view.name, check_name(operation.number));
    if view.observed.result_of_step(&job).is_some() {
        let next = match resource.spec.upgrade.rehearse {
            true if is_proven(status) => Phase::Rehearsing,
            true => Phase::Proving,
            false => Phase::BackingUp,
        };
        enter(operation, next, view.now);
    } else if came_to_nothing(operation, &job, view) || is_hindered(operation, &job, view) {
        fail(operation, &job, view);
    }
}

/// Is the newest set the one that was proven last, and no test has failed since?
fn is_proven(status: &Dhis2InstanceStatus) -> bool {
    let Some(backup) = &status.backup else { return false };
    let newest = backup.history.iter().max_by_key(|set| backup::when(set));
    let proven = |set: &SetStatus| backup.last_verified.as_ref().is_some_and(|proof| proof.set == set.set);
    backup.verify_failure.is_none() && newest.is_some_and(proven)
}

/// Has a restore test found that?
fn is_not_whole(operation: &OperationStatus) -> bool {
    NOT_WHOLE.into_iter().any(|reason| operation.reason.as_deref() == Some(reason.as_str()))
}

/// A way back that can't be restored is none: that is found out before anything is tried on it.
pub fn prove(operation: &mut OperationStatus, view: &View<'_>) {
    let job = format!("{}-{}", view.name, proof_name(operation.number));
    if view.observed.result_of_step_where(&job, |data| matches!(data, Data::Verify(_))).is_some() {
        enter(operation, Phase::Rehearsing, view.now);
    } else if came_to_nothing(operation, &job, view) || is_hindered(operation, &job, view) {
        fail(operation, &job, view);
        // As a restore test tells it.
        if operation.reason.as_deref() == Some(Reason::Failed.as_str()) {
            operation.reason = Some(Reason::RestoreTestFailed.as_str().to_owned());
        }
        if !is_not_whole(operation) {
            tell_way_around(operation);
        }
    }
}

/// The new version is tried on a copy.
pub fn rehearse(operation: &mut OperationStatus, view: &View<'_>) {
    let job = format!("{}-{}", view.name, rehearsal_name(operation.number));
    let result = view.observed.result_of_step_where(&job, |data| matches!(data, Data::Rehearse(_)));
    if let Some(Data::Rehearse(rehearsed)) = result.and_then(|report| report.data.as_ref()) {
        operation.forecast_seconds = i64::try_from(rehearsed.seconds).ok();
        enter(operation, Phase::BackingUp, view.now);
    } else if let Some(refused) = refused_rehearsal(&job, view) {
        operation.reason = Some(reason_of(refused).as_str().to_owned());
        operation.message = Some(refused.message.clone());
        enter(operation, Phase::Failed, view.now);
    } else if came_to_nothing(operation, &job, view) || is_hindered(operation, &job, view) {
        fail(operation, &job, view);
        tell_way_around(operation);
    }
}

/// What works on a copy takes what else nothing takes: memory and room a second time.
fn tell_way_around(operation: &mut OperationStatus) {
    let message = operation.message.take().unwrap_or_default();
    operation.message = Some(format!("{} (spec.upgrade.rehearse: false goes without the rehearsal)", message.trim_end_matches('.')));
}

/// What was found, whatever became of the servers beside, which end with it.
fn refused_rehearsal<'a>(job: &str, view: &View<'a>) -> Option<&'a Report> {
    let pod = view.observed.pod_of_step(job)?;
    pod.reports.iter().find(|report| report.verb == Verb::Rehearse && matches!(report.outcome, Ending::Refused | Ending::Failed))
}

fn is_hindered(operation: &OperationStatus, job: &str, view: &View<'_>) -> bool {
    hindrance(operation, job, view).is_some()
}

/// What the old version has is put into a set.
pub fn back_up(operation: &mut OperationStatus, view: &View<'_>) {
    let job = format!("{}-{}", view.name, before_upgrade_name(operation.number));
    match view.observed.result_of_step(&job).and_then(|report| report.data.as_ref()) {
        Some(Data::Backup(set)) if set.files_incomplete => {
            operation.reason = Some(Reason::BackupFailed.as_str().to_owned());
            operation.message = Some(format!(
                "set {} lacks files that could not be read, so that no restore would take it and there were no way back. Repair or remove those files (the log of its pod names them), then make a Dhis2Backup",
                set.set
            ));
            enter(operation, Phase::Failed, view.now);
        }
        Some(Data::Backup(set)) => {
            operation.safety_backup = Some(set.set.clone());
            (operation.reason, operation.message) = (None, None);
            enter(operation, Phase::Starting, view.now);
        }
        _ if came_to_nothing(operation, &job, view) => fail(operation, &job, view),
        // What came before it may have taken hours: it is waited for.
        _ => operation.message = waits(operation, &job, view),
    }
}

fn fail(operation: &mut OperationStatus, job: &str, view: &View<'_>) {
    let (reason, message) = why(job, view.observed);
    operation.reason = Some(reason.as_str().to_owned());
    operation.message = Some(message);
    enter(operation, Phase::Failed, view.now);
}

/// Somebody has done something, and says so by a change of the spec; or time has passed. What failed for the data fails again then, files
/// that can't be read can't until a backup says otherwise, and a set is not whole until a restore test finds one that is.
pub fn is_tried_again(operation: &OperationStatus, resource: &Dhis2Instance, status: &Dhis2InstanceStatus, view: &View<'_>) -> bool {
    let changed = resource.metadata.generation != Some(operation.number);
    let failed = |reason: Reason| operation.reason.as_deref() == Some(reason.as_str());
    let backed_up = status.backup.as_ref().is_some_and(|backup| backup.failure.is_none());
    let proven = status.backup.as_ref().is_some_and(|backup| backup.verify_failure.is_none());
    let by_itself =
        !failed(Reason::RehearsalFailed) && (!failed(Reason::BackupFailed) || backed_up) && (!is_not_whole(operation) || proven);
    changed || by_itself && is_due_again(operation, view)
}

/// When it is tried again, and what a person can do, as that person is told.
pub fn when_again(operation: &OperationStatus) -> (&'static str, &'static str) {
    const WITHOUT: &str = "To go without a look at it and without a backup, set spec.upgrade.backup: false.";
    // Whoever has no set that can be restored is not told how to go without one.
    if is_not_whole(operation) {
        return ("when a restore test finds the newest set whole", "Make a Dhis2Backup, and then a Dhis2RestoreTest.");
    }
    let lacks_files = operation.reason.as_deref() == Some(Reason::BackupFailed.as_str());
    (if lacks_files { "when another backup has all files" } else { "every ten minutes" }, WITHOUT)
}
