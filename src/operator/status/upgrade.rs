//! An upgrade: the new version is looked at and the state before it backed up, then it is started. Pure, like all operations.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};

use super::{
    Outcome,
    conditions::Told,
    operation::{View, enter},
    rollback,
};
use crate::{
    api::{
        Dhis2Instance, Dhis2InstanceStatus, Reason,
        restore::Phase,
        status::{Operation, OperationStatus},
        upgrade::OnFailure,
    },
    dhis2::version::Version,
    operator::{parse::upgrade, slot::Pod},
    report::{Data, Report},
};

mod before;

/// What failed before DHIS2 is stopped is tried again after this time.
pub const AGAIN: SignedDuration = SignedDuration::from_mins(10);
/// How long the new version has to be overdue until that counts: after a power cut what is known of pods is of before it, until their nodes are back.
const OVERDUE: SignedDuration = SignedDuration::from_mins(5);
/// A start that failed is tried once more: what it failed for may have been a moment's.
const STARTS: u32 = 2;

/// The upgrade that is asked for, if nothing is in the way.
pub fn begin(resource: &Dhis2Instance, outcome: &Outcome, now: Timestamp) -> Option<OperationStatus> {
    let Outcome::Applied { instance, .. } = outcome else { return None };
    let mut operation = OperationStatus {
        kind: <&str>::from(Operation::Upgrade).to_owned(),
        name: instance.version.to_string(),
        number: resource.metadata.generation.unwrap_or_default(),
        started: Some(Time(now)),
        ..OperationStatus::default()
    };
    enter(&mut operation, Phase::Checking, now);
    (instance.stage.held && !instance.stage.downgrade && instance.defect.is_none()).then_some(operation)
}

/// The upgrade after a pass; none when it is over, or asked for no longer.
pub fn step(
    mut operation: OperationStatus,
    resource: &Dhis2Instance,
    status: &mut Dhis2InstanceStatus,
    view: &View<'_>,
) -> Option<OperationStatus> {
    let Ok(version) = resource.spec.version.parse::<Version>() else { return Some(operation) };
    let phase = operation.phase.parse::<Phase>().ok();
    if phase == Some(Phase::Starting) {
        return start(operation, resource, version, status, view);
    }
    if !upgrade::is_due(resource, version) || upgrade::defect(resource, version).is_some() {
        return None;
    }
    if operation.name != version.to_string() {
        // Another one is asked for meanwhile: it is looked at as the first one was, under names of its own.
        operation.name = version.to_string();
        operation.number = resource.metadata.generation.unwrap_or(operation.number);
        enter(&mut operation, Phase::Checking, view.now);
        return Some(operation);
    }
    match phase {
        Some(Phase::Checking) => before::check(&mut operation, resource, status, view),
        Some(Phase::Proving) => before::prove(&mut operation, view),
        Some(Phase::Rehearsing) => before::rehearse(&mut operation, view),
        Some(Phase::BackingUp) => before::back_up(&mut operation, view),
        Some(Phase::Failed) if before::is_tried_again(&operation, resource, status, view) => {
            operation.number = resource.metadata.generation.unwrap_or(operation.number);
            (operation.reason, operation.message) = (None, None);
            enter(&mut operation, Phase::Checking, view.now);
        }
        _ => {}
    }
    Some(operation)
}

/// Did it fail so long ago that it is tried again?
pub fn is_due_again(operation: &OperationStatus, view: &View<'_>) -> bool {
    operation.since.as_ref().is_none_or(|since| view.now.duration_since(since.0) >= AGAIN)
}

/// DHIS2 is stopped, migrates and serves; or it does not.
fn start(
    mut operation: OperationStatus,
    resource: &Dhis2Instance,
    version: Version,
    status: &mut Dhis2InstanceStatus,
    view: &View<'_>,
) -> Option<OperationStatus> {
    if serves(version, status, view) {
        return None;
    }
    operation.migrating |= let_in(version, view).is_some();
    let upgrades = upgrade::running(resource).is_some_and(|running| version > running);
    if upgrades && operation.name != version.to_string() {
        // A later one is asked for meanwhile, to go on with: it has its own time.
        operation.name = version.to_string();
        enter(&mut operation, Phase::Starting, view.now);
    }
    operation.overdue = is_late(&operation, resource, view).then(|| operation.overdue.take().unwrap_or(Time(view.now)));
    let failure = failure(&operation, resource, version, view);
    operation.reason = failure.as_ref().map(|_| Reason::UpgradeFailed.as_str().to_owned());
    operation.message.clone_from(&failure);
    match failure {
        Some(failure) if upgrades && resource.spec.upgrade.on_failure == OnFailure::Rollback => {
            rollback::begin(operation, failure, status, view)
        }
        _ => Some(operation),
    }
}

/// Does this version serve?
pub fn serves(version: Version, status: &Dhis2InstanceStatus, view: &View<'_>) -> bool {
    let runs = status.version.as_ref().and_then(|version| version.running.as_ref()?.parse::<Version>().ok());
    runs == Some(version) && view.observed.set_is_ready(&view.name)
}

