//! What a new instance begins with.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{backup::S3, restore::UnreadableFiles};

/// What a new instance begins with instead of an empty database: exactly one of the fields.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.fromBackup) ? 1 : 0) + (has(self.fromDump) ? 1 : 0) == 1")
    .message("exactly one of fromBackup and fromDump must be set"))]
pub struct Bootstrap {
    /// A backup set of another instance, of this or another cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_backup: Option<FromBackup>,
    /// A dump of another server's database, with its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_dump: Option<FromDump>,
}

/// A backup set of another instance, whose repository is only read. Without `set` and `before` it is the newest.
///
/// The instance must have the encryption key that the set was written with (`encryption.secretName`), a `version` that
/// is not below the set's, and a PostgreSQL that is not below it. What can't be restored is told in the condition
/// `DatabaseReady`, and nothing is started on a part of it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.set) || !has(self.before)").message("a set has a name or a time: remove set or before"),
    validation = Rule::new("has(self.instance) != has(self.repository)").message("exactly one of instance and repository must be set"),
    validation = Rule::new("has(self.passwordSecretName) == has(self.repository)")
        .message("name the Secret with the key of repository; that of an instance is known").field_path(".passwordSecretName"),
)]
pub struct FromBackup {
    /// Name of another Dhis2Instance of this namespace: its sets are taken from where it has them now, with its key. One that is not there is
    /// waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::object_name")]
    pub instance: Option<String>,
    /// Where the sets are, of an instance that is in another namespace or cluster, or gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<SourceRepository>,
    /// A Secret of this namespace with the key of `repository` under `password`: of an instance `old` it is
    /// `old-backup`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::object_name")]
    pub password_secret_name: Option<String>,
    /// Name of the set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::set_name")]
    pub set: Option<String>,
    /// The newest set of this moment or before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Time>,
    /// What becomes of a set of which some files could not be read when it was made. `Refuse`: nothing begins with it. `LeaveOut`: the instance
    /// begins with it, without those files. Default `Refuse`.
    #[serde(default)]
    pub unreadable_files: UnreadableFiles,
}

/// A repository of another instance: exactly one of the fields.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.volumeClaim) ? 1 : 0) + (has(self.s3) ? 1 : 0) == 1")
    .message("exactly one of volumeClaim and s3 must be set"))]
pub struct SourceRepository {
    /// A PersistentVolumeClaim of this namespace: of an instance `old` it is `old-backups`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::object_name")]
    pub volume_claim: Option<String>,
    /// A bucket. Its `prefix` is that of the instance that made the sets: `<namespace>/<name>` of that one, if it named
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3>,
}

/// A dump of a database of DHIS2, brought on a volume claim. The claim is only read.
///
/// It is loaded as the owner of the new database: who owned what on the old server and who might read it is left
/// out, and so is what images of PostGIS add that DHIS2 does not use. The dump must not be of a newer DHIS2 than
/// `version`. A dump that can't be loaded is told with its line in the condition `DatabaseReady` (reason
/// `ImportFailed`), and nothing is started on a part of one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FromDump {
    /// Name of the PersistentVolumeClaim, in the namespace of the instance. User 999 or group 65534 must be able to
    /// read what is on it.
    #[schemars(schema_with = "super::schema::object_name")]
    pub volume_claim: String,
    /// Path of the dump on the volume, such as `old/dhis2.sql.gz`: what `pg_dump` wrote, in its plain format, also
    /// compressed with gzip, or in its custom, directory or tar format.
    #[schemars(schema_with = "super::schema::path_in_volume")]
    pub path: String,
    /// Path of DHIS2's file store on the volume: the directory `files` of DHIS2's home. It is copied. Default: none;
    /// how many of the files that the database refers to are missing is told in the condition `DataLoaded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::path_in_volume")]
    pub files_path: Option<String>,
}
