//! Why a set is not proven.

use std::path::PathBuf;

use crate::agent::database::mark;
use crate::agent::failure::Failure;
use crate::agent::postgres::programs;
use crate::agent::rehearse;
use crate::agent::sets::{restic, restore};
use crate::report::Refusal;

/// A set that is not proven.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be restored.
    #[error(transparent)]
    Restore(#[from] restore::Error),
    /// No PostgreSQL of the right version.
    #[error(transparent)]
    Programs(#[from] programs::Error),
    /// The mark of what was restored can't be read.
    #[error(transparent)]
    Mark(#[from] mark::Error),
    /// Nothing was restored.
    #[error("{0} says of no set that it was restored")]
    NotRestored(PathBuf),
    /// DHIS2 does not serve on it.
    #[error(transparent)]
    Application(#[from] rehearse::Error),
}

impl From<restic::Error> for Error {
    fn from(error: restic::Error) -> Self {
        Self::Restore(error.into())
    }
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Restore(error) => error.reason(),
            Self::Programs(error) => error.reason(),
            Self::Mark(error) => error.reason(),
            Self::NotRestored(_) => None,
            Self::Application(_) => Some(Refusal::ApplicationTestFailed),
        }
    }
}
