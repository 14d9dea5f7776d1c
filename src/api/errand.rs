//! `Dhis2Backup` and `Dhis2RestoreTest`: one backup, and one restore test, asked for by a person. Both are one Job, and told alike.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::backup::VerifyLevel;

/// A backup set of an instance. One that a person makes asks for a set, now and whatever the schedule says; it is as good as a
/// scheduled one, kept and removed by the same rules, and stays when this object is deleted, unless `deletionPolicy` says
/// otherwise. To delete the object while the backup is being made ends it; then there is no set.
/// It is carried out once, and not tried again after it failed: make another object. One that a tool makes anew after it
/// was deleted is another request.
/// For all other sets of the repository the operator makes objects, with `set`, after each backup: they are there to be listed
/// and chosen from, go with their sets, and come back with the next backup at the latest when they are deleted.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[allow(clippy::duplicated_attributes, reason = "columns have types")]
#[kube(
    group = "dhis2.hosting",
    version = "v1alpha1",
    kind = "Dhis2Backup",
    plural = "dhis2backups",
    shortname = "d2b",
    category = "dhis2-all",
    namespaced,
    status = "Dhis2BackupStatus",
    derive = "PartialEq",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn(name = "Instance", type_ = "string", json_path = ".spec.instance"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Set", type_ = "string", json_path = ".status.set"),
    printcolumn(name = "Taken", type_ = "date", json_path = ".status.setTime"),
    printcolumn(name = "Proven", type_ = "date", json_path = ".status.proven"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    validation = Rule::new("size(self.metadata.name) <= 63").message("metadata.name must be at most 63 characters"),
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.instance == oldSelf.instance")
        .message("a backup is of one instance: make another Dhis2Backup").field_path(".instance"),
    validation = Rule::new("has(self.set) == has(oldSelf.set) && (!has(self.set) || self.set == oldSelf.set)")
        .message("a backup is one set: make another Dhis2Backup").field_path(".set"),
)]
pub struct Dhis2BackupSpec {
    /// Name of the Dhis2Instance, in the same namespace.
    #[schemars(schema_with = "super::schema::instance_name")]
    pub instance: String,
    /// Name of a set that is there: the object stands for it, and asks for none. It is told of at the next backup. Default: a set is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::set_name")]
    pub set: Option<String>,
    /// What becomes of the set when this object is deleted. With `Delete` the object stays, being deleted, until its set is removed;
    /// where that can't be, or is not wanted any more, set it to `Retain`. The newest set and the newest proven one stay in any case, and
    /// copies keep it by their own rules. With its instance or its namespace only the object goes. Default `Retain`.
    #[serde(default)]
    pub deletion_policy: SetDeletionPolicy,
}

/// What becomes of a set when its object is deleted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetDeletionPolicy {
    /// It stays, and goes by `retention` like all others.
    #[default]
    Retain,
    /// It is removed from the repository, for good.
    Delete,
}

/// How far a backup is, and what it made.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Dhis2BackupStatus {
    /// How far it is.
    #[serde(flatten)]
    pub progress: Progress,
    /// The set that was made, as `status.backup.history` of the instance and a Dhis2Restore name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// The moment of which its data is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_time: Option<Time>,
    /// How long it took to make it, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<i64>,
    /// Bytes that it added to the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_bytes: Option<i64>,
    /// Size of the database in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_bytes: Option<i64>,
    /// Files of DHIS2 in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,
    /// Their size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<i64>,
    /// The newest version of DHIS2 that has used the database, which a restore needs or a newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhis2: Option<String>,
    /// The version of PostgreSQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgresql: Option<String>,
    /// Namespace and name of the instance that made it: another one where the repository was taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When a restore test proved this set, scheduled or asked for. None: no test has restored it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<Time>,
    /// When it was seen that the set is not in the repository any more. None: it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Time>,
}

