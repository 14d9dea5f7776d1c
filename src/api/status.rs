//! What the operator tells about an instance.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How the instance is. `conditions` first: `Ready` says whether it serves, `Reconciling` whether
/// work is under way, `Stalled` whether it needs a person.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Dhis2InstanceStatus {
    /// The generation of the spec that this status is about; -1 before the operator saw the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled`, `Paused`, `DatabaseReady`, `ApplicationReady`, `AdminPasswordSet`,
    /// `Exposed`, `BackupHealthy`, `ContentSane`, `RestoreVerified`, `CapacitySufficient`, `DataLoaded`, `BackupCopied`, `Recoverable`: each with a reason that docs/operate.md explains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Where users reach the instance, once it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// DHIS2 versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionStatus>,
    /// The volume claims that hold the instance's data. A claim that is missing or has another uid is
    /// a lost volume, and nothing is started on an empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<Claims>,
    /// The Secrets that were generated, once. One that is missing later is not made again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Made>,
    /// The database volume, once it is built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseStatus>,
    /// What the instance began with, where it was not an empty database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Box<BootstrapStatus>>,
    /// The administrator's account, once the default password is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<AdminStatus>,
    /// Backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupStatus>,
    /// How full the volumes are, and when they will be, as the newest backup saw them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<CapacityStatus>,
    /// The restore, the upgrade or the rollback that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Box<OperationStatus>>,
    /// The volumes that the instance had before a restore, newest first. They go when a set that was made after the
    /// restore is proven.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<KeptStatus>,
}

/// A restore, an upgrade or a rollback that is under way: enough to go on with it after any interruption.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OperationStatus {
    /// `Restore`, `Upgrade`, or `Rollback` of an upgrade that failed.
    pub kind: String,
    /// Name of the Dhis2Restore that asked for it, or the version that is upgraded to.
    pub name: String,
    /// Uid of the Dhis2Restore, or what stands for it in a rollback.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// How far it is, as the Dhis2Restore tells it; an upgrade has `Checking`, `Rehearsing`, `BackingUp`, `Starting` and `Failed` (before DHIS2 is
    /// stopped; it is tried again).
    pub phase: String,
    /// When this phase began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// When the operation began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    /// The set that is asked for; none for the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// The moment at or before which the set has to be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Time>,
    /// It goes back to volumes that were kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revert: bool,
    /// The number that the new claims of a restore have in their names, or the generation of the spec that asked for an upgrade.
    #[serde(default)]
    pub number: i64,
    /// The new version of an upgrade was let onto the database: it may have changed it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub migrating: bool,
    /// Since when the new version of an upgrade takes longer than `upgrade.timeout` to serve; it counts as failed when it still does five
    /// minutes later, since after a power cut what is known of pods is of before it for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overdue: Option<Time>,
    /// How long the new version of an upgrade took on a copy from its start until it served, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast_seconds: Option<i64>,
    /// The claims that the instance is to be served from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<Claims>,
    /// PostgreSQL's own identifier of the database on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
    /// The set on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// The moment of which its data is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_time: Option<Time>,
    /// Its bytes, database and files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// The set that was made of the state before, or why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety_backup: Option<String>,
    /// The version that a rollback goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<String>,
    /// Why the upgrade failed that is rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Volumes that were replaced.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KeptStatus {
    /// Name of the Dhis2Restore that replaced them, or the version whose upgrade was rolled back.
    pub restore: String,
    /// Uid of the Dhis2Restore, or what stands for it in a rollback.
    #[serde(rename = "restoreUID")]
    pub restore_uid: String,
    /// Since when the instance is no longer served from them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The claim of the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Made>,
    /// The claim of DHIS2's files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Made>,
    /// PostgreSQL's own identifier of the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
}

/// DHIS2 versions.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VersionStatus {
    /// What the spec asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<String>,
    /// What the running server says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
    /// The image that runs, by digest.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "imageID")]
    pub image_id: Option<String>,
    /// The upgrade that was rolled back, as long as the spec asks for its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<Box<RolledBack>>,
}

/// An upgrade that failed and was rolled back.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RolledBack {
    /// The version that did not start. It is not tried again until the spec has named another one.
    pub version: String,
    /// The version that serves in its place.
    pub to: String,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// The set that it serves; none where the new version had not been let onto the database yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// Why it was rolled back.
    pub message: String,
}

/// The volume claims.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Claims {
    /// Of the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Made>,
    /// Of DHIS2's files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Made>,
    /// Of the backup repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backups: Option<Made>,
}

/// An object that was made once.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    /// Its name.
    pub name: String,
    /// Its uid: another object of the same name is not it.
    pub uid: String,
}

/// The database volume.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseStatus {
    /// When it was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built: Option<Time>,
    /// PostgreSQL's own identifier of the cluster on the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
}

