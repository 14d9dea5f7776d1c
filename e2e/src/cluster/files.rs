//! File operations whose errors say which file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("{action} {}", path.display())]
pub struct Error {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Error {
    /// `action` on `path` failed with `source`.
    pub fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self { action, path, source }
    }

    /// Whether the file was not there.
    pub fn is_missing(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// Makes a folder and those above it.
pub fn make_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|e| Error::new("make the folder", path, e))
}

/// Writes a whole file.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), Error> {
    fs::write(path, content).map_err(|e| Error::new("write", path, e))
}

/// Writes a whole file so that a reader sees the old one or the new one, never a part.
pub fn replace(path: &Path, content: impl AsRef<[u8]>) -> Result<(), Error> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    write(&beside, content)?;
    rename(&beside, path)
}

/// Reads a text file.
pub fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|e| Error::new("read", path, e))
}

/// Reads a file that may be missing.
pub fn read_if_there(path: &Path) -> Result<Option<String>, Error> {
    match read(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.is_missing() => Ok(None),
        Err(e) => Err(e),
    }
}

/// Moves a file or folder within one filesystem.
pub fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(|e| Error::new("move", from, e))
}

/// Removes a folder with all that is in it; one that is not there is removed already.
pub fn remove_tree(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::new("remove", path, e)),
        _ => Ok(()),
    }
}

/// Copies a folder's content, leaving out what `is_wanted` refuses.
pub fn copy_tree(from: &Path, to: &Path, is_wanted: &impl Fn(&Path) -> bool) -> Result<(), Error> {
    make_folder(to)?;
    for path in list(from)?.into_iter().filter(|p| is_wanted(p)) {
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_tree(&path, &target, is_wanted)?;
        } else {
            let content = fs::read(&path).map_err(|e| Error::new("read", &path, e))?;
            write(&target, content)?;
        }
    }
    Ok(())
}

/// What a folder holds, sorted by name; nothing when it is not there.
pub fn list(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::new("list", path, e)),
    };
    let mut paths = entries.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(|e| Error::new("list", path, e))?;
    paths.sort();
    Ok(paths)
}
