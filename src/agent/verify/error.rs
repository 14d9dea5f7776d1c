//! Why a set is not proven.

use crate::agent::failure::Failure;
use crate::agent::postgres::programs;
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
        }
    }
}
