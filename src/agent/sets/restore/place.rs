//! Where a set is restored to.

use std::path::PathBuf;

use super::Error;
use crate::agent::database;
use crate::agent::failure::told;
use crate::agent::volume;
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
    /// Known before hours of work: does it take so many bytes?
    pub fn takes(&self, needed: u64) -> Result<(), Error> {
        let free = volume::space(&self.root)?.free;
        if free < needed { Err(Error::TooSmall { volume: self.clone(), free, needed }) } else { Ok(()) }
    }

    /// The error as it is, unless it comes of this volume being full after all.
    pub fn full_or(&self, error: Error) -> Error {
        let said = told(&error);
        // A server whose log finds no room ends, and what works with it tells only that it is gone.
        let full = || volume::space(&self.root).is_ok_and(|space| space.free < LOG_SEGMENT);
        if database::says_full(&said) || full() { Error::Full { volume: self.clone(), said } } else { error }
    }
}
