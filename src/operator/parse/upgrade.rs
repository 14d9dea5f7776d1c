//! May another version be started on the database, or has the state before it to be backed up first?

use crate::{
    api::{
        Dhis2Instance,
        restore::Phase,
        status::{Operation, OperationStatus},
    },
    dhis2::version::Version,
};

/// The version that ran last.
pub fn running(resource: &Dhis2Instance) -> Option<Version> {
    resource.status.as_ref()?.version.as_ref()?.running.as_ref()?.parse().ok()
}

/// Is a later release asked for than the one that ran last, and a backup before it?
pub fn is_due(resource: &Dhis2Instance, version: Version) -> bool {
    let secured = resource.status.as_ref().is_some_and(|status| status.admin.is_some());
    secured && resource.spec.upgrade.backup && running(resource).is_some_and(|running| version > running && !version.is_hotfix_of(running))
}

/// Is a release below the one that ran last asked for, and no restore on its way that would give it its database?
pub fn is_downgrade(resource: &Dhis2Instance, version: Version) -> bool {
    let below = |running: Version| version < running && !version.is_hotfix_of(running);
    running(resource).is_some_and(below) && !operation(resource).is_some_and(|operation| operation.restores() && permits(operation))
}

/// Does DHIS2 stay as it is?
pub fn is_held(resource: &Dhis2Instance, version: Version) -> bool {
    is_downgrade(resource, version) || is_due(resource, version) && !operation(resource).is_some_and(permits)
}

fn operation(resource: &Dhis2Instance) -> Option<&OperationStatus> {
    resource.status.as_ref()?.operation.as_deref()
}

/// Is what is there now backed up, or about to be replaced by what is?
fn permits(operation: &OperationStatus) -> bool {
    let phase = operation.phase.parse::<Phase>();
    match operation.operation() {
        Some(Operation::Upgrade) => phase == Ok(Phase::Starting),
        Some(Operation::Restore) => {
            phase.is_ok_and(|phase| !matches!(phase, Phase::Building | Phase::BackingUp | Phase::Failed | Phase::Canceled))
        }
        None => false,
    }
}

/// The generation of the spec that asked for an upgrade, while the state before it is being backed up.
pub fn being_backed_up(resource: &Dhis2Instance) -> Option<i64> {
    let operation = resource.status.as_ref()?.operation.as_ref()?;
    let backs_up = operation.operation() == Some(Operation::Upgrade) && operation.phase == Phase::BackingUp.as_str();
    backs_up.then_some(operation.number)
}
