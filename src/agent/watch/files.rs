//! DHIS2's file store. One that can't be written loses uploads that DHIS2 has accepted (dhis2-core at 2.42.4.1, observed), so the
//! pod is not ready meanwhile.

use crate::agent::check::files;
use crate::agent::failure::Failure;
use crate::agent::paths::Paths;
use crate::layout;
use crate::report::Refusal;

/// A file store that does not take files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It refuses.
    #[error(transparent)]
    Refuses(#[from] files::Error),
    /// It does not answer.
    #[error("the file store does not answer: DHIS2 would accept uploads and lose them; look at the volume and what it is stored on")]
    Hangs,
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        Some(Refusal::FilesNotWritable)
    }
}

/// Does it take a file?
pub fn look(paths: &Paths) -> Result<(), Error> {
    Ok(files::writable(&paths.of(layout::FILES))?)
}
