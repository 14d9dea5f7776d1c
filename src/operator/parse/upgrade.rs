//! Which version is to run, and what has to come before it.

use k8s_openapi::jiff::SignedDuration;

use super::span;
use crate::{
    api::{
        Dhis2Instance,
        restore::Phase,
        status::{Operation, OperationStatus, RolledBack},
    },
    dhis2::{
        defects::{self, Defect},
        version::Version,
    },
    operator::instance::Preparing,
};

/// The version that ran last.
pub fn running(resource: &Dhis2Instance) -> Option<Version> {
    resource.status.as_ref()?.version.as_ref()?.running.as_ref()?.parse().ok()
}

/// The upgrade that was rolled back, as long as its version is asked for.
pub fn rolled_back(resource: &Dhis2Instance) -> Option<&RolledBack> {
    let rolled_back = resource.status.as_ref()?.version.as_ref()?.rolled_back.as_deref()?;
    is_asked_for(resource, &rolled_back.version).then_some(rolled_back)
}

/// Does the spec ask for this version?
pub fn is_asked_for(resource: &Dhis2Instance, version: &str) -> bool {
    version.parse::<Version>().ok() == resource.spec.version.parse().ok()
}

/// The version that is to run where this one is asked for.
pub fn effective(resource: &Dhis2Instance, asked: Version) -> Version {
    rolled_back(resource).and_then(|rolled_back| rolled_back.to.parse().ok()).unwrap_or(asked)
}

/// The digest of the image that is to run: what the spec says is of the version that it asks for.
pub fn digest(resource: &Dhis2Instance) -> Option<String> {
    let asked = resource.spec.image.as_ref()?.digest.clone()?;
    if rolled_back(resource).is_none() {
        return Some(asked);
    }
    let ran = resource.status.as_ref()?.version.as_ref()?.image_id.as_ref()?;
    ran.rsplit_once('@').map(|(_, digest)| digest.to_owned())
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

/// What a release is known for that is asked for after an earlier one. Who goes back to one with its set has run it before.
pub fn defect(resource: &Dhis2Instance, version: Version) -> Option<&'static Defect> {
    defects::of(version).filter(|_| running(resource).is_some_and(|running| version > running))
}

/// Does DHIS2 stay as it is?
pub fn is_held(resource: &Dhis2Instance, version: Version) -> bool {
    let due = || is_due(resource, version) && !operation(resource).is_some_and(permits);
    is_downgrade(resource, version) || defect(resource, version).is_some() || due()
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
        // What is rolled back was permitted before.
        Some(Operation::Rollback) => true,
        None => false,
    }
}

/// Is an upgrade under way that has not failed?
pub fn is_under_way(resource: &Dhis2Instance) -> bool {
    let upgrade = operation(resource).filter(|operation| operation.operation() == Some(Operation::Upgrade));
    upgrade.is_some_and(|operation| operation.phase != Phase::Failed.as_str() && operation.reason.is_none())
}

/// What comes before an upgrade, while the old version serves.
pub fn preparing(resource: &Dhis2Instance) -> Option<Preparing> {
    let operation = operation(resource).filter(|operation| operation.operation() == Some(Operation::Upgrade))?;
    let phase = operation.phase.parse().ok().filter(|phase: &Phase| phase.prepares())?;
    Some(Preparing { phase, generation: operation.number })
}

/// How long a new version may take until it serves: what the API server has let in, or what it would put in place of nothing.
pub fn timeout(resource: &Dhis2Instance) -> SignedDuration {
    let asked = span(&resource.spec.upgrade.timeout).unwrap_or(SignedDuration::from_hours(2));
    asked.clamp(SignedDuration::from_mins(1), SignedDuration::from_hours(24))
}