/// DHIS2's pod, if this version was let onto the database in it.
fn let_in<'a>(version: Version, view: &View<'a>) -> Option<&'a Pod> {
    let pod = view.observed.pod_of_set(&view.name).and_then(|(_, slot)| slot.pod())?;
    let checked = |report: &Report| matches!(&report.data, Some(Data::Check(checked)) if checked.version == version);
    pod.reports.iter().any(checked).then_some(pod)
}

/// Why the new version counts as one that does not start. Whatever keeps the database from answering is not its fault.
fn failure(operation: &OperationStatus, resource: &Dhis2Instance, version: Version, view: &View<'_>) -> Option<String> {
    let ends = [Reason::StartFailed, Reason::CrashLoop, Reason::OutOfMemory];
    let pod = let_in(version, view);
    let again =
        pod.filter(|pod| pod.starts >= STARTS).and_then(|pod| pod.trouble.as_ref()).filter(|trouble| ends.contains(&trouble.reason));
    if let Some(trouble) = again {
        return Some(format!("it ended {STARTS} times: {}", trouble.message.trim_end_matches('.')));
    }
    let overdue = operation.overdue.as_ref().is_some_and(|since| view.now.duration_since(since.0) >= OVERDUE);
    overdue.then(|| format!("it does not serve after {}", resource.spec.upgrade.timeout))
}

/// Has the new version had its time? A start that was cut short, by a power cut or a node that was lost, has it anew.
fn is_late(operation: &OperationStatus, resource: &Dhis2Instance, view: &View<'_>) -> bool {
    let Some(entered) = operation.since.as_ref().map(|since| since.0) else { return false };
    let started = view.observed.pod_of_set(&view.name).and_then(|(_, slot)| slot.pod()?.started);
    let since = started.map_or(entered, |started| started.max(entered));
    let answers = view.observed.set_is_ready(&format!("{}-database", view.name));
    answers && view.now.duration_since(since) >= upgrade::timeout(resource)
}

/// What is under way, or in the way.
pub fn tell(conditions: &mut [Told], operation: &OperationStatus, phase: Phase) {
    let OperationStatus { name, message, .. } = operation;
    let why = message.as_deref().unwrap_or_default().trim_end_matches('.');
    let rehearsed = operation.reason.as_deref() == Some(Reason::RehearsalFailed.as_str());
    let (again, remedy) = before::when_again(operation);
    let (reason, blocked) = if rehearsed {
        let message = format!(
            "{why}. The old version goes on. Remove the cause, then set spec.version to the old version, and to {name} again; spec.upgrade.rehearse: false goes without."
        );
        (Reason::RehearsalFailed, message)
    } else {
        let message = format!(
            "What comes before the upgrade to {name} failed, and is tried again {again} and when the resource changes; the old version goes on meanwhile: {why}. {remedy}"
        );
        (Reason::UpgradeBlocked, message)
    };
    let set = operation.safety_backup.clone().unwrap_or_default();
    let doing = match phase {
        Phase::Checking => format!("The image of DHIS2 {name} is looked at before the upgrade to it; the old version goes on meanwhile."),
        Phase::BackingUp if message.is_some() => {
            format!("A backup is made before DHIS2 is upgraded to {name}; the old version goes on meanwhile. {why}.")
        }
        Phase::BackingUp => format!("A backup is made before DHIS2 is upgraded to {name}; the old version goes on meanwhile."),
        Phase::Proving => {
            format!("The newest set is restored as a test before DHIS2 {name} is tried on a copy of it; the old version goes on meanwhile.")
        }
        Phase::Rehearsing => {
            format!("DHIS2 {name} is tried on a copy of the newest set before the upgrade to it; the old version goes on meanwhile.")
        }
        _ => {
            let forecast = operation.forecast_seconds.map_or_else(String::new, |seconds| format!(" On a copy that took {seconds} s."));
            format!("DHIS2 {name} is being started; what was before is in set {set}.{forecast}")
        }
    };
    for told in conditions {
        match (told.kind, phase) {
            ("Stalled", Phase::Failed) => *told = Told::new("Stalled", true, reason, blocked.clone()),
            ("Reconciling", Phase::Failed) => {
                *told = Told::new("Reconciling", false, Reason::Settled, "Nothing is under way until the obstacle is gone.");
            }
            ("Reconciling", _) if told.reason != Reason::FieldContested => {
                *told = Told::new("Reconciling", true, Reason::Upgrading, doing.clone());
            }
            _ => {}
        }
    }
}

/// A new version that does not start waits for a person, who is told where the old one's data is.
pub fn tell_failed(conditions: &mut [Told], operation: &OperationStatus) {
    let Some(failure) = &operation.message else { return };
    let OperationStatus { name, safety_backup, .. } = operation;
    let set = safety_backup.as_deref().unwrap_or_default();
    let message = format!(
        "The upgrade to {name} failed: {failure}. It goes on trying: remove the cause. Or go back: set spec.version to the old version and restore set {set} with a Dhis2Restore; spec.upgrade.onFailure: Rollback does both."
    );
    for told in conditions {
        match told.kind {
            "Stalled" => *told = Told::new("Stalled", true, Reason::UpgradeFailed, message.clone()),
            "Reconciling" => *told = Told::new("Reconciling", false, Reason::Settled, "Nothing is under way until the obstacle is gone."),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
