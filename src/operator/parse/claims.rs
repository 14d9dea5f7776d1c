//! The claims that hold the instance's data: recorded once, and never replaced by an empty one.

use crate::{
    api::{Dhis2Instance, Reason, status::Made},
    operator::{kind::Kind, observe::Observed, parse::Refusal},
};

/// Are the recorded claims there, the same as ever?
///
/// # Errors
/// `VolumeLost`, for the first one that is not.
pub fn are_there(resource: &Dhis2Instance, observed: &Observed) -> Result<(), Refusal> {
    let claims = resource.status.as_ref().and_then(|status| status.claims.clone()).unwrap_or_default();
    for claim in [claims.database, claims.files, claims.backups].into_iter().flatten() {
        if let Some(loss) = loss(&claim, observed, resource.spec.adopt) {
            let message = format!(
                "PersistentVolumeClaim {} {loss}. No empty volume is started in its place. Bring the claim and its data back; if its uid is new, set spec.adopt: true to take it over.",
                claim.name
            );
            return Err(Refusal::new(Reason::VolumeLost, message));
        }
    }
    Ok(())
}

fn loss(claim: &Made, observed: &Observed, adopt: bool) -> Option<&'static str> {
    match observed.slot(Kind::PersistentVolumeClaim, &claim.name) {
        None => Some("is gone"),
        Some(slot) if *slot.uid != *claim.uid && !adopt => Some("was replaced by another one"),
        Some(slot) if slot.deleting => Some("is being deleted"),
        Some(_) => None,
    }
}
