//! Requests for a backup or a restore test, as people made them.

use super::{
    instance::{Errand, Task},
    kind::Kind,
    observe::Observed,
    slot,
};
use crate::api::errand::Phase;

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What is asked for.
    pub task: Task,
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
    /// What is known of it.
    pub errand: &'a slot::Errand,
}

/// All requests of an instance that are not being deleted.
pub fn asked(observed: &Observed) -> impl Iterator<Item = Asked<'_>> {
    [Task::Backup, Task::RestoreTest].into_iter().flat_map(move |task| {
        let slots = observed.slots(task.kind()).filter(|(_, slot)| !slot.deleting);
        slots.filter_map(move |(name, slot)| Some(Asked { task, name, uid: &slot.uid, errand: slot.errand()? }))
    })
}

/// The one that is carried out: of an instance only one is at a time.
pub fn under_way(observed: &Observed) -> Option<Asked<'_>> {
    asked(observed).filter(|asked| asked.phase() == Some(Phase::Running)).min_by_key(Asked::age)
}

impl<'a> Asked<'a> {
    /// How far it is, as far as this release understands it.
    pub fn phase(&self) -> Option<Phase> {
        self.errand.progress.phase.as_ref().map_or(Some(Phase::Waiting), |phase| phase.parse().ok())
    }

    /// What comes first is carried out first.
    pub fn age(&self) -> impl Ord + use<'a> {
        (self.errand.created, self.task, self.name)
    }

    /// What its Job is made from.
    pub fn to_do(&self) -> Errand {
        let set = if self.task == Task::RestoreTest { self.errand.set.as_deref().map(str::to_owned) } else { None };
        Errand { task: self.task, uid: self.uid.to_owned(), set, level: self.errand.level }
    }
}

impl Task {
    /// The kind by which it is asked for.
    pub fn kind(self) -> Kind {
        match self {
            Self::Backup => Kind::Dhis2Backup,
            Self::RestoreTest => Kind::Dhis2RestoreTest,
        }
    }
}
