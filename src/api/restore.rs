//! `Dhis2Restore`: one request to bring an instance back to a backup set.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bootstrap::SourceRepository;

/// Brings an instance back to one of its backup sets: database and files are built on new volumes while DHIS2 still
/// serves, compared with what the set should be, and only then DHIS2 is stopped and started on them. Until it is
/// stopped every failure leaves the instance as it was; the volumes that it had are kept, so that `revert` goes back.
/// It is carried out once. One that a tool makes anew after it was deleted is another request: keep these objects out
/// of what Argo CD or Flux syncs.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[allow(clippy::duplicated_attributes, reason = "columns have types")]
#[kube(
    group = "dhis2.hosting",
    version = "v1alpha1",
    kind = "Dhis2Restore",
    plural = "dhis2restores",
    shortname = "d2r",
    category = "dhis2-all",
    namespaced,
    status = "Dhis2RestoreStatus",
    derive = "PartialEq",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn(name = "Instance", type_ = "string", json_path = ".spec.instance"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Set", type_ = "string", json_path = ".status.set"),
    printcolumn(name = "Data of", type_ = "date", json_path = ".status.setTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1)
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.set) && has(self.before))")
        .message("name a set or a time before which it was made, not both").field_path(".before"),
    validation = Rule::new("self.instance == oldSelf.instance")
        .message("a restore is of one instance: make another Dhis2Restore").field_path(".instance"),
    validation = Rule::new("has(self.set) == has(oldSelf.set) && (!has(self.set) || self.set == oldSelf.set)")
        .message("a restore is of one set: make another Dhis2Restore").field_path(".set"),
    validation = Rule::new("has(self.before) == has(oldSelf.before) && (!has(self.before) || self.before == oldSelf.before)")
        .message("a restore is of one set: make another Dhis2Restore").field_path(".before"),
    validation = Rule::new("has(self.from) == has(oldSelf.from) && (!has(self.from) || self.from == oldSelf.from)")
        .message("a restore is of one set: make another Dhis2Restore").field_path(".from"),
    validation = Rule::new("self.unreadableFiles == oldSelf.unreadableFiles")
        .message("a restore is carried out once: make another Dhis2Restore").field_path(".unreadableFiles"),
    validation = Rule::new("!has(self.from) || !has(self.from.instance) || self.from.instance != self.instance")
        .message("these are the instance's own sets: leave from out").field_path(".from"),
    validation = Rule::new("self.revert || !oldSelf.revert")
        .message("what was taken back stays so: make another Dhis2Restore").field_path(".revert"),
)]
pub struct Dhis2RestoreSpec {
    /// Name of the Dhis2Instance, in the same namespace.
    #[schemars(schema_with = "super::schema::object_name")]
    pub instance: String,
    /// Name of the set, as `status.backup.history` of the instance has it. Default: the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::set_name")]
    pub set: Option<String>,
    /// The newest set that was made at this time or before it, such as `2026-11-29T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Time>,
    /// Where the set is, when it is not in the repository of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<RestoreFrom>,
    /// What becomes of a set of which some files could not be read when it was made (`SetIncomplete`). `Refuse`: it is not restored.
    /// `LeaveOut`: it is restored without them, and DHIS2 serves without those files. Default `Refuse`.
    #[serde(default)]
    pub unreadable_files: UnreadableFiles,
    /// `true`: take it back. Before DHIS2 is stopped, that cancels the restore; afterwards DHIS2 is stopped once more and
    /// started on the volumes that it had before, as long as `status.kept` of the instance names them. What was written
    /// since the restore is on the volumes that are kept then. Default false.
    #[serde(default)]
    pub revert: bool,
}

/// What becomes of a set of which some files could not be read when it was made.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnreadableFiles {
    /// It is not restored. The default.
    #[default]
    Refuse,
    /// It is restored without them.
    LeaveOut,
}

/// Another repository than that of the instance: exactly one of `copy`, `instance` and `repository`. It is only read.
///
/// With a set of another instance database, files and all accounts are that one's afterwards; Secret `<instance>-admin` does
/// not hold its password. The instance must have the encryption key that the set was written with, a version that is not
/// below the set's, and a PostgreSQL that is not below it: what does not fit is told, and changes nothing.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.copy) ? 1 : 0) + (has(self.instance) ? 1 : 0) + (has(self.repository) ? 1 : 0) == 1")
        .message("exactly one of copy, instance and repository must be set"),
    validation = Rule::new("has(self.passwordSecretName) == has(self.repository)")
        .message("name the Secret with the key of repository; those of a copy and of an instance are known").field_path(".passwordSecretName"),
)]
pub struct RestoreFrom {
    /// Name of a copy of the instance, one of its `spec.backup.copies`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::object_name")]
    pub copy: Option<String>,
    /// Name of another Dhis2Instance of this namespace: its sets are taken from where it has them now, with its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::object_name")]
    pub instance: Option<String>,
    /// A repository of an instance that is in another namespace or cluster, or gone, or one that this instance had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<SourceRepository>,
    /// A Secret of this namespace with the key of `repository` under `password`: of an instance `other` it is
    /// `other-backup`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::object_name")]
    pub password_secret_name: Option<String>,
}

/// How far it is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Dhis2RestoreStatus {
    /// The generation of the spec that this status is about; -1 before the operator saw the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Complete`, `Reconciling` and `Stalled`, each with a reason that docs/operate.md explains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// `Waiting`: another operation is under way, or the instance is not there or not set up. `Building`: the set is restored to new
    /// volumes and compared, DHIS2 serves. `BackingUp`: a set of the present state is made, DHIS2 serves. `Stopping`, `Starting`: DHIS2
    /// is stopped, and started on other volumes. `Done`, `Failed`, `Canceled`, `Reverted`: it is over.
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
    /// The set that was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// The moment of which the restored data is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_time: Option<Time>,
    /// Bytes that were restored, database and files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// The set that was made of the state before, or why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety_backup: Option<String>,
}

/// How far a restore is. A word of the status is parsed into it, so that one of a later release does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
pub enum Phase {
    /// It has not begun.
    Waiting,
    /// The new version of an upgrade is looked at.
    Checking,
    /// The newest set is restored as a restore test does, before a new version is tried on a copy of it.
    Proving,
    /// The new version of an upgrade is tried on a copy.
    Rehearsing,
    /// The set is restored to new volumes.
    Building,
    /// A set of the present state is made.
    BackingUp,
    /// DHIS2 and PostgreSQL are stopped.
    Stopping,
    /// They are started on the other volumes.
    Starting,
    /// It is restored.
    Done,
    /// It came to nothing; the instance is as it was.
    Failed,
    /// It was taken back before anything had changed.
    Canceled,
    /// It was taken back: the instance is served from the volumes that it had before.
    Reverted,
}

impl Phase {
    /// Is it over?
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Canceled | Self::Reverted)
    }

    /// Of an upgrade: does the old version serve on as if nothing were?
    pub fn prepares(self) -> bool {
        matches!(self, Self::Checking | Self::Proving | Self::Rehearsing | Self::BackingUp)
    }

    /// The word in the status.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
