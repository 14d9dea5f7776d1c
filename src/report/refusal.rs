//! Why a verb did not do what it should.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

/// Causes that the operator and the runbooks know by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, EnumIter, IntoStaticStr)]
pub enum Refusal {
    /// The volume holds a data directory that no build has finished, or nothing at all: nothing is initialised over it, nothing is served from it.
    VolumeUnmarked,
    /// The volume or the database belongs to another instance.
    VolumeForeign,
    /// The volume's mark says that it is finished, but its data directory is missing or incomplete.
    VolumeDamaged,
    /// The image has no PostgreSQL of the volume's major version.
    PostgresVersionMismatch,
    /// The encryption key is not the one that the database was made with.
    EncryptionKeyMismatch,
    /// The image holds another DHIS2 than the resource says.
    ImageVersionMismatch,
    /// The database has been used by a newer DHIS2.
    DowngradeRefused,
    /// The database could not be reached in time.
    DatabaseUnreachable,
    /// The database takes no writes.
    DatabaseReadOnly,
    /// The database has no connection left.
    ConnectionsExhausted,
    /// The database refuses the password of the Secret.
    DatabasePasswordRefused,
    /// The database lacks an extension that DHIS2 needs.
    ExtensionMissing,
    /// A Secret that the resource names holds no text under its key.
    SecretMissing,
    /// DHIS2's file store can't be written: DHIS2 would accept uploads and lose them.
    FilesNotWritable,
    /// DHIS2 has failed to start: it answered 404, which it does for ever, and was ended.
    StartFailed,
    /// Somebody else holds the repository.
    RepositoryLocked,
    /// The repository can't be opened with the key of the Secret.
    RepositoryKeyMismatch,
    /// The place of the repository is full: its volume, or what its bucket may hold.
    RepositoryFull,
    /// The server of the repository can't be reached, or is not the one that it should be.
    RepositoryUnreachable,
    /// The server of the repository does not let the instance do what it has to.
    RepositoryAccessDenied,
    /// The repository is another instance's, of this cluster or another one.
    RepositoryForeign,
    /// A process of the server was killed from outside.
    Killed,
    /// The database's volume is full.
    DiskFull,
    /// The dump of the database broke off.
    DumpFailed,
    /// The repository does not give back what was written to it.
    RepositoryDamaged,
    /// The repository has no set of the name that is asked for.
    SetUnknown,
    /// A set that is to be removed is the newest one, or the newest proven one.
    SetNeeded,
    /// A set lacks one of its parts.
    SetIncomplete,
    /// A set was made by a newer release.
    SetNewer,
    /// PostgreSQL does not take the dump.
    RestoreFailed,
    /// What was restored is not what the manifest says.
    ContentsDiffer,
    /// The scratch space is too small for what is restored.
    ScratchTooSmall,
    /// A new volume is too small for what is restored to it.
    VolumeTooSmall,
    /// The dump that a new instance is to begin with can't be loaded.
    ImportFailed,
    /// The new version of an upgrade does not serve on a copy of the database.
    RehearsalFailed,
    /// DHIS2 does not serve on what was restored of a set.
    ApplicationTestFailed,
}

impl Refusal {
    /// Whether running the verb again may help, with nothing else changed.
    pub fn heals(self) -> bool {
        matches!(
            self,
            Self::DatabaseUnreachable
                | Self::ConnectionsExhausted
                | Self::StartFailed
                | Self::RepositoryLocked
                | Self::RepositoryUnreachable
                | Self::DumpFailed
                | Self::Killed
        )
    }
}
