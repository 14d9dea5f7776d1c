//! `remove`: one set goes from the instance's repository, since a person wants it to.

use std::time::Duration;

use super::Ended;
use super::args::Remove;
use super::failure::Failure;
use super::log::Log;
use super::paths::Paths;
use super::sets::pending_prune;
use super::sets::restic::{self, Owner, Repository};
use super::sets::retention::{self, Needed};
use super::termination::Message;
use super::volume;
use crate::layout;
use crate::report::Refusal;

/// A backup that is being made comes first.
const LOCK_PATIENCE: Duration = Duration::from_mins(30);

/// A set that is still there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository's volume can't be used.
    #[error(transparent)]
    Volume(#[from] volume::Error),
    /// The repository can't be used.
    #[error(transparent)]
    Repository(#[from] restic::Error),
    /// It can't be removed.
    #[error("the set could not be removed")]
    Retention(#[from] retention::Error),
    /// It is needed.
    #[error("set {0} is the newest one and stays: make another backup first")]
    Newest(String),
    /// It is the one that is sure.
    #[error(
        "set {0} is the newest one that a restore test has proven, and stays: have a newer one proven first, as a Dhis2RestoreTest does"
    )]
    Proven(String),
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Volume(volume::Error::Locked(_)) | Self::Retention(retention::Error::Restic(restic::Error::Locked(_))) => {
                Some(Refusal::RepositoryLocked)
            }
            Self::Repository(error) | Self::Retention(retention::Error::Restic(error)) => error.reason(),
            Self::Newest(_) | Self::Proven(_) => Some(Refusal::SetNeeded),
            Self::Volume(_) | Self::Retention(_) => None,
        }
    }
}

/// Removes the set, or finds it gone.
pub fn remove(arguments: &Remove, paths: &Paths, log: Log, reports: &Message) -> Result<Ended, Error> {
    let set = &arguments.set;
    reports.waiting(&format!("removing the backup set {set}"), log);
    let on_volume = arguments.repository.s3.is_none();
    let _lock = on_volume.then(|| volume::lock(&paths.of(layout::REPOSITORY_LOCK), LOCK_PATIENCE)).transpose()?;
    // One that is not there is not made for it, and that of another instance is left alone.
    drop(Repository::existing(&arguments.repository, paths)?);
    let owner = Owner { instance: &arguments.instance, name: &arguments.name, adopt: arguments.adopt };
    let repository = Repository::open(&arguments.repository, paths, &owner)?;
    let there = match retention::remove_one(&repository, set, &pending_prune(&repository, paths), log)? {
        Ok(there) => there,
        Err(Needed::Newest) => return Err(Error::Newest(set.clone())),
        Err(Needed::Proven) => return Err(Error::Proven(set.clone())),
    };
    let message = if there { format!("set {set} was removed") } else { format!("set {set} was not in the repository any more") };
    Ok((message, None))
}
