//! Requests to restore an instance, as people made them.

use k8s_openapi::jiff::Timestamp;

use super::{kind::Kind, observe::Observed};
use crate::api::restore::{Dhis2RestoreSpec, Dhis2RestoreStatus, Phase};

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
    /// Its resourceVersion.
    pub version: u64,
    /// What is asked for.
    pub spec: &'a Dhis2RestoreSpec,
    /// What was told of it.
    pub status: &'a Dhis2RestoreStatus,
    /// Its generation.
    pub generation: Option<i64>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Is it being deleted?
    pub deleting: bool,
}

/// All requests of an instance.
pub fn asked(observed: &Observed) -> impl Iterator<Item = Asked<'_>> {
    observed.slots(Kind::Dhis2Restore).filter_map(|(name, slot)| {
        let request = slot.request()?;
        Some(Asked {
            name,
            uid: &slot.uid,
            version: slot.version,
            spec: &request.spec,
            status: &request.status,
            generation: request.generation,
            created: request.created,
            deleting: slot.deleting,
        })
    })
}

impl Asked<'_> {
    /// How far it is, as far as this release understands it.
    fn phase(&self) -> Option<Phase> {
        self.status.phase.as_ref().map_or(Some(Phase::Waiting), |phase| phase.parse().ok())
    }

    /// Has it yet to be carried out?
    pub fn is_due(&self) -> bool {
        !self.deleting && !self.spec.revert && self.phase() == Some(Phase::Waiting)
    }

    /// Was it carried out, and is it to be taken back?
    pub fn goes_back(&self) -> bool {
        !self.deleting && self.spec.revert && self.phase() == Some(Phase::Done)
    }
}
