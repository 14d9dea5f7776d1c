//! Requests for a backup or a restore test, as people made them, and sets that go with them.

use super::{
    instance::{Errand, Task},
    kind::Kind,
    observe::Observed,
    slot,
};
use crate::api::errand::{Phase, Progress};

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What is asked for.
    pub task: Task,
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
    /// Its resourceVersion.
    pub version: u64,
    /// What is known of it.
    pub errand: &'a slot::Errand,
}

/// All requests of an instance that are not being deleted. An object that stands for a set asks for nothing.
pub fn asked(observed: &Observed) -> impl Iterator<Item = Asked<'_>> {
    [Task::Backup, Task::RestoreTest].into_iter().flat_map(move |task| {
        let slots = observed.slots(task.kind()).filter(|(_, slot)| !slot.deleting);
        slots.filter_map(move |(name, slot)| {
            Some(Asked { task, name, uid: &slot.uid, version: slot.version, errand: slot.errand().filter(|errand| !errand.mirror)? })
        })
    })
}

/// Objects that stand for a set and tell of it already: nothing is carried out for them, but they may have news.
pub fn mirrors(observed: &Observed) -> impl Iterator<Item = Asked<'_>> {
    let told = |errand: &&slot::Errand| errand.mirror && errand.phase().is_some();
    let slots = observed.slots(Kind::Dhis2Backup).filter(|(_, slot)| !slot.deleting);
    slots.filter_map(move |(name, slot)| {
        Some(Asked { task: Task::Backup, name, uid: &slot.uid, version: slot.version, errand: slot.errand().filter(told)? })
    })
}

/// The sets that are to go before the objects that are being deleted.
pub fn removals(observed: &Observed) -> impl Iterator<Item = Asked<'_>> {
    let slots = observed.slots(Kind::Dhis2Backup).filter(|(_, slot)| slot.deleting);
    let goes = |errand: &&slot::Errand| errand.held && errand.deletes && errand.set.is_some();
    slots.filter_map(move |(name, slot)| {
        Some(Asked { task: Task::Removal, name, uid: &slot.uid, version: slot.version, errand: slot.errand().filter(goes)? })
    })
}

/// The one that is carried out: of an instance only one is at a time.
pub fn under_way(observed: &Observed) -> Option<Asked<'_>> {
    asked(observed).chain(removals(observed)).filter(Asked::is_at_work).min_by_key(Asked::age)
}

impl<'a> Asked<'a> {
    /// How far it is, as far as this release understands it.
    pub fn phase(&self) -> Option<Phase> {
        self.errand.phase().map_or(Some(Phase::Waiting), |phase| phase.parse().ok())
    }

    /// Is its Job at work?
    pub fn is_at_work(&self) -> bool {
        let begun = |progress: &Progress| progress.started.is_some() && progress.finished.is_none();
        match self.task {
            Task::Backup | Task::RestoreTest => self.phase() == Some(Phase::Running),
            Task::Removal => self.phase() == Some(Phase::Removing) && self.errand.progress().is_some_and(begun),
        }
    }

    /// What comes first is carried out first.
    pub fn age(&self) -> impl Ord + use<'a> {
        (self.errand.created, self.task, self.name)
    }

    /// What its Job is made from.
    pub fn to_do(&self) -> Errand {
        let set = self.errand.set.as_deref().filter(|_| self.task != Task::Backup).map(str::to_owned);
        let copy = self.errand.copy().map(str::to_owned);
        Errand { task: self.task, uid: self.uid.to_owned(), set, copy, level: self.errand.level }
    }
}

impl Task {
    /// The kind by which it is asked for.
    pub fn kind(self) -> Kind {
        match self {
            Self::Backup | Self::Removal => Kind::Dhis2Backup,
            Self::RestoreTest => Kind::Dhis2RestoreTest,
        }
    }
}
