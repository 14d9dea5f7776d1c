//! What is kept of an object: who it is, whether it is as wanted, and the few facts that decisions need.
//! The object itself is dropped on arrival.

mod reduce;

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use super::trouble::{Silence, Trouble};
use crate::{
    api::{
        backup::VerifyLevel,
        errand::{Phase, Progress},
        restore::{Dhis2RestoreSpec, Dhis2RestoreStatus},
    },
    report::Report,
};
pub use reduce::{applied, changed_by, reduce, version};

/// What is kept of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Its uid.
    pub uid: Arc<str>,
    /// Its resourceVersion, as the number that it is (Kubernetes ≥ 1.35 promises that it can be compared).
    pub version: u64,
    /// Uid of the controller that owns it.
    pub owner: Option<Arc<str>>,
    /// Uid of the instance that made it, where it has no owner.
    pub maker: Option<Arc<str>>,
    /// Digest of the wish that it was last written for; a digest tells the instance as well.
    pub applied: Option<Arc<str>>,
    /// Is it being deleted?
    pub deleting: bool,
    /// Digest of the wish that it satisfies; none when it differs or was never compared.
    pub satisfied: Option<Arc<str>>,
    /// Facts by kind.
    pub facts: Facts,
}

/// There are some fifty for each instance: what is rare belongs into a box.
const _: () = assert!(size_of::<Slot>() <= 112 && size_of::<Errand>() <= 96);

/// Facts by kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Facts {
    /// Nothing beyond its being there.
    Plain,
    /// A claim.
    Claim(Box<Claim>),
    /// A Job.
    Job {
        /// `true` complete, `false` failed, none still running.
        finished: Option<bool>,
    },
    /// A pod.
    Pod(Box<Pod>),
    /// A request to restore.
    Restore(Box<Request>),
    /// A request for a backup or a restore test.
    Errand(Box<Errand>),
}

/// Facts of a claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Storage asked for.
    pub requested: String,
    /// Storage given; none before it is bound.
    pub capacity: Option<String>,
    /// What it is for, if the instance is not served from it.
    pub role: Option<Role>,
}

/// What a claim is for that the instance is not served from: its label `dhis2.hosting/claim`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A restore fills it.
    Building,
    /// A restore has replaced it.
    Replaced,
}

/// A request to restore.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What is asked for.
    pub spec: Dhis2RestoreSpec,
    /// What was told of it.
    pub status: Dhis2RestoreStatus,
    /// Its generation.
    pub generation: Option<i64>,
    /// When it was made.
    pub created: Option<Timestamp>,
}

/// A request for a backup or a restore test. Those that are over may be many: little is kept of them.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "each holds without regard to the others")]
pub struct Errand {
    /// The set that a restore test is asked for, none for the newest; the set that a backup made or stands for.
    pub set: Option<Box<str>>,
    /// Is it a backup that stands for a set, and asks for none?
    pub mirror: bool,
    /// Was it told that the set is gone?
    pub removed: bool,
    /// Is the set to go with a backup that is deleted?
    pub deletes: bool,
    /// Does it stay until that is done?
    pub held: bool,
    /// How far a restore test is to go.
    pub level: Option<VerifyLevel>,
    /// Was it told when the set was proven?
    pub proven: bool,
    /// Its generation.
    pub generation: Option<i64>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// What was told of it.
    pub told: Told,
}

/// What was told of a request for a backup or a restore test.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// It is over, and of which generation that was told.
    Over(Phase, Option<i64>),
    /// It is not.
    Open(Box<Open>),
}

/// What counts as long as a request is not over.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// How far it is.
    pub progress: Progress,
    /// The copy that a restore test restores from, none for the repository.
    pub copy: Option<String>,
}

/// Facts of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pod {
    /// The part of the instance that it is.
    pub component: String,
    /// The copy that it works with.
    pub copy: Option<String>,
    /// Is it ready?
    pub ready: bool,
    /// Has it ended?
    pub ended: bool,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Digest of what it was started with.
    pub restart: Option<String>,
    /// Who of it was ready and does not answer as it should any more.
    pub silent: Option<Silence>,
    /// What keeps it from working.
    pub trouble: Option<Trouble>,
    /// The newest report of each container that left one.
    pub reports: Vec<Report>,
    /// DHIS2's image, by digest.
    pub image_id: Option<String>,
    /// How often DHIS2's container has ended and was started again, as far as that matters.
    pub starts: u32,
    /// Since when it runs.
    pub started: Option<Timestamp>,
}

