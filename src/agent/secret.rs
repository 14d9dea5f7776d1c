//! Secrets as they are mounted: one value a file.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::failure::Failure;

/// A secret value. It shows itself only when asked to, so that no log line or error can carry it by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(String);

/// A Secret that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is missing or unreadable.
    #[error("read the secret {0}: is the Secret complete and mounted?")]
    Read(PathBuf, #[source] io::Error),
    /// The file is empty.
    #[error("read the secret {0}: it is empty")]
    Empty(PathBuf),
}

impl Failure for Error {}

impl Value {
    /// Takes `text` as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The value itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Reads a secret. A line end that an editor has put there does not belong to it.
pub fn read(path: &Path) -> Result<Value, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::Read(path.to_owned(), error))?;
    let value = text.trim_end_matches(['\r', '\n']);
    if value.is_empty() { Err(Error::Empty(path.to_owned())) } else { Ok(Value::new(value)) }
}

/// Reads a secret that need not be there.
pub fn read_optional(path: &Path) -> Result<Option<Value>, Error> {
    match read(path) {
        Err(Error::Read(_, error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_end_is_no_part_and_nothing_is_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        std::fs::write(&path, " pass word \n").unwrap();
        let value = read(&path).unwrap();
        assert_eq!(value.reveal(), " pass word ");
        assert_eq!(format!("{value:?}"), "[secret]");
    }

    #[test]
    fn an_absent_secret_differs_from_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        assert_eq!(read_optional(&path).unwrap(), None);
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(read_optional(&path), Err(Error::Empty(_))));
    }
}
