//! Why a set is not restored to an instance.

use jiff::Timestamp;

use crate::agent::database::{create, finish, mark};
use crate::agent::failure::Failure;
use crate::agent::postgres::{private, programs};
use crate::agent::sets::{restic, restore};
use crate::agent::{secret, store, volume};
use crate::dhis2::version::Version;
use crate::report::Refusal;

/// A restore that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The set can't be restored.
    #[error(transparent)]
    Restore(#[from] restore::Error),
    /// The copy would send messages.
    #[error("switch off the scheduled jobs of the copy")]
    Jobs(#[source] ::postgres::Error),
    /// All sets are later.
    #[error("the repository has no set of {before} or before: the oldest is set {set} of {created}")]
    NoneBefore {
        /// What was asked for.
        before: Timestamp,
        /// The oldest set.
        set: String,
        /// Of which moment it is.
        created: String,
    },
    /// A volume can't be used.
    #[error(transparent)]
    Volume(#[from] volume::Error),
    /// A Secret can't be used.
    #[error(transparent)]
    Secret(#[from] secret::Error),
    /// No PostgreSQL.
    #[error(transparent)]
    Programs(#[from] programs::Error),
    /// The database could not be made.
    #[error(transparent)]
    Create(#[from] create::Error),
    /// The private server does not work.
    #[error(transparent)]
    Private(#[from] private::Error),
    /// The volume's mark says something else, or nothing that is understood.
    #[error(transparent)]
    Mark(#[from] mark::Error),
    /// It could not be brought to its end.
    #[error(transparent)]
    Finish(#[from] finish::Error),
    /// The database volume is not a new one.
    #[error(
        "the database volume holds {found} of instance {owner} ({name}), and is left as it is; {asked} was to be restored to it for instance {instance}: give two new volumes"
    )]
    Taken {
        /// What it holds.
        found: String,
        /// Whose it is.
        owner: String,
        /// Its name.
        name: String,
        /// What was asked for.
        asked: String,
        /// For whom.
        instance: String,
    },
    /// The volume of the files is not a new one, or can't be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The instance has another key.
    #[error(
        "set {0} was written with another encryption key than the one in the instance's Secret: DHIS2 would read what is encrypted as empty; put the key of the set, which its manifest holds, into the Secret, or restore another set"
    )]
    Key(String),
    /// The set is of a newer DHIS2.
    #[error(
        "set {set} is of DHIS2 {used}, the instance has {asked}: DHIS2 can't go back; set spec.version to {used} or later, or restore an older set"
    )]
    Downgrade {
        /// The set.
        set: String,
        /// What has used it.
        used: String,
        /// What the instance has.
        asked: Version,
    },
    /// The set is of a newer PostgreSQL.
    #[error(
        "set {set} was dumped by PostgreSQL {found}, the instance has {asked}, which need not take it: restore it to an instance with spec.database.bundled.version {found}, or restore an older set"
    )]
    Newer {
        /// The set.
        set: String,
        /// Its PostgreSQL.
        found: u32,
        /// The instance's.
        asked: u32,
    },
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
            Self::Create(error) => error.reason(),
            Self::Mark(error) => error.reason(),
            Self::Finish(error) => error.reason(),
            Self::Store(error) => error.reason(),
            Self::Taken { .. } => Some(Refusal::VolumeForeign),
            Self::Key(_) => Some(Refusal::EncryptionKeyMismatch),
            Self::Downgrade { .. } => Some(Refusal::DowngradeRefused),
            Self::Newer { .. } => Some(Refusal::PostgresVersionMismatch),
            Self::Jobs(_) | Self::NoneBefore { .. } | Self::Volume(_) | Self::Secret(_) | Self::Private(_) => None,
        }
    }
}
