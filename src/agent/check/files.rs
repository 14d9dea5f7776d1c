//! Whether DHIS2's file store takes files. DHIS2 itself starts without a word on a dead one, accepts uploads and loses them
//! (dhis2-core at 2.42.4.1, observed).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::agent::failure::Failure;
use crate::report::Refusal;

/// Name of the file that is written and taken away again.
pub const PROBE: &str = ".dhis2-operator-probe";

/// A file store that can't be written.
#[derive(Debug, thiserror::Error)]
#[error(
    "write a probe file to the file store {0}: DHIS2 would accept uploads and lose them; look at the volume (full, read-only, or owned by somebody else)"
)]
pub struct Error(PathBuf, #[source] io::Error);

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        Some(Refusal::FilesNotWritable)
    }
}

/// Writes a file, brings it to disk and takes it away again.
pub fn writable(files: &Path) -> Result<(), Error> {
    let probe = files.join(PROBE);
    let write = || -> io::Result<()> {
        let mut file = File::create(&probe)?;
        // More than a file system keeps in an inode, so that a full one is noticed.
        file.write_all(&[b'.'; 8192])?;
        file.sync_all()
    };
    let written = write();
    // A failed write may leave the file: it goes in either case, and a second failure adds nothing to the first.
    let removed = fs::remove_file(&probe);
    written.and(removed).map_err(|error| Error(files.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writable_store_keeps_no_trace() {
        let files = tempfile::tempdir().unwrap();
        writable(files.path()).unwrap();
        assert_eq!(fs::read_dir(files.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_dead_store_is_refused() {
        // Writing below /proc fails for root as well.
        let error = writable(Path::new("/proc/self")).unwrap_err();
        assert_eq!(error.reason(), Some(Refusal::FilesNotWritable));
        assert!(error.to_string().contains("/proc/self"));
    }
}
