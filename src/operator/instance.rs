//! An instance as the rest of the operator sees it: parsed, defaults filled in, names checked. What
//! is wanted follows from it without further decisions.

mod sets;
mod work;

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::{
    api::{instance::SecretKey, pod::Pod, restore::Phase, web::Issuer},
    dhis2::{defects::Defect, version::Version},
};
pub use sets::{Backup, BackupCopy, Bucket, Endpoint, Origin, Place, Repository, Source};
pub use work::{Analytics, Errand, Preparing, Restoring, SetSource, Task};

/// A Dhis2Instance, ready to be built.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Name of the resource; children are `<name>` and `<name>-<part>`.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
    /// The reference that makes an object the instance's.
    pub owner: OwnerReference,
    /// DHIS2 version: that of the spec, or that of before an upgrade that was rolled back.
    pub version: Version,
    /// Images of all pods.
    pub images: Images,
    /// The address.
    pub web: Web,
    /// DHIS2's container.
    pub application: Application,
    /// PostgreSQL's container.
    pub database: Database,
    /// The volume claims by name.
    pub claims: Claims,
    /// What a new instance begins with, unless its database is empty.
    pub source: Option<Source>,
    /// The restore that is under way.
    pub restoring: Option<Restoring>,
    /// What comes before an upgrade.
    pub preparing: Option<Preparing>,
    /// The analytics tables that DHIS2 is to generate.
    pub analytics: Option<Analytics>,
    /// What is asked for beside the schedules, and under way.
    pub errand: Option<Errand>,
    /// The version that ran last.
    pub running: Option<Version>,
    /// How long DHIS2 may take until it serves on other data or by another version, in seconds.
    pub patience: i64,
    /// What `version` is known to do to data.
    pub defect: Option<&'static Defect>,
    /// Volume of DHIS2's files.
    pub files: Storage,
    /// Where backup sets are kept.
    pub repository: Repository,
    /// Where they are copied to.
    pub copies: Vec<BackupCopy>,
    /// Where a set is restored to see whether it can be.
    pub scratch: Storage,
    /// The encryption key.
    pub encryption: EncryptionKey,
    /// Placement, further labels and annotations.
    pub pod: Pod,
    /// Make NetworkPolicies?
    pub policies: bool,
    /// Who may connect to DHIS2: the ingress controller and those that the resource names.
    pub clients: Vec<NetworkPolicyPeer>,
    /// Backups.
    pub backup: Backup,
    /// Volumes and keys outlive the resource.
    pub retain: bool,
    /// Take over what a deleted instance left.
    pub adopt: bool,
    /// The resource as JSON, without status: part of each backup.
    pub resource: String,
    /// How far the instance is.
    pub stage: Stage,
}

/// Images of all pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Images {
    /// DHIS2, by tag or digest.
    pub dhis2: String,
    /// When it is pulled.
    pub dhis2_pull_policy: &'static str,
    /// PostgreSQL.
    pub postgres: String,
    /// Operator, agent and restic.
    pub agent: String,
    /// When it is pulled.
    pub agent_pull_policy: String,
    /// Secrets with registry credentials.
    pub pull_secrets: Vec<String>,
}

/// The address of an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Web {
    /// Host name.
    pub host: String,
    /// Path of the Ingress: `/` or `/hmis`.
    pub path: String,
    /// Context path: empty or `/hmis`.
    pub context: String,
    /// Do users see https?
    pub https: bool,
    /// Secret with the certificate, where the Ingress ends TLS.
    pub tls_secret: Option<String>,
    /// Who makes the certificate.
    pub issuer: Option<Issuer>,
    /// Ingress class.
    pub ingress_class: Option<String>,
    /// Annotations of the Ingress.
    pub annotations: BTreeMap<String, String>,
}

impl Web {
    /// The base URL, without trailing slash (DHIS2's `server.base.url`).
    pub fn url(&self) -> String {
        format!("{}://{}{}", if self.https { "https" } else { "http" }, self.host, self.context)
    }
}

