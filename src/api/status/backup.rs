//! What is told of backups, copies, restore tests and capacity.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

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
    /// When the run was started that has seen it to be as told here, by the clock of the API server.
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
    /// The schedule in force of restore tests from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_schedule: Option<ScheduleStatus>,
    /// The set that a restore test has restored from it last, and found to be as its manifest says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_verified: Option<VerifiedStatus>,
    /// How such a test failed, if none succeeded after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_failure: Option<BackupFailure>,
}

/// How full the volumes are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CapacityStatus {
    /// When the backup was started that saw it, by the clock of the API server.
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
    /// When the restore test was started, by the clock of the API server; of one that only the repository tells of, when it was over.
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
    /// The moment of which its data is, by the clock of the node that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// When its backup was started, by the clock of the API server: what is older or newer, late or made good goes by that, since a node's
    /// clock may be wrong. None: a release made it that did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
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
