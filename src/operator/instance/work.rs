//! What is under way for an instance, beside its being kept as it is wanted.

use super::Origin;
use crate::api::{backup::VerifyLevel, restore::Phase};

/// A restore that is under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Restoring {
    /// How far it is.
    pub phase: Phase,
    /// Uid of the request.
    pub uid: String,
    /// The set; none for the newest.
    pub set: Option<String>,
    /// The moment at or before which the set has to be made.
    pub before: Option<String>,
    /// Are files left out that could not be read when it was made?
    pub leaves_out: bool,
    /// Where the set is; none as long as that is not known, since the request or what it names is gone.
    pub from: Option<SetSource>,
    /// The claim of the database that is built or gone back to.
    pub database: String,
    /// The claim of the files.
    pub files: String,
}

/// Where the set of a restore is.
#[derive(Clone, Debug, PartialEq)]
pub enum SetSource {
    /// In the instance's repository.
    Own,
    /// In another one.
    Other(Box<Origin>),
}

/// What comes before an upgrade, while the old version serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preparing {
    /// How far it is.
    pub phase: Phase,
    /// The generation of the spec that asked for it.
    pub generation: i64,
}

/// A run that generates analytics tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Analytics {
    /// Its number.
    pub run: i64,
    /// All of them, though some are there.
    pub all: bool,
}

/// A backup, a restore test or the removal of a set that a person asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// Which of them.
    pub task: Task,
    /// Uid of the request.
    pub uid: String,
    /// The set that is tested, none for the newest; the set that is removed.
    pub set: Option<String>,
    /// The copy that the test restores from, none for the repository.
    pub copy: Option<String>,
    /// How far the test goes, unless as far as the scheduled ones.
    pub level: Option<VerifyLevel>,
}

/// What a person can ask for that is one Job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// By a `Dhis2Backup`.
    Backup,
    /// By a `Dhis2RestoreTest`.
    RestoreTest,
    /// By deleting a `Dhis2Backup` that says so.
    Removal,
}
