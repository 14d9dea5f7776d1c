//! The end of a build: the data directory gets its name and the volume its mark, in steps of which each may be the last for a while.
//!
//! The mark is prepared before the data directory gets its name, so that a kill between the two renames can be told from a directory
//! that is not ours.

use std::io;
use std::path::PathBuf;

use super::{create, mark};
use crate::agent::failure::Failure;
use crate::agent::log::Log;
use crate::agent::paths::Paths;
use crate::agent::postgres::programs::Programs;
use crate::agent::volume;
use crate::layout;
use crate::report::Refusal;

/// A build that can't be brought to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The volume is not what it should be.
    #[error(transparent)]
    Mark(#[from] mark::Error),
    /// The volume can't be written.
    #[error(transparent)]
    Volume(#[from] volume::Error),
    /// The data directory does not tell its identifier.
    #[error(transparent)]
    Create(#[from] create::Error),
    /// Something in the volume could not be moved or removed.
    #[error("prepare {0}")]
    Prepare(PathBuf, #[source] io::Error),
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Mark(error) => error.reason(),
            Self::Create(error) => error.reason(),
            Self::Volume(_) | Self::Prepare(..) => None,
        }
    }
}

/// The prepared mark of a data directory that has its name already; none where there is no such directory. One without its mark is
/// refused.
pub fn begun(programs: &Programs, paths: &Paths, instance: &str) -> Result<Option<mark::Mark>, Error> {
    let pgdata = paths.of(layout::PGDATA);
    if !pgdata.exists() {
        return Ok(None);
    }
    match mark::prepared(paths, instance) {
        Some(prepared) if create::system_identifier(programs, &pgdata)? == prepared.system_identifier => Ok(Some(prepared)),
        _ => Err(mark::unmarked(paths).into()),
    }
}

/// Takes away what an interrupted build has left.
pub fn clear(paths: &Paths, log: Log) -> Result<(), Error> {
    let building = paths.of(layout::PGDATA_BUILDING);
    if building.exists() {
        log.info("removing what an interrupted build has left");
        std::fs::remove_dir_all(&building).map_err(|error| Error::Prepare(building, error))?;
    }
    Ok(())
}

/// Takes away the note of what was being built: the prepared mark says it.
pub fn forget(paths: &Paths) -> Result<(), Error> {
    let path = paths.of(layout::RESTORE_NOTE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::Prepare(path, error)),
        _ => Ok(()),
    }
}

/// Gives the data directory its name. What is left to do is [`mark::finish`].
pub fn name(paths: &Paths, mark: &mark::Mark) -> Result<(), Error> {
    let pgdata = paths.of(layout::PGDATA);
    mark::prepare(paths, mark)?;
    let name = || -> io::Result<()> {
        std::fs::rename(paths.of(layout::PGDATA_BUILDING), &pgdata)?;
        volume::sync_directory(&paths.of(layout::DATA))
    };
    name().map_err(|error| Error::Prepare(pgdata.clone(), error))
}