/// The dump or the set that the instance began with.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BootstrapStatus {
    /// The dump's path on the claim that it was brought on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dump: Option<String>,
    /// The newest of DHIS2's migrations in a dump.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// The moment of which the set is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_time: Option<Time>,
    /// When it was loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Time>,
    /// How long it took, in seconds.
    pub seconds: i64,
    /// Size of the database in bytes.
    pub database_bytes: i64,
    /// Files that were copied.
    pub files: i64,
    /// Their size in bytes.
    pub file_bytes: i64,
    /// Files that the database of a dump refers to.
    #[serde(default)]
    pub references: i64,
    /// Those of them that were not brought.
    #[serde(default)]
    pub missing_files: i64,
}

/// The administrator's account.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AdminStatus {
    /// When the default password was seen to be refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secured: Option<Time>,
    /// `Generated`: the password in Secret `<name>-admin` is in force. `Foreign`: people had set
    /// another one already; it is theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// Backups, as the manifests in the repository tell.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BackupStatus {
    /// The newest set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<SetStatus>,
    /// Sets in the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sets: Option<i64>,
    /// By which its key is known: the first sixteen digits of the SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The schedule in force; none while backups are suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleStatus>,
    /// When the last attempt failed, if it did after the newest set, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<BackupFailure>,
    /// The newest sets, newest first, at most five.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<SetStatus>,
    /// What the newest set has much less of than the one before it; old sets are kept meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shrunk: Option<ShrunkStatus>,
    /// The set that was restored last and found to be whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_verified: Option<VerifiedStatus>,
    /// When the last restore test failed, if it did after the last one that did not, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_failure: Option<BackupFailure>,
    /// The schedule of restore tests in force; none while they are suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_schedule: Option<ScheduleStatus>,
    /// Where the repository is, as restic names it. None: on the volume of backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The repositories that sets are copied to, as the spec names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<CopyStatus>,
}

/// A repository that sets are copied to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CopyStatus {
    /// Its name.
    pub name: String,
    /// Where it is, as restic names it. All that follows is of this place.
    pub repository: String,
    /// The newest set in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// The moment of which that set is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_time: Option<Time>,
    /// When it was last seen to be as told here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// Sets that were made since its newest one, at most the five that `history` has: what the copy lags behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<i64>,
    /// Sets in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sets: Option<i64>,
    /// Older sets of the repository that are not in it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<i64>,
    /// What it takes, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// How long the last run took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<i64>,
    /// By which its key is known: the first sixteen digits of the SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The schedule in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleStatus>,
    /// When the last attempt failed, if it did after the last one that did not, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<BackupFailure>,
}

/// How full the volumes are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CapacityStatus {
    /// The moment of the backup that saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// Of the database. In use is what the database takes and its write-ahead log may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<VolumeCapacity>,
    /// Of DHIS2's files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<VolumeCapacity>,
    /// Of the backup repository. Of one in S3 only what is in use is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<VolumeCapacity>,
}

/// How full a volume is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct VolumeCapacity {
    /// What the claim has, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// Bytes in use.
    pub used: i64,
    /// Bytes that can still be written; more when the claim has grown since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<i64>,
    /// Bytes by which it grows a day: over the last week, or over the three days at least that a young
    /// instance has backups of. Negative where it shrinks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_day: Option<i64>,
    /// Days until it is full, if it goes on like this; none where it does not grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days_to_full: Option<i64>,
}

/// A set that holds much less than the one before it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ShrunkStatus {
    /// Its id.
    pub set: String,
    /// Of what it has less, and than which set.
    pub message: String,
}

/// A set that was restored on scratch space and found to be as its manifest says: rows, content of tables, and files.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VerifiedStatus {
    /// Its id.
    pub set: String,
    /// When it was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// The moment of which the restored data is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_time: Option<Time>,
    /// How long it took to restore and compare it, in seconds: about as long as a restore of the instance takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<i64>,
    /// Bytes that were restored, database and files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// How long DHIS2 took after that until it served, in seconds. None: it was not started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_seconds: Option<i64>,
}

/// One set: database, files and manifest, taken together.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SetStatus {
    /// Its id, the tag `set=<id>` in the repository.
    pub set: String,
    /// The moment of which its data is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// Bytes that it added to the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_bytes: Option<i64>,
    /// How long it took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<i64>,
}

/// When backups are made.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleStatus {
    /// Five cron fields: those of the spec, or those that follow from the instance's name.
    pub cron: String,
    /// Their time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Since when it is in force: backups count as overdue from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// A backup that failed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BackupFailure {
    /// The pod that failed.
    pub pod: String,
    /// When it was started; a newer set makes the failure good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// Why, as in the condition `BackupHealthy` or `RestoreVerified`.
    pub reason: String,
    /// In words.
    pub message: String,
}

/// What an operation is. A word of the status is parsed into it, so that one of a later release does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
pub enum Operation {
    /// Asked for by a Dhis2Restore.
    Restore,
    /// Asked for by another version in the spec.
    Upgrade,
    /// Of an upgrade that failed.
    Rollback,
}

impl OperationStatus {
    /// What it is; none when a later release began it.
    pub fn operation(&self) -> Option<Operation> {
        self.kind.parse().ok()
    }

    /// Does it restore a set?
    pub fn restores(&self) -> bool {
        matches!(self.operation(), Some(Operation::Restore | Operation::Rollback))
    }
}
