//! Where a set is restored to.

use std::path::PathBuf;

use super::Error;
use crate::agent::database;
use crate::agent::failure::told;
use crate::agent::paths::Paths;
use crate::agent::volume;
use crate::layout;
use crate::report::Refusal;

/// What PostgreSQL's log grows by, in bytes.
const LOG_SEGMENT: u64 = 16 << 20;

/// A directory to restore to.
#[derive(Clone, Debug)]
pub struct Place {
    /// The directory.
    pub directory: PathBuf,
    /// The volume that it is on.
    pub volume: Volume,
}

/// A volume as people know it.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Where it is mounted.
    pub root: PathBuf,
    /// What it is.
    pub name: &'static str,
    /// The field of the resource that says how large it is.
    pub field: &'static str,
    /// How the operator knows that it is too small.
    pub refusal: Refusal,
}

impl Volume {
    /// The new volume of an instance's database.
    pub fn database(paths: &Paths) -> Self {
        let field = "spec.database.bundled.storage.size";
        Self { root: paths.of(layout::DATA), name: "the new volume of the database", field, refusal: Refusal::VolumeTooSmall }
    }

    /// The new volume of its files.
    pub fn files(paths: &Paths) -> Self {
        let field = "spec.files.volume.size";
        Self { root: paths.of(layout::FILES), name: "the new volume of the files", field, refusal: Refusal::VolumeTooSmall }
    }

    /// The scratch space of a restore test, seen here.
    pub fn scratch(root: PathBuf) -> Self {
        Self { root, name: "the scratch space", field: "spec.backup.verify.storage.size", refusal: Refusal::ScratchTooSmall }
    }

    /// Known before hours of work: does it take so many bytes?
    pub fn takes(&self, needed: u64) -> Result<(), Error> {
        let free = volume::space(&self.root)?.free;
        if free < needed { Err(Error::TooSmall { volume: self.clone(), free, needed }) } else { Ok(()) }
    }

    /// The error as it is, unless it comes of this volume being full after all.
    pub fn full_or(&self, error: Error) -> Error {
        let said = told(&error);
        if self.is_full(&said) { self.full(&said) } else { error }
    }

    /// Is it full, by what was said of a failure or by itself?
    pub fn is_full(&self, said: &str) -> bool {
        // A server whose log finds no room ends, and what works with it tells only that it is gone.
        database::says_full(said) || volume::space(&self.root).is_ok_and(|space| space.free < LOG_SEGMENT)
    }

    /// The error of this volume being full.
    pub fn full(&self, said: &str) -> Error {
        Error::Full { volume: self.clone(), said: said.to_owned() }
    }
}
