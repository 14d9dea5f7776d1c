//! Why a condition has its status: a closed list, each with a row in `docs/operate.md` and a page in `docs/runbooks`.

use serde::{Deserialize, Serialize};

/// Reason of a condition. The word that automation and alerts may rely on; messages may change.
#[derive(
    Serialize,
    Deserialize,
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::EnumIter,
)]
pub enum Reason {
    /// It is as it should be.
    Serving,
    /// The step is done.
    Done,
    /// Nothing is under way.
    Settled,
    /// Nothing stands in the way.
    Unobstructed,
    /// The operator is making the objects of the instance.
    Creating,
    /// The database volume is being initialised.
    BuildingDatabase,
    /// PostgreSQL is starting or recovering.
    StartingDatabase,
    /// DHIS2 is starting; a first start or a migration takes minutes to hours.
    StartingApplication,
    /// DHIS2 runs and its default password is being replaced; the door is still closed.
    SecuringAdmin,
    /// Pods are restarted since something changed that they read only at start.
    Restarting,
    /// A restore is under way.
    Restoring,
    /// A restore waits for something else.
    RestoreWaiting,
    /// A backup or a restore test that was asked for waits for something else.
    RequestWaiting,
    /// A restore was taken back before it had changed anything.
    RestoreCanceled,
    /// Another version of DHIS2 is asked for: the state before it is backed up, then it is started.
    Upgrading,
    /// What comes before an upgrade failed: the old version serves on.
    UpgradeBlocked,
    /// The new version of an upgrade does not serve on a copy of the database.
    RehearsalFailed,
    /// DHIS2 does not serve on what was restored of a set.
    ApplicationTestFailed,
    /// The new version of an upgrade does not start.
    UpgradeFailed,
    /// An upgrade failed and was rolled back: the old version serves.
    UpgradeRolledBack,
    /// An upgrade that failed is being rolled back.
    RollingBack,
    /// An upgrade that failed can't be rolled back.
    RollbackFailed,
    /// DHIS2 is asked to generate its analytics tables, which were lost.
    GeneratingAnalytics,
    /// Analytics tables were lost, and DHIS2 has not generated them.
    AnalyticsFailed,
    /// A volume is growing.
    GrowingVolume,
    /// No backup was made yet.
    NoBackupYet,
    /// A backup is running.
    BackupRunning,
    /// The last backup failed.
    BackupFailed,
    /// Scheduled backups are switched off.
    BackupSuspended,
    /// The last good backup is older than it should be.
    BackupOverdue,
    /// The newest set holds much less than the one before it.
    ContentShrunk,
    /// No restore test was made yet.
    NotVerifiedYet,
    /// Scheduled restore tests are switched off.
    VerifySuspended,
    /// The last restore test is longer ago than it should be.
    VerifyOverdue,
    /// A restore test failed, and not since the set is bad.
    RestoreTestFailed,
    /// A restore test that was asked for is running.
    RestoreTestRunning,
    /// The repository does not give back what was written to it.
    RepositoryDamaged,
    /// The repository has no set of the name that is asked for.
    SetUnknown,
    /// A set that is to be removed is needed: it is the newest one, the newest proven one, or no set may be removed.
    SetNeeded,
    /// A set is being removed.
    RemovingSet,
    /// A set could not be removed.
    RemovalFailed,
    /// A set lacks one of its parts.
    SetIncomplete,
    /// A set was made by a newer release of the operator.
    SetNewer,
    /// PostgreSQL does not take the dump of a set.
    RestoreFailed,
    /// What was restored is not what was backed up.
    ContentsDiffer,
    /// The scratch space of the restore test is too small.
    ScratchTooSmall,
    /// A new volume is too small for the set that is restored to it.
    VolumeTooSmall,
    /// The dump that a new instance is to begin with can't be loaded.
    ImportFailed,
    /// Files that the database refers to were not brought with the dump.
    FilesMissing,
    /// No set was copied to a second repository yet.
    NotCopiedYet,
    /// Sets could not be copied to a second repository.
    CopyFailed,
    /// The last copy of sets is longer ago than it should be.
    CopyOverdue,
    /// The only repository is in the cluster.
    RepositoryInCluster,
    /// Nobody has said that the key of the repository was taken out of the cluster.
    KeyNotExported,
    /// A loss of the cluster would cost more than the objectives allow.
    ObjectiveMissed,
    /// The annotation `dhis2.hosting/paused` keeps the operator away.
    Paused,
    /// Not paused.
    Active,
    /// A pod's image can't be pulled.
    ImageUnavailable,
    /// The image holds another DHIS2 version than `spec.version` says.
    ImageVersionMismatch,
    /// No node can take a pod.
    Unschedulable,
    /// A container was killed for using more memory than its limit.
    OutOfMemory,
    /// A container was killed by its node, which ran out of memory or would not wait for its end any longer.
    Killed,
    /// A container ends again and again.
    CrashLoop,
    /// A node can't make or start a container.
    ContainerRefused,
    /// DHIS2 gave up starting; its log says why.
    StartFailed,
    /// The database can't be reached.
    DatabaseUnreachable,
    /// The database takes no writes.
    DatabaseReadOnly,
    /// The database has no connection left.
    ConnectionsExhausted,
    /// A server that was ready does not answer as it should any more.
    NotAnswering,
    /// The node of a server is not heard of any more.
    NodeLost,
    /// The database does not accept the password in the Secret.
    DatabasePasswordRefused,
    /// PostGIS or another extension is missing in the database.
    ExtensionMissing,
    /// The file volume can't be written to: uploads would be lost.
    FilesNotWritable,
    /// The encryption key is not the one that the database was made with.
    EncryptionKeyMismatch,
    /// The asked version is below the last one that the database was started with.
    DowngradeRefused,
    /// A volume that the instance had is gone or was replaced.
    VolumeLost,
    /// A volume holds a data directory without the operator's mark.
    VolumeUnmarked,
    /// A volume or database belongs to another instance.
    VolumeForeign,
    /// The volume's mark says that it is finished, but its data directory is missing or incomplete.
    VolumeDamaged,
    /// The image has no PostgreSQL of the volume's major version.
    PostgresVersionMismatch,
    /// The dump of the database broke off.
    DumpFailed,
    /// A Secret that was made once is gone.
    SecretLost,
    /// A Secret that the resource names does not exist, lacks the key, or holds no text under it.
    SecretMissing,
    /// Volumes or Secrets of a deleted instance of this name exist, and `adopt` is not set.
    RetainedDataFound,
    /// An object under a name that the instance needs belongs to somebody else.
    NameConflict,
    /// The host and path that the resource asks for are another instance's.
    HostConflict,
    /// Somebody else keeps changing what the operator writes.
    FieldContested,
    /// The schedule of the backups can't be read.
    InvalidSchedule,
    /// A value in the resource can't be used.
    InvalidSpec,
    /// The API server or an admission policy refused an object.
    ObjectRejected,
    /// The operator lacks a permission.
    Forbidden,
    /// The repository is held by another restic.
    RepositoryLocked,
    /// The repository can't be opened with the password in the Secret.
    RepositoryKeyMismatch,
    /// The place of the repository is full: its volume, or what its bucket may hold.
    RepositoryFull,
    /// The server of the repository can't be reached, or is not the one that it should be.
    RepositoryUnreachable,
    /// The server of the repository does not let the instance do what it has to.
    RepositoryAccessDenied,
    /// The repository is another instance's, of this cluster or another one.
    RepositoryForeign,
    /// A volume is full.
    DiskFull,
    /// A volume will be full within thirty days.
    CapacityShort,
    /// A step failed; the message says how. It is tried again.
    Failed,
    /// The admin password was changed by people: it is theirs.
    AdminPasswordForeign,
}

