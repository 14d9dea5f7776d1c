//! Whether DHIS2's file store takes files. DHIS2 itself starts without a word on a dead one, accepts uploads and loses them
//! (dhis2-core at 2.42.4.1, observed).

use std::io;
use std::path::{Path, PathBuf};

use crate::agent::failure::Failure;
use crate::agent::volume;
use crate::report::Refusal;

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

/// Does it take a file?
pub fn writable(files: &Path) -> Result<(), Error> {
    volume::probe(files).map_err(|error| Error(files.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_store_is_refused() {
        // Writing below /proc fails for root as well.
        let error = writable(Path::new("/proc/self")).unwrap_err();
        assert_eq!(error.reason(), Some(Refusal::FilesNotWritable));
        assert!(error.to_string().contains("/proc/self"));
    }
}