/// DHIS2's container.
#[derive(Clone, Debug, PartialEq)]
pub struct Application {
    /// Memory, request and limit, in MiB.
    pub memory_mib: i64,
    /// Java heap (`-Xmx`), in MiB.
    pub heap_mib: i64,
    /// CPU request.
    pub cpu: String,
    /// CPU limit.
    pub cpu_limit: Option<String>,
    /// Connections to the database (`connection.pool.max_size`).
    pub pool: i64,
    /// Further Java options.
    pub java_options: Vec<String>,
    /// Further keys of dhis.conf.
    pub config: BTreeMap<String, String>,
    /// Further keys of dhis.conf whose values are in Secrets.
    pub secret_config: BTreeMap<String, SecretKey>,
}

/// PostgreSQL's container.
#[derive(Clone, Debug, PartialEq)]
pub struct Database {
    /// Major version.
    pub major: i32,
    /// Memory, request and limit, in MiB.
    pub memory_mib: i64,
    /// CPU request.
    pub cpu: String,
    /// CPU limit.
    pub cpu_limit: Option<String>,
    /// Volume.
    pub storage: Storage,
    /// What the volume has; less than its claim asks for while it grows, or can't.
    pub capacity: Option<String>,
    /// Settings that the user asks for.
    pub parameters: BTreeMap<String, String>,
}

/// The volume claims by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    /// Of the database.
    pub database: String,
    /// The database system that is on it (`pg_control_system()`), once that is known.
    pub system_identifier: Option<String>,
    /// Of DHIS2's files.
    pub files: String,
    /// Of the repository.
    pub backups: String,
    /// Those of them, and of a restore, that are recorded and not there: they are never made anew.
    pub lost: Vec<String>,
    /// What the instance was served from before, as it is.
    pub kept: Vec<Kept>,
}

/// A claim that the instance was served from before a restore.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// Is it of the database, not of the files?
    pub database: bool,
    /// What it asks for: it does not grow any more.
    pub storage: Storage,
}

/// A volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Storage {
    /// Canonical quantity, never below what the claim already asks for.
    pub size: String,
    /// Storage class.
    pub class: Option<String>,
}

/// The encryption key.
#[derive(Clone, Debug, PartialEq)]
pub enum EncryptionKey {
    /// In a Secret under `password`; `generated` when it is the operator's own.
    Secret {
        /// Name of the Secret.
        name: String,
        /// Made by the operator?
        generated: bool,
    },
    /// DHIS2's built-in key.
    Default,
}

/// How far an instance is: which objects are due. Follows from what status recorded and what exists,
/// so that it is the same after any crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
pub struct Stage {
    /// Secrets and claims are recorded: the volume may be built.
    pub prepared: bool,
    /// The database volume is built: PostgreSQL may start on it.
    pub built: bool,
    /// PostgreSQL answered, or DHIS2 was started before: DHIS2 may run.
    pub application: bool,
    /// The default password is refused: the door may open, backups may begin.
    pub secured: bool,
    /// Another instance has the address: the door stays as it is.
    pub taken: bool,
    /// The first backup is due.
    pub first_backup: bool,
    /// Another version than the one that ran last is asked for: DHIS2 may be migrating its database.
    pub upgrading: bool,
    /// It is not started yet: the state before it is not in a set, or it could not start on this database.
    pub held: bool,
    /// It is below the one that ran last.
    pub downgrade: bool,
    /// It is prepared, or tries to start, and has not failed: a dump would hold tables that it is about to change.
    pub migrating: bool,
}

impl Instance {
    /// Is a restore in this phase?
    pub fn is(&self, phase: Phase) -> bool {
        self.restoring.as_ref().is_some_and(|restoring| restoring.phase == phase)
    }

    /// Name of a child.
    pub fn child(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }
}
