//! What the operator tells about an instance.

mod analytics;
mod backup;
mod operation;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

pub use analytics::*;
pub use backup::*;
pub use operation::*;

/// How the instance is. `conditions` first: `Ready` says whether it serves, `Reconciling` whether
/// work is under way, `Stalled` whether it needs a person.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Dhis2InstanceStatus {
    /// The generation of the spec that this status is about; -1 before the operator saw the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled`, `Paused`, `DatabaseReady`, `ApplicationReady`, `AdminPasswordSet`,
    /// `Exposed`, `BackupHealthy`, `ContentSane`, `RestoreVerified`, `CapacitySufficient`, `DataLoaded`, `BackupCopied`, `Recoverable`, `AnalyticsFresh`: each with a reason that docs/operate.md explains.
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
    /// The analytics tables, since a restore, a rollback, an upgrade to another line, or a start with other data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analytics: Option<Box<AnalyticsStatus>>,
    /// The volumes that the instance had before a restore, newest first. They go when a set that was made after the
    /// restore is proven.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<KeptStatus>,
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
