//! The scratch space: empty before and afterwards.

use std::fs;
use std::io;

use crate::agent::paths::Paths;
use crate::agent::sets::restore::{Error, Place, Volume};
use crate::layout;

/// Scratch space in use. Dropped, it is empty again.
#[derive(Debug)]
pub struct Scratch {
    /// For a data directory.
    pub database: Place,
    /// For a file store.
    pub files: Place,
}

impl Scratch {
    /// Takes it, without what a killed pod has left.
    pub fn take(paths: &Paths) -> Result<Self, Error> {
        let volume = Volume::scratch(paths.of(layout::SCRATCH));
        let place = |path| Place { directory: paths.of(path), volume: volume.clone() };
        let scratch = Self { database: place(layout::SCRATCH_PGDATA), files: place(layout::SCRATCH_FILES) };
        scratch.clear().map_err(|error| Error::Directory(volume.root, error))?;
        Ok(scratch)
    }

    fn clear(&self) -> io::Result<()> {
        for place in [&self.database, &self.files] {
            match fs::remove_dir_all(&place.directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Whoever takes it next clears it, or fails by it.
        let _ = self.clear();
    }
}
