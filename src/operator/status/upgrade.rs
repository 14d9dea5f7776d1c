//! An upgrade: the state before it is backed up, then the new version is started. Pure, like all operations.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};

use super::{
    Outcome,
    conditions::Told,
    operation::{View, ended, enter, why},
};
use crate::{
    api::{
        Dhis2Instance, Dhis2InstanceStatus, Reason,
        restore::Phase,
        status::{Operation, OperationStatus},
    },
    dhis2::version::Version,
    operator::{desired::backup::before_upgrade_name, parse::upgrade},
    report::Data,
};

/// A backup that failed is tried again after this time.
const AGAIN: SignedDuration = SignedDuration::from_mins(10);

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
    enter(&mut operation, Phase::BackingUp, now);
    (instance.stage.held && !instance.stage.downgrade).then_some(operation)
}

/// The upgrade after a pass; none when it is over, or asked for no longer.
pub fn step(
    mut operation: OperationStatus,
    resource: &Dhis2Instance,
    status: &Dhis2InstanceStatus,
    view: &View<'_>,
) -> Option<OperationStatus> {
    let Ok(version) = resource.spec.version.parse::<Version>() else { return Some(operation) };
    let phase = operation.phase.parse::<Phase>().ok();
    if phase == Some(Phase::Starting) {
        let runs = status.version.as_ref().and_then(|version| version.running.as_ref()?.parse::<Version>().ok());
        let over = runs == Some(version) && view.observed.set_is_ready(&view.name);
        return (!over).then_some(operation);
    }
    if !upgrade::is_due(resource, version) {
        return None;
    }
    operation.name = version.to_string();
    match phase {
        Some(Phase::BackingUp) => back_up(&mut operation, view),
        Some(Phase::Failed) if operation.since.as_ref().is_none_or(|since| view.now.duration_since(since.0) >= AGAIN) => {
            enter(&mut operation, Phase::BackingUp, view.now);
        }
        _ => {}
    }
    Some(operation)
}

fn back_up(operation: &mut OperationStatus, view: &View<'_>) {
    let job = format!("{}-{}", view.name, before_upgrade_name(operation.number));
    if let Some(Data::Backup(set)) = view.observed.result_of_step(&job).and_then(|report| report.data.as_ref()) {
        operation.safety_backup = Some(set.set.clone());
        (operation.reason, operation.message) = (None, None);
        enter(operation, Phase::Starting, view.now);
    } else if ended(&job, view.observed) == Some(false) {
        let (reason, message) = why(&job, view.observed);
        operation.reason = Some(reason.as_str().to_owned());
        operation.message = Some(message);
        enter(operation, Phase::Failed, view.now);
    }
}

/// What is under way, or in the way.
pub fn tell(conditions: &mut [Told], operation: &OperationStatus, phase: Phase) {
    let OperationStatus { name, message, .. } = operation;
    let blocked = format!(
        "The backup before the upgrade to {name} failed, and is tried again every ten minutes; the old version goes on meanwhile: {}. To go without a backup, set spec.upgrade.backup: false.",
        message.as_deref().unwrap_or_default().trim_end_matches('.')
    );
    let doing = if phase == Phase::BackingUp {
        format!("A backup is made before DHIS2 is upgraded to {name}; the old version goes on meanwhile.")
    } else {
        let set = operation.safety_backup.clone().unwrap_or_default();
        format!("DHIS2 {name} is being started; what was before is in set {set}.")
    };
    for told in conditions {
        match (told.kind, phase) {
            ("Stalled", Phase::Failed) => *told = Told::new("Stalled", true, Reason::UpgradeBlocked, blocked.clone()),
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

#[cfg(test)]
mod tests;
