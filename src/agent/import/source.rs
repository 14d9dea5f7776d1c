//! DHIS2's files, copied from where people brought them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Error, dump};
use crate::agent::log::Log;
use crate::agent::paths::Paths;

/// A file that DHIS2's home has and its file store has not.
const CONFIGURATION: &str = "dhis.conf";

/// A directory of files.
#[derive(Debug)]
pub struct Source {
    name: String,
    place: PathBuf,
    /// Of what is copied.
    pub size: Size,
}

/// How much a directory holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Files.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// What is neither a file nor a directory.
    pub others: u64,
}

impl Source {
    /// Finds it on the volume of the source, and reads through it.
    pub fn open(paths: &Paths, name: &str) -> Result<Self, Error> {
        let place = dump::within(paths, name)?;
        if !place.is_dir() {
            return Err(Error::NoDirectory(name.to_owned()));
        }
        if place.join(CONFIGURATION).exists() {
            return Err(Error::Home(name.to_owned()));
        }
        let mut size = Size::default();
        measure(&place, &mut size).map_err(|(path, error)| Error::unreadable(&beside(name, &place, &path), error))?;
        Ok(Self { name: name.to_owned(), place, size })
    }

    /// Copies it into a directory that is empty.
    pub fn copy(&self, target: &Path, log: Log) -> Result<(), Error> {
        if self.size.others > 0 {
            log.warn(&format!("{} links and special files are not copied", self.size.others));
        }
        let mut copied = Size::default();
        copy(&self.place, target, &mut copied).map_err(|(path, error)| Error::Copy(beside(&self.name, &self.place, &path), error))?;
        if copied == self.size { Ok(()) } else { Err(Error::Moving(self.name.clone())) }
    }
}

/// A path as people know it.
fn beside(name: &str, place: &Path, path: &Path) -> String {
    Path::new(name).join(path.strip_prefix(place).unwrap_or(path)).to_string_lossy().into_owned()
}

type At = (PathBuf, io::Error);

fn entries(directory: &Path) -> Result<Vec<(PathBuf, fs::FileType)>, At> {
    let at = |error| (directory.to_owned(), error);
    let entries = fs::read_dir(directory).map_err(at)?;
    entries.map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))).map_err(at)).collect()
}

fn measure(directory: &Path, size: &mut Size) -> Result<(), At> {
    for (path, kind) in entries(directory)? {
        if kind.is_dir() {
            measure(&path, size)?;
        } else if kind.is_file() {
            size.files += 1;
            // Opened as well: what can't be read is told before anything is made.
            let file = fs::File::open(&path).and_then(|file| file.metadata());
            size.bytes += file.map_err(|error| (path, error))?.len();
        } else {
            size.others += 1;
        }
    }
    Ok(())
}

fn copy(directory: &Path, target: &Path, copied: &mut Size) -> Result<(), At> {
    for (path, kind) in entries(directory)? {
        let place = target.join(path.file_name().unwrap_or_default());
        if kind.is_dir() {
            fs::create_dir(&place).map_err(|error| (path.clone(), error))?;
            copy(&path, &place, copied)?;
        } else if kind.is_file() {
            copied.bytes += fs::copy(&path, &place).map_err(|error| (path, error))?;
            copied.files += 1;
        } else {
            copied.others += 1;
        }
    }
    Ok(())
}
