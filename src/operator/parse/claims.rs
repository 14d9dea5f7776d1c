//! The claims that hold the instance's data: recorded once, and never replaced by an empty one.

use kube::ResourceExt;

use super::restoring;
use crate::{
    api::{
        Dhis2Instance, Dhis2InstanceStatus, Reason,
        restore::Phase,
        status::{Made, OperationStatus},
    },
    operator::{
        instance::{Claims, Kept, Storage},
        kind::Kind,
        observe::Observed,
        parse::Refusal,
    },
};

const CLAIM: Kind = Kind::PersistentVolumeClaim;

/// The claims by name: those that are recorded, or are to be made.
pub fn claims(resource: &Dhis2Instance, observed: &Observed) -> Claims {
    let (name, status) = (resource.name_any(), resource.status.clone().unwrap_or_default());
    let recorded = status.claims.clone().unwrap_or_default();
    let named = |made: &Option<Made>, part: &str| match made {
        Some(made) => made.name.clone(),
        None => left_behind(resource, observed, part).unwrap_or_else(|| format!("{name}-{part}")),
    };
    let of_operation =
        status.operation.as_ref().filter(|operation| operation.restores()).map(|operation| targets(&name, operation)).unwrap_or_default();
    let recorded_ones = [&recorded.database, &recorded.files, &recorded.backups].into_iter().flatten().map(|made| made.name.clone());
    let lost = recorded_ones.chain(of_operation).filter(|claim| observed.slot(CLAIM, claim).is_none()).collect();
    Claims {
        database: named(&recorded.database, "database"),
        system_identifier: status.database.as_ref().and_then(|database| database.system_identifier.clone()),
        files: named(&recorded.files, "files"),
        backups: named(&recorded.backups, "backups"),
        lost,
        kept: kept(&status, observed),
    }
}

/// The claim that a deleted instance of this name was served from, if it is to be taken over: after restores the newest one.
fn left_behind(resource: &Dhis2Instance, observed: &Observed, part: &str) -> Option<String> {
    let first = format!("{}-{part}", resource.name_any());
    let number = |claim: &str| match claim.strip_prefix(&first)? {
        "" => Some(1),
        rest => rest.strip_prefix('-')?.parse::<i64>().ok(),
    };
    let claims = observed.slots(CLAIM).filter(|(_, slot)| slot.claim().is_some_and(|claim| claim.role.is_none()));
    let claims = claims.filter_map(|(claim, _)| Some((number(claim)?, claim)));
    claims.max().filter(|_| resource.spec.adopt).map(|(_, claim)| claim.to_owned())
}

/// The claims of an operation that are there, or were: it makes each once, while it builds.
fn targets(name: &str, operation: &OperationStatus) -> Vec<String> {
    let claims = operation.claims.clone().unwrap_or_default();
    let made = [claims.database.is_some(), claims.files.is_some()];
    let past = operation.phase != Phase::Building.as_str();
    restoring::names(name, operation).into_iter().zip(made).filter(|(_, made)| *made || past).map(|(name, _)| name).collect()
}

fn kept(status: &Dhis2InstanceStatus, observed: &Observed) -> Vec<Kept> {
    let claims = status.kept.iter().flat_map(|kept| [(true, &kept.database), (false, &kept.files)]);
    let there = |(database, made): (bool, &Option<Made>)| {
        let made = made.as_ref()?;
        let slot = observed.slot(CLAIM, &made.name).filter(|slot| *slot.uid == *made.uid && !slot.deleting)?;
        let requested = &slot.claim()?.requested;
        Some(Kept { name: made.name.clone(), database, storage: Storage { size: requested.clone(), class: None } })
    };
    claims.filter_map(there).collect()
}

/// Are the recorded claims there, the same as ever?
///
/// # Errors
/// `VolumeLost`, for the first one that is not. While a restore has yet to replace them, those of database and files may be.
pub fn are_there(resource: &Dhis2Instance, observed: &Observed) -> Result<(), Refusal> {
    let status = resource.status.clone().unwrap_or_default();
    let claims = status.claims.unwrap_or_default();
    let started =
        |operation: &OperationStatus| [Phase::Starting, Phase::Done, Phase::Reverted].map(Phase::as_str).contains(&&*operation.phase);
    let replaced = status.operation.is_some_and(|operation| operation.restores() && !started(&operation));
    let data = [claims.database, claims.files].into_iter().flatten().filter(|_| !replaced);
    // A volume of backups that the repository has left is missed by nobody.
    let backups = claims.backups.filter(|_| resource.spec.backup.repository.s3.is_none());
    for claim in data.chain(backups) {
        if let Some(loss) = loss(&claim, observed, resource.spec.adopt) {
            let message = format!(
                "PersistentVolumeClaim {} {loss}. No empty volume is started in its place. Bring the claim and its data back; if its uid is new, set spec.adopt: true to take it over. Or restore a backup: a Dhis2Restore builds new volumes.",
                claim.name
            );
            return Err(Refusal::new(Reason::VolumeLost, message));
        }
    }
    Ok(())
}

fn loss(claim: &Made, observed: &Observed, adopt: bool) -> Option<&'static str> {
    match observed.slot(CLAIM, &claim.name) {
        None => Some("is gone"),
        Some(slot) if *slot.uid != *claim.uid && !adopt => Some("was replaced by another one"),
        Some(slot) if slot.deleting => Some("is being deleted"),
        Some(_) => None,
    }
}