impl Reason {
    /// The word in the condition.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Is it a step on the way, which passes by itself?
    pub fn is_progress(self) -> bool {
        matches!(
            self,
            Self::Creating
                | Self::BuildingDatabase
                | Self::StartingDatabase
                | Self::StartingApplication
                | Self::SecuringAdmin
                | Self::Restarting
                | Self::GrowingVolume
                | Self::GeneratingAnalytics
                | Self::Restoring
                | Self::RestoreWaiting
                | Self::RequestWaiting
                | Self::RestoreCanceled
                | Self::Upgrading
                | Self::NoBackupYet
                | Self::BackupRunning
                | Self::RestoreTestRunning
                | Self::RemovingSet
                | Self::BackupSuspended
                | Self::NotVerifiedYet
                | Self::NotCopiedYet
                | Self::VerifySuspended
                | Self::Unobstructed
        )
    }

    /// Is something wrong, so that people are to be told where to read on?
    pub fn is_trouble(self) -> bool {
        let fine = matches!(
            self,
            Self::Serving | Self::Done | Self::Settled | Self::Unobstructed | Self::Active | Self::Paused | Self::AdminPasswordForeign
        );
        !fine && !self.is_progress()
    }

    /// Does it stay until a person does something?
    pub fn needs_a_person(self) -> bool {
        matches!(
            self,
            Self::ImageUnavailable
                | Self::ImageVersionMismatch
                | Self::ContainerRefused
                | Self::StartFailed
                | Self::DatabasePasswordRefused
                | Self::DatabaseReadOnly
                | Self::ExtensionMissing
                | Self::FilesNotWritable
                | Self::EncryptionKeyMismatch
                | Self::DowngradeRefused
                | Self::VolumeUnmarked
                | Self::VolumeForeign
                | Self::VolumeDamaged
                | Self::PostgresVersionMismatch
                | Self::SecretMissing
                | Self::ImportFailed
                | Self::HostConflict
                | Self::DiskFull
        )
    }
}
