//! What a new instance begins with.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What a new instance begins with instead of an empty database.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Bootstrap {
    /// A dump of another server's database, with its files.
    pub from_dump: FromDump,
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
    /// how many of the files that the database refers to are missing is told in the condition `Bootstrapped`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::path_in_volume")]
    pub files_path: Option<String>,
}