/// Restores one backup set of an instance on scratch space, compares it with what was counted when it was made, and takes
/// the scratch space away again. The instance serves meanwhile and is not touched.
/// It is carried out once, and not tried again after it failed: make another object. To delete the object while the test
/// runs ends it.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[allow(clippy::duplicated_attributes, reason = "columns have types")]
#[kube(
    group = "dhis2.hosting",
    version = "v1alpha1",
    kind = "Dhis2RestoreTest",
    plural = "dhis2restoretests",
    shortname = "d2t",
    category = "dhis2-all",
    namespaced,
    status = "Dhis2RestoreTestStatus",
    derive = "PartialEq",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn(name = "Instance", type_ = "string", json_path = ".spec.instance"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Set", type_ = "string", json_path = ".status.set"),
    printcolumn(name = "Copy", type_ = "string", json_path = ".spec.copy"),
    printcolumn(name = "Seconds", type_ = "integer", json_path = ".status.seconds"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    validation = Rule::new("size(self.metadata.name) <= 63").message("metadata.name must be at most 63 characters"),
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.instance == oldSelf.instance")
        .message("a restore test is of one instance: make another Dhis2RestoreTest").field_path(".instance"),
    validation = Rule::new("has(self.set) == has(oldSelf.set) && (!has(self.set) || self.set == oldSelf.set)")
        .message("a restore test is of one set: make another Dhis2RestoreTest").field_path(".set"),
    validation = Rule::new("has(self.level) == has(oldSelf.level) && (!has(self.level) || self.level == oldSelf.level)")
        .message("a restore test is carried out once: make another Dhis2RestoreTest").field_path(".level"),
    validation = Rule::new("has(self.copy) == has(oldSelf.copy) && (!has(self.copy) || self.copy == oldSelf.copy)")
        .message("a restore test is of one repository: make another Dhis2RestoreTest").field_path(".copy"),
    validation = Rule::new("!has(self.copy) || !has(self.level) || self.level != 'Application'")
        .message("a set of a copy is tested at level Data: leave level out").field_path(".level"),
)]
pub struct Dhis2RestoreTestSpec {
    /// Name of the Dhis2Instance, in the same namespace.
    #[schemars(schema_with = "super::schema::instance_name")]
    pub instance: String,
    /// Name of the set, as `status.backup.history` of the instance or `status.set` of a Dhis2Backup has it. Default: the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::set_name")]
    pub set: Option<String>,
    /// Name of a copy of the instance, one of its `spec.backup.copies`: the set is restored from there, at level `Data`, with the
    /// copy's own key and nothing of the repository, and told in `status.backup.copies` of the instance. All that it takes comes over
    /// the line. Default: from the repository of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::object_name")]
    pub copy: Option<String>,
    /// How far it goes: `Data` restores and compares; `Application` starts DHIS2 on what was restored, too, which waits until
    /// the instance has `network.policies`. Default: `backup.verify.level` of the instance; with `copy`, `Data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::verify_level")]
    pub level: Option<VerifyLevel>,
}

/// How far a restore test is, and what it found.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Dhis2RestoreTestStatus {
    /// How far it is.
    #[serde(flatten)]
    pub progress: Progress,
    /// The set that was restored and found to be as it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// The moment of which its data is.
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

/// What is told of a backup and of a restore test alike.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The generation of the spec that this status is about; -1 before the operator saw the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Complete`, `Reconciling` and `Stalled`, each with a reason that docs/operate.md explains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// `Waiting`: it has not begun, and the message says why. `Running`: its Job is at work. `Done`, `Failed`: it is over.
    /// `Removing`: the object is being deleted, and its set is to go first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// What it waits for, what it came to, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Time>,
}

/// How far it is. A word of the status is parsed into it, so that one of a later release does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
pub enum Phase {
    /// It has not begun.
    Waiting,
    /// Its Job is at work.
    Running,
    /// It did what was asked.
    Done,
    /// It came to nothing.
    Failed,
    /// It is being deleted, and its set goes first.
    Removing,
}

impl Phase {
    /// Is it over?
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }

    /// The word in the status.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
