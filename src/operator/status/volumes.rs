//! The volumes of a restore: those that it builds, the switch to them, and those that it leaves behind.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::ResourceExt;

use super::backup;
use crate::{
    api::{
        Dhis2Instance, Dhis2InstanceStatus,
        restore::Phase,
        status::{BackupStatus, Claims, KeptStatus, Made, OperationStatus},
    },
    operator::{
        kind::Kind,
        observe::Observed,
        parse::restoring::names,
        slot::{Role, Slot},
    },
};

const CLAIM: Kind = Kind::PersistentVolumeClaim;

/// A claim that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superseded {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The version that it was seen at.
    pub version: u64,
}

/// The number in the names of the next claims: no claim has it, so that none of before is met.
pub fn next_number(name: &str, observed: &Observed) -> i64 {
    let number = |claim: &str| {
        let rest = claim.strip_prefix(name)?;
        let rest = rest.strip_prefix("-database-").or_else(|| rest.strip_prefix("-files-"))?;
        rest.parse::<i64>().ok()
    };
    observed.slots(CLAIM).filter_map(|(claim, _)| number(claim)).max().unwrap_or(1).max(1) + 1
}

/// The claims that the operation fills, as far as they are made. One that was recorded stays so.
pub fn being_built(operation: &OperationStatus, instance: &str, observed: &Observed) -> Claims {
    let [database, files] = names(instance, operation);
    let recorded = operation.claims.clone().unwrap_or_default();
    let made = |name: String| {
        let slot = observed.slot(CLAIM, &name).filter(|slot| is_filled(slot, observed) && !slot.deleting)?;
        Some(Made { uid: slot.uid.to_string(), name })
    };
    Claims { database: recorded.database.or_else(|| made(database)), files: recorded.files.or_else(|| made(files)), backups: None }
}

/// Is it a claim that this instance made for a restore?
fn is_filled(slot: &Slot, observed: &Observed) -> bool {
    let ours = [&slot.maker, &slot.owner].into_iter().flatten().any(|uid| **uid == *observed.instance);
    ours && slot.claim().is_some_and(|claim| claim.role == Some(Role::Building))
}

fn is_there(made: &Made, observed: &Observed) -> bool {
    observed.slot(CLAIM, &made.name).is_some_and(|slot| *slot.uid == *made.uid)
}

fn both(claims: Option<&Claims>) -> impl Iterator<Item = &Made> {
    claims.into_iter().flat_map(|claims| [&claims.database, &claims.files]).flatten()
}

/// A claim of the operation that was made and is gone or going.
pub fn lost(operation: &OperationStatus, observed: &Observed) -> Option<String> {
    let whole = |made: &Made| observed.slot(CLAIM, &made.name).is_some_and(|slot| *slot.uid == *made.uid && !slot.deleting);
    both(operation.claims.as_ref()).find(|made| !whole(made)).map(|made| made.name.clone())
}

/// Serves the instance from the claims of the operation, and keeps those that it was served from.
pub fn switch(operation: &OperationStatus, status: &mut Dhis2InstanceStatus, now: Timestamp) {
    let target = operation.claims.clone().unwrap_or_default();
    let claims = status.claims.get_or_insert_default();
    let kept = KeptStatus {
        restore: operation.name.clone(),
        restore_uid: operation.uid.clone(),
        since: Some(Time(now)),
        database: std::mem::replace(&mut claims.database, target.database),
        files: std::mem::replace(&mut claims.files, target.files),
        system_identifier: status.database.as_ref().and_then(|database| database.system_identifier.clone()),
    };
    let current = claims.database.clone();
    status.kept.retain(|known| known.database != current);
    status.kept.insert(0, kept);
}

/// What the instance was served from before this request.
pub fn of_before<'a>(status: &'a Dhis2InstanceStatus, request: &str) -> Option<&'a KeptStatus> {
    status.kept.iter().find(|kept| kept.restore_uid == request && kept.database.is_some() && kept.files.is_some())
}

/// Them as claims.
pub fn claims(kept: &KeptStatus) -> Claims {
    Claims { database: kept.database.clone(), files: kept.files.clone(), backups: None }
}

/// Kept volumes that are gone need not be told.
pub fn drop_those_gone(status: &mut Dhis2InstanceStatus, observed: &Observed) {
    let there = |made: &Option<Made>| made.as_ref().is_some_and(|made| is_there(made, observed));
    status.kept.retain(|kept| there(&kept.database) || there(&kept.files));
}

/// Are claims that came to nothing still there?
pub fn unfinished(operation: &OperationStatus, instance: &str, observed: &Observed) -> bool {
    !of_nothing(operation, instance, observed).is_empty()
}

/// The claims of an operation that came to nothing.
fn of_nothing(operation: &OperationStatus, instance: &str, observed: &Observed) -> Vec<Superseded> {
    let came_to_nothing = [Phase::Failed, Phase::Canceled].map(Phase::as_str).contains(&operation.phase.as_str());
    if !came_to_nothing || operation.revert || !operation.restores() {
        return Vec::new();
    }
    let filled = |name: String| {
        let slot = observed.slot(CLAIM, &name).filter(|slot| is_filled(slot, observed))?;
        Some(Superseded { uid: slot.uid.to_string(), version: slot.version, name })
    };
    names(instance, operation).into_iter().filter_map(filled).collect()
}

/// When the proven set was made. Of one that is not among the newest ones any more only a node's clock tells: it must have been before the test.
fn proven(backup: &BackupStatus) -> Option<Timestamp> {
    let proven = backup.last_verified.as_ref()?;
    let time = |time: Option<&Time>| time.map(|time| time.0);
    match backup.history.iter().find(|known| known.set == proven.set) {
        Some(known) => backup::when(known),
        None => time(proven.set_time.as_ref()).filter(|made| Some(*made) <= time(proven.time.as_ref())),
    }
}

/// Claims that are to be deleted: those of a restore that came to nothing, and those that a restore replaced, once a set that was made
/// after it is proven. Each says itself what it is, beside what is recorded. While the newest set has much less than those before it, what
/// is missing may be nowhere else.
pub fn superseded(status: &Dhis2InstanceStatus, resource: &Dhis2Instance, observed: &Observed) -> Vec<Superseded> {
    let instance = &resource.name_any();
    let failed = status.operation.iter().flat_map(|operation| of_nothing(operation, instance, observed));
    let proven = status.backup.as_ref().filter(|_| backup::sane(resource, status).holds).and_then(proven);
    let replaced = status.kept.iter().filter(|kept| status.operation.is_none() && proven > kept.since.as_ref().map(|since| since.0));
    let replaced = replaced.flat_map(|kept| [&kept.database, &kept.files]).flatten().filter_map(|made| {
        let slot = observed.slot(CLAIM, &made.name).filter(|slot| *slot.uid == *made.uid)?;
        let left = slot.claim().is_some_and(|claim| claim.role == Some(Role::Replaced));
        left.then(|| Superseded { name: made.name.clone(), uid: made.uid.clone(), version: slot.version })
    });
    let deleting = |claim: &Superseded| observed.slot(CLAIM, &claim.name).is_none_or(|slot| slot.deleting);
    failed.chain(replaced).filter(|claim| !deleting(claim)).collect()
}
