//! The rollback of an upgrade that failed: the set of before is restored to new volumes, and the old version serves from them. A restore
//! that nobody has to ask for.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    analytics::derived,
    conditions::Told,
    operation::{View, build, enter, start, stop},
    upgrade, volumes,
};
use crate::{
    api::{
        Dhis2Instance, Dhis2InstanceStatus, Reason,
        restore::Phase,
        status::{Operation, OperationStatus, RolledBack},
    },
    operator::parse,
};

/// Goes back from the upgrade: at once where the new version was never let onto the database, else with its set.
pub fn begin(upgrade: OperationStatus, failure: String, status: &mut Dhis2InstanceStatus, view: &View<'_>) -> Option<OperationStatus> {
    // Known now: what fails may serve for a moment while it is being stopped.
    let Some(back_to) = status.version.as_ref().and_then(|version| version.running.clone()) else { return Some(upgrade) };
    if !upgrade.migrating {
        note(&upgrade.name, &back_to, None, &failure, status, view);
        return None;
    }
    if upgrade.safety_backup.is_none() {
        return Some(upgrade);
    }
    let mut rollback = OperationStatus {
        kind: <&str>::from(Operation::Rollback).to_owned(),
        // In the place of a request's: its steps are told by it from those of others.
        uid: format!("{:08}", upgrade.number),
        name: upgrade.name,
        number: volumes::next_number(&view.name, view.observed),
        started: upgrade.started,
        asked: upgrade.safety_backup.clone(),
        safety_backup: upgrade.safety_backup,
        back_to: Some(back_to),
        failure: Some(failure),
        ..OperationStatus::default()
    };
    enter(&mut rollback, Phase::Building, view.now);
    Some(rollback)
}

/// The version that failed is not to run from now on.
fn note(version: &str, to: &str, set: Option<&str>, failure: &str, status: &mut Dhis2InstanceStatus, view: &View<'_>) {
    let versions = status.version.get_or_insert_default();
    let to = to.to_owned();
    let (set, message) = (set.map(str::to_owned), failure.to_owned());
    let rolled_back = RolledBack { version: version.to_owned(), to, time: Some(Time(view.now)), set, message };
    versions.rolled_back = Some(Box::new(rolled_back));
}

/// The rollback after a pass; none when it is over.
pub fn go_on(
    mut operation: OperationStatus,
    resource: &Dhis2Instance,
    status: &mut Dhis2InstanceStatus,
    view: &View<'_>,
) -> Option<OperationStatus> {
    let Ok(phase) = operation.phase.parse::<Phase>() else { return Some(operation) };
    let cleared = !volumes::unfinished(&operation, &view.name, view.observed);
    let next = match phase {
        Phase::Canceled if cleared => return None,
        Phase::Failed if cleared && upgrade::is_due_again(&operation, view) => {
            operation.number = volumes::next_number(&view.name, view.observed);
            operation.claims = None;
            (operation.reason, operation.message) = (None, None);
            Some(Phase::Building)
        }
        Phase::Building if is_needless(&operation, resource, status, view) => Some(Phase::Canceled),
        Phase::Building => restored(&mut operation, view),
        Phase::Stopping => switched(&mut operation, status, view),
        Phase::Starting if start(&mut operation, view).is_some() => return None,
        _ => None,
    };
    if let Some(next) = next {
        enter(&mut operation, next, view.now);
    }
    Some(operation)
}

/// Of what does not start no backup is made: the one of before is the set.
fn restored(operation: &mut OperationStatus, view: &View<'_>) -> Option<Phase> {
    let next = build(operation, view)?;
    if next == Phase::Failed {
        return Some(next);
    }
    operation.safety_backup.clone_from(&operation.asked);
    (operation.reason, operation.message) = (None, None);
    Some(Phase::Stopping)
}

fn switched(operation: &mut OperationStatus, status: &mut Dhis2InstanceStatus, view: &View<'_>) -> Option<Phase> {
    let next = stop(operation, status, view)?;
    if next == Phase::Starting {
        let [back_to, failure] = [&operation.back_to, &operation.failure].map(|text| text.as_deref().unwrap_or_default());
        note(&operation.name, back_to, operation.set.as_deref(), failure, status, view);
    }
    Some(next)
}

/// Does the new version serve after all, while the set was being restored?
fn is_needless(operation: &OperationStatus, resource: &Dhis2Instance, status: &Dhis2InstanceStatus, view: &View<'_>) -> bool {
    let asked = parse::upgrade::is_asked_for(resource, &operation.name);
    asked && operation.name.parse().is_ok_and(|version| upgrade::serves(version, status, view))
}

/// What is under way, or in the way.
pub fn tell(conditions: &mut [Told], operation: &OperationStatus, phase: Phase) {
    let OperationStatus { name, message, failure, asked, .. } = operation;
    let [set, message, failure] = [asked, message, failure].map(|text| text.as_deref().unwrap_or_default().trim_end_matches('.'));
    let doing = match phase {
        Phase::Building => format!("The upgrade to {name} failed: {failure}. Set {set} of before is being restored to new volumes."),
        _ => format!("The upgrade to {name} failed; the old version is being started with set {set} of before."),
    };
    let failed = format!(
        "The upgrade to {name} failed, and set {set} of before can't be restored to new volumes, which is tried again every ten minutes: {message}. The volumes that DHIS2 has are untouched."
    );
    let hindered = operation.reason.as_ref().filter(|_| phase == Phase::Building).and_then(|reason| reason.parse::<Reason>().ok());
    for told in conditions {
        match (told.kind, phase) {
            ("Stalled", Phase::Building) if let Some(reason) = hindered => {
                *told = Told::new("Stalled", true, reason, format!("{doing} {message}."));
            }
            ("Stalled", Phase::Failed) => *told = Told::new("Stalled", true, Reason::RollbackFailed, failed.clone()),
            ("Stalled", _) => *told = Told::new("Stalled", false, Reason::RollingBack, doing.clone()),
            ("Reconciling", Phase::Failed) => {
                *told = Told::new("Reconciling", false, Reason::Settled, "Nothing is under way until the obstacle is gone.");
            }
            ("Reconciling", _) if told.reason != Reason::FieldContested => {
                *told = Told::new("Reconciling", true, Reason::RollingBack, doing.clone());
            }
            _ => {}
        }
    }
}

/// An upgrade that was rolled back waits for a person, while the old version serves.
pub fn tell_done(conditions: &mut [Told], resource: &Dhis2Instance, status: &Dhis2InstanceStatus) {
    let rolled_back = status.version.as_ref().and_then(|version| version.rolled_back.as_deref());
    let Some(RolledBack { version, to, set, message, .. }) = rolled_back.filter(|_| status.operation.is_none()) else { return };
    if !parse::upgrade::is_asked_for(resource, version) {
        return;
    }
    let from = match set {
        Some(set) => {
            format!(
                "with set {set}; what was entered between that and the stop is on the volumes in status.kept only. {}",
                derived(resource).trim_end_matches('.')
            )
        }
        None => "on its database, which had not been touched yet".to_owned(),
    };
    let message = format!(
        "The upgrade to {version} failed: {}. DHIS2 {to} serves {from}. Remove the cause, then set spec.version to {to}, and to {version} again.",
        message.trim_end_matches('.')
    );
    if let Some(stalled) = conditions.iter_mut().find(|told| told.kind == "Stalled" && !told.holds) {
        *stalled = Told::new("Stalled", true, Reason::UpgradeRolledBack, message);
    }
}

#[cfg(test)]
mod tests;
