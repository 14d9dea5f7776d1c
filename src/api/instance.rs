//! `Dhis2Instance`: one DHIS2 server with its database, files, backups and door to the world.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    analytics::Analytics,
    backup::Backup,
    bootstrap::Bootstrap,
    database::{Database, Files},
    pod::{Image, Java, Network, Pod, Resources},
    status::Dhis2InstanceStatus,
    upgrade::Upgrade,
    web::Web,
};

/// One DHIS2 instance: a DHIS2 server with its own PostgreSQL database, its files, its daily backup
/// and an Ingress that opens only when the default password is gone. Only `version` and `web.host`
/// have no default. The operator makes and keeps everything else, and tells in `status` how it is.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "dhis2.hosting",
    version = "v1alpha1",
    kind = "Dhis2Instance",
    plural = "dhis2instances",
    shortname = "dhis2",
    shortname = "d2",
    category = "dhis2-all",
    namespaced,
    status = "Dhis2InstanceStatus",
    derive = "PartialEq",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version.running"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(name = "Backup", type_ = "date", json_path = ".status.backup.last.time"),
    printcolumn(name = "Verified", type_ = "date", json_path = ".status.backup.lastVerified.time"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    validation = Rule::new("size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be at most 40 characters, begin with a letter and hold only lower-case letters, digits and '-', since Services are named after it"),
    validation = Rule::new("!has(self.spec.bootstrap) || !has(self.spec.bootstrap.fromBackup) || !has(self.spec.bootstrap.fromBackup.instance) || self.spec.bootstrap.fromBackup.instance != self.metadata.name")
        .message("an instance can't begin with a set of its own: name another one").field_path(".spec.bootstrap.fromBackup.instance"),
    validation = Rule::new("!has(self.spec.backup) || !has(self.spec.backup.copies) || self.spec.backup.copies.all(c, size(c.name) + size(self.metadata.name) <= 46)")
        .message("spec.backup.copies: a copy's name and that of the instance must be at most 46 characters together, since a CronJob is named after both: write a shorter name"),
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.secretConfig) || !has(self.config) || self.secretConfig.all(k, !(k in self.config))")
        .message("a key may be in config or in secretConfig, not in both").field_path(".secretConfig"),
    // Below it a start ends out of memory (dhis2-core at 2.42.4.1 with -Xmx512m takes 0.94 GB).
    validation = Rule::new("!has(self.resources) || !has(self.resources.memory) || quantity(self.resources.memory).compareTo(quantity('1Gi')) >= 0")
        .message("DHIS2 needs at least 1Gi").field_path(".resources.memory"),
    // With a backup it takes over the Secrets alone.
    validation = Rule::new("!has(self.bootstrap) || !has(self.bootstrap.fromDump) || !has(self.adopt) || !self.adopt")
        .message("adopt takes over the volumes that are there, fromDump fills new ones: leave one of them out").field_path(".bootstrap.fromDump"),
    // The copy is cut off by them.
    validation = Rule::new("!has(self.upgrade) || !has(self.upgrade.rehearse) || !self.upgrade.rehearse || !has(self.network) || !has(self.network.policies) || self.network.policies")
        .message("a copy with people's addresses in it is to reach nobody: set network.policies: true, or rehearse: false").field_path(".upgrade.rehearse"),
    validation = Rule::new("!has(self.backup) || !has(self.backup.verify) || !has(self.backup.verify.level) || self.backup.verify.level != 'Application' || !has(self.network) || !has(self.network.policies) || self.network.policies")
        .message("a copy with people's addresses in it is to reach nobody: set network.policies: true, or level: Data").field_path(".backup.verify.level")
)]
pub struct Dhis2InstanceSpec {
    /// DHIS2 version: `2.42.1`, or `2.42.1.1` with a hotfix. It is the tag of the image
    /// (`2.42.1` is tag `2.42.1.0`) and is compared with the version inside the image before DHIS2
    /// starts. A version below the last one that the database was started with is refused, except that a
    /// hotfix can be taken back.
    #[schemars(schema_with = "super::schema::version")]
    pub version: String,

