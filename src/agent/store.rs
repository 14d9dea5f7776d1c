//! The new volume of DHIS2's files, while a restore or an import fills it: whose it is, and how it gets there.
//!
//! It is ours as long as it is empty or has our mark, which is written before the first file and goes when all is there.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::agent::failure::Failure;
use crate::agent::log::Log;
use crate::agent::paths::Paths;
use crate::agent::sets::restore::NOT_FILES;
use crate::agent::volume;
use crate::layout;
use crate::report::Refusal;

/// So many of the foreign names are told.
const NAMED: usize = 6;

/// What Kubernetes gives to the group of a pod on its volumes: files that come from elsewhere are no different, whoever's umask was in
/// force when they were made.
const FILE_OF_GROUP: u32 = 0o660;
const DIRECTORY_OF_GROUP: u32 = 0o2770;

/// A volume that can't be filled, or is not what was filled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It holds somebody's files.
    #[error(
        "the volume of the files at {0} holds what neither a restore nor an import has put there ({1}): nothing is removed or written over; look at it by hand, or give two new volumes"
    )]
    Foreign(PathBuf, String),
    /// It is being filled for another instance.
    #[error("the volume of the files at {root} has the mark of an unfinished restore or import for instance {owner}: give two new volumes")]
    Of {
        /// Where it is mounted.
        root: PathBuf,
        /// For whom it is.
        owner: String,
    },
    /// The database was built, the files beside it were lost since.
    #[error(
        "the database is whole, but the volume at {0} is not that of the {1} files that came with it: bring it back, or give two new volumes"
    )]
    Lost(PathBuf, u64),
    /// It can't be used.
    #[error("use {0} on the volume of the files")]
    Use(PathBuf, #[source] io::Error),
    /// The mark can't be written.
    #[error(transparent)]
    Volume(#[from] volume::Error),
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Foreign(..) => Some(Refusal::VolumeUnmarked),
            Self::Of { .. } => Some(Refusal::VolumeForeign),
            Self::Lost(..) => Some(Refusal::VolumeDamaged),
            Self::Use(..) | Self::Volume(_) => None,
        }
    }
}

/// What the mark says.
#[derive(Debug, Serialize, Deserialize)]
struct Filling {
    instance: String,
}

/// The volume.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The volume that is mounted.
    pub fn of(paths: &Paths) -> Self {
        Self { root: paths.of(layout::FILES) }
    }

    /// Refuses a volume that holds anything that no interrupted run for this instance has left.
    pub fn are_ours(&self, instance: &str) -> Result<(), Error> {
        match self.marked()? {
            Some(mark) if mark.instance == instance => return Ok(()),
            Some(mark) => return Err(Error::Of { root: self.root.clone(), owner: mark.instance }),
            None => {}
        }
        let foreign = self.entries()?;
        if foreign.is_empty() { Ok(()) } else { Err(Error::Foreign(self.root.clone(), named(&foreign))) }
    }

    /// Refuses a volume that no finished run has filled: one that is not whole, or that is empty where `files` should be.
    pub fn are_whole(&self, files: u64) -> Result<(), Error> {
        let lost = self.marked()?.is_some() || (files > 0 && self.entries()?.is_empty());
        if lost { Err(Error::Lost(self.root.clone(), files)) } else { Ok(()) }
    }

    /// Writes the mark, durably.
    pub fn mark(&self, instance: &str) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(&Filling { instance: instance.to_owned() }).unwrap_or_default();
        Ok(volume::write(&self.place(), text.as_bytes())?)
    }

    /// Takes away what an interrupted run has left; [`Store::are_ours`] was asked before.
    pub fn clear(&self, log: Log) -> Result<(), Error> {
        let left = self.entries()?;
        if !left.is_empty() {
            log.info("removing the files that an interrupted run has left");
        }
        for entry in left {
            let directory = fs::symlink_metadata(&entry).is_ok_and(|metadata| metadata.is_dir());
            let removed = if directory { fs::remove_dir_all(&entry) } else { fs::remove_file(&entry) };
            removed.map_err(|error| Error::Use(entry, error))?;
        }
        Ok(())
    }

    /// Opens the files to the group of the volume, as those are that DHIS2 writes, and brings everything to disk.
    pub fn settle(&self) -> Result<(), Error> {
        let settle = || -> io::Result<()> {
            for entry in self.entries_or_error()? {
                open(&entry)?;
            }
            // One call for all files: each by itself would take hours where there are millions.
            nix::unistd::syncfs(File::open(&self.root)?).map_err(io::Error::from)
        };
        settle().map_err(|error| Error::Use(self.root.clone(), error))
    }

    /// Takes the mark away, durably: what is here is whole.
    pub fn unmark(&self) -> Result<(), Error> {
        let place = self.place();
        let removed = match fs::remove_file(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => volume::sync_directory(&self.root),
        };
        removed.map_err(|error| Error::Use(place, error))
    }

    fn marked(&self) -> Result<Option<Filling>, Error> {
        let place = self.place();
        match fs::read(&place) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| Error::Use(place, error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::Use(place, error)),
        }
    }

    /// What is there beside the file system's own, and ours.
    fn entries(&self) -> Result<Vec<PathBuf>, Error> {
        self.entries_or_error().map_err(|error| Error::Use(self.root.clone(), error))
    }

    fn entries_or_error(&self) -> io::Result<Vec<PathBuf>> {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(&self.root)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
        // A kill while the mark was written leaves it under the name that it has until it is whole.
        let unfinished = format!("{}.new", layout::FILES_RESTORING);
        entries
            .retain(|entry| entry.file_name().is_none_or(|name| name != unfinished.as_str() && NOT_FILES.iter().all(|own| name != *own)));
        entries.sort();
        Ok(entries)
    }

    fn place(&self) -> PathBuf {
        self.root.join(layout::FILES_RESTORING)
    }
}

fn named(entries: &[PathBuf]) -> String {
    let names = entries.iter().take(NAMED).filter_map(|entry| entry.file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>().join(", ")
}

fn open(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let granted = if metadata.is_dir() {
        DIRECTORY_OF_GROUP
    } else if metadata.is_file() {
        FILE_OF_GROUP
    } else {
        return Ok(());
    };
    let mode = metadata.permissions().mode();
    if mode & granted != granted {
        fs::set_permissions(path, Permissions::from_mode(mode | granted))?;
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            open(&entry?.path())?;
        }
    }
    Ok(())
}