impl Slot {
    /// Facts of a pod.
    pub fn pod(&self) -> Option<&Pod> {
        match &self.facts {
            Facts::Pod(pod) => Some(pod),
            _ => None,
        }
    }

    /// Facts of a claim.
    pub fn claim(&self) -> Option<&Claim> {
        match &self.facts {
            Facts::Claim(claim) => Some(claim),
            _ => None,
        }
    }

    /// A request to restore.
    pub fn request(&self) -> Option<&Request> {
        match &self.facts {
            Facts::Restore(request) => Some(request),
            _ => None,
        }
    }

    /// A request for a backup or a restore test.
    pub fn errand(&self) -> Option<&Errand> {
        match &self.facts {
            Facts::Errand(errand) => Some(errand),
            _ => None,
        }
    }

    /// Has it changed in a way that a decision could depend on? The resourceVersion alone does not count.
    pub fn tells_something_new(&self, older: &Self) -> bool {
        Self { version: older.version, ..self.clone() } != *older
    }

    /// The same, with each text only once in memory: the children of an instance have one owner and one maker, and most satisfy what they
    /// were written for.
    #[must_use]
    pub fn sharing(mut self, other: Option<&Self>) -> Self {
        let texts: Vec<Arc<str>> = other.into_iter().flat_map(Self::texts).cloned().collect();
        for text in [&mut self.owner, &mut self.maker, &mut self.applied, &mut self.satisfied].into_iter().flatten() {
            if let Some(known) = texts.iter().find(|known| *known == text) {
                *text = known.clone();
            }
        }
        if self.maker == self.owner {
            self.maker.clone_from(&self.owner);
        }
        if self.satisfied == self.applied {
            self.satisfied.clone_from(&self.applied);
        }
        self
    }

    fn texts(&self) -> impl Iterator<Item = &Arc<str>> {
        [&self.owner, &self.maker, &self.applied, &self.satisfied].into_iter().flatten()
    }
}

impl Errand {
    /// The word for how far it is; none before anything was told.
    pub fn phase(&self) -> Option<&str> {
        match &self.told {
            Told::Over(phase, _) => Some(phase.as_str()),
            Told::Open(open) => open.progress.phase.as_deref(),
        }
    }

    /// The generation that was told of.
    pub fn observed_generation(&self) -> Option<i64> {
        match &self.told {
            Told::Over(_, generation) => *generation,
            Told::Open(open) => open.progress.observed_generation,
        }
    }

    /// What is to be gone on from, unless it is over.
    pub fn progress(&self) -> Option<&Progress> {
        match &self.told {
            Told::Over(..) => None,
            Told::Open(open) => Some(&open.progress),
        }
    }

    /// The copy that it restores from; none for the repository, and once it is over.
    pub fn copy(&self) -> Option<&str> {
        match &self.told {
            Told::Over(..) => None,
            Told::Open(open) => open.copy.as_deref(),
        }
    }
}

/// Slots for tests.
#[cfg(test)]
pub mod fixture {
    use super::{Claim, Facts, Role, Slot};

    /// Of an object of nobody's.
    pub fn slot(uid: &str, facts: Facts) -> Slot {
        Slot { uid: uid.into(), version: 1, owner: None, maker: None, applied: None, deleting: false, satisfied: None, facts }
    }

    /// Of a claim.
    pub fn claim(requested: &str, capacity: Option<&str>, role: Option<Role>) -> Facts {
        Facts::Claim(Box::new(Claim { requested: requested.to_owned(), capacity: capacity.map(str::to_owned), role }))
    }

    /// Of an object of this owner's.
    pub fn owned(uid: &str, owner: &str, facts: Facts) -> Slot {
        Slot { owner: Some(owner.into()), ..slot(uid, facts) }
    }
}
