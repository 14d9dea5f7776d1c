//! Why sets are not copied.

use crate::agent::failure::Failure;
use crate::agent::secret;
use crate::agent::sets::manifest;
use crate::agent::sets::restic;
use crate::report::Refusal;

/// A copy that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository that is copied can't be used.
    #[error("read the repository that is copied")]
    Source(#[source] restic::Error),
    /// The copy can't be used.
    #[error("write to the copy")]
    Copy(#[source] restic::Error),
    /// The copy does not give back what was written to it.
    #[error(
        "the copy is damaged: what was written to it can't be read back, so that nothing more is sent to it; the repository itself is not touched by that"
    )]
    Damaged(#[source] restic::Error),
    /// The copy's key is not there.
    #[error(
        "the Secret of spec.backup.copies[].passwordSecretName of copy {0} does not exist, or holds nothing under the key password: make it, and keep its value outside of the cluster as well"
    )]
    Key(String, #[source] secret::Error),
    /// There is nothing to copy.
    #[error("the repository holds no set of this instance yet: was a backup made?")]
    NoSet,
    /// A set lacks something.
    #[error("set {0} is not copied: one of its snapshots is not in the repository")]
    Incomplete(String),
    /// A manifest can't be read.
    #[error("read the manifest of set {0}")]
    Manifest(String, #[source] manifest::Error),
}

impl Error {
    /// A failure to read back what was written.
    pub fn reading(error: restic::Error) -> Self {
        if error.is_of_what_is_there() { Self::Damaged(error) } else { Self::Copy(error) }
    }

    /// Is it this set's alone, so that others may be copied all the same?
    pub fn is_of_the_set(&self) -> bool {
        match self {
            Self::Incomplete(_) => true,
            Self::Manifest(_, error) => error.reason().is_none_or(|reason| reason == Refusal::SetNewer),
            Self::Copy(error) => matches!(error, restic::Error::Failed { .. }),
            Self::Source(_) | Self::Damaged(_) | Self::Key(..) | Self::NoSet => false,
        }
    }
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Source(error) | Self::Copy(error) => error.reason(),
            Self::Damaged(_) => Some(Refusal::RepositoryDamaged),
            Self::Key(..) => Some(Refusal::SecretMissing),
            Self::NoSet => None,
            Self::Incomplete(_) => Some(Refusal::SetIncomplete),
            Self::Manifest(_, error) => error.reason(),
        }
    }
}