    /// Preset for memory, CPU and volumes; every value can be set by itself. DHIS2 memory (limit and
    /// request), CPU request, connection pool; PostgreSQL memory, CPU request; database and file volume:
    /// `small` 3Gi, 100m, 40; 1Gi, 100m; 20Gi, 10Gi.
    /// `medium` 12Gi, 2, 80; 8Gi, 1; 100Gi, 50Gi.
    /// `large` 32Gi, 6, 80; 32Gi, 4; 500Gi, 200Gi.
    /// A smaller size later never shrinks a volume.
    #[serde(default)]
    pub size: Size,

    /// The DHIS2 image. The tag is `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,

    /// Where users reach the instance.
    pub web: Web,

    /// The database. Default: a PostgreSQL 17 with PostGIS of its own.
    #[serde(default)]
    pub database: Database,

    /// Where DHIS2 keeps uploaded files, documents and apps. Default: a volume sized by `size`.
    #[serde(default)]
    pub files: Files,

    /// The key that DHIS2 encrypts attributes and stored credentials with (`encryption.password`).
    /// It can't be changed: what was encrypted with it would be lost. Default: generated once, kept in
    /// Secret `<name>-encryption`.
    #[serde(default)]
    pub encryption: Encryption,

    /// Further keys of `dhis.conf`, such as `max.sessions.per_user: "5"`. Keys that the operator sets
    /// itself are refused: connection.*, filestore.*, redis.*, encryption.*, flyway.*, server.base.url,
    /// server.https, node.id. A change restarts DHIS2.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::config")]
    pub config: BTreeMap<String, String>,

    /// Like `config`, with the value in a key of a Secret of this namespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::secret_config")]
    pub secret_config: BTreeMap<String, SecretKey>,

    /// The Java virtual machine of DHIS2.
    #[serde(default)]
    pub java: Java,

    /// CPU and memory of the DHIS2 container, instead of the preset of `size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// Where the pods of the instance run, and what else they carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,

    /// Who may connect to the instance inside the cluster.
    #[serde(default)]
    pub network: Network,

    /// Backups. On by default: daily, to a volume of the instance.
    #[serde(default)]
    pub backup: Box<Backup>,

    /// How another version of DHIS2 is started on the database, from which there is no way back but a set.
    #[serde(default)]
    pub upgrade: Upgrade,

    /// The analytics tables, which no backup set holds.
    #[serde(default)]
    pub analytics: Analytics,

    /// What the instance begins with. Default: an empty database. Read while the database is made, without
    /// effect afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Box<Bootstrap>>,

    /// What happens to volumes, encryption key, backup password and the administrator's first password when
    /// this resource is deleted. It can be changed at any time before that.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// Take over the volumes and Secrets that a deleted instance of the same name left behind
    /// (`deletionPolicy: Retain`), and go on with its repository in S3. Default false: finding such volumes, the operator stops and
    /// says so; such a repository is not written to.
    #[serde(default)]
    pub adopt: bool,
}

/// Preset of memory, CPU and volumes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Size {
    /// Up to a district or a programme.
    #[default]
    Small,
    /// A national instance of moderate use.
    Medium,
    /// A national instance of heavy use.
    Large,
}

/// What stays when the resource is deleted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// Volumes, encryption key, backup password and the administrator's first password stay; `adopt: true`
    /// takes them back.
    #[default]
    Retain,
    /// Everything is deleted, backups on the instance's volume included.
    Delete,
}

/// Where the encryption key comes from: exactly one of the fields. It can't be changed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.generated) ? 1 : 0) + (has(self.secretName) ? 1 : 0) + (has(self.defaultKey) ? 1 : 0) == 1")
        .message("exactly one of generated, secretName and defaultKey must be set"),
    validation = Rule::new("self == oldSelf").message("the encryption key can't be changed: what was encrypted with it would be lost")
)]
pub struct Encryption {
    /// Generated once and kept in Secret `<name>-encryption`, key `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<Generated>,
    /// A Secret of this namespace that holds the key under `password`, at least 24 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::object_name")]
    pub secret_name: Option<String>,
    /// DHIS2's built-in key, known to everybody: only for a database that was made with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::only_true")]
    pub default_key: Option<bool>,
}

impl Default for Encryption {
    fn default() -> Self {
        Self { generated: Some(Generated {}), secret_name: None, default_key: None }
    }
}

/// No further choice.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generated {}

/// A key of a Secret of this namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(schema_with = "super::schema::object_name")]
    pub secret_name: String,
    /// Key in the Secret.
    #[schemars(schema_with = "super::schema::secret_key")]
    pub key: String,
}
