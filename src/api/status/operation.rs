//! What is told of the operation that is under way.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::Claims;

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
    /// How far it is, as the Dhis2Restore tells it; an upgrade has `Checking`, `Proving`, `Rehearsing`, `BackingUp`, `Starting` and `Failed` (before
    /// DHIS2 is stopped; it is tried again).
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
