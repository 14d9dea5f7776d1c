//! The scratch space: empty before and afterwards.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::Error;
use crate::agent::paths::Paths;
use crate::agent::volume;
use crate::layout;

/// Scratch space in use. Dropped, it is empty again.
#[derive(Debug)]
pub struct Scratch {
    root: PathBuf,
    /// For a data directory.
    pub pgdata: PathBuf,
    /// For a file store.
    pub files: PathBuf,
}

impl Scratch {
    /// Takes it, without what a killed pod has left.
    pub fn take(paths: &Paths) -> Result<Self, Error> {
        let place = |path| paths.of(path);
        let scratch = Self { root: place(layout::SCRATCH), pgdata: place(layout::SCRATCH_PGDATA), files: place(layout::SCRATCH_FILES) };
        scratch.clear().map_err(|error| Error::Scratch(scratch.root.clone(), error))?;
        Ok(scratch)
    }

    /// What is free of it, in bytes.
    pub fn free(&self) -> Result<u64, Error> {
        Ok(volume::space(&self.root)?.free)
    }

    fn clear(&self) -> io::Result<()> {
        for place in [&self.pgdata, &self.files] {
            match fs::remove_dir_all(place) {
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
