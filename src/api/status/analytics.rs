//! What is told of the analytics tables.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The analytics tables, since they were last lost.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AnalyticsStatus {
    /// What they were lost by: `Restore`, `Rollback`, `Upgrade` or `Bootstrap`.
    pub after: String,
    /// Number of the run, which the Job that asks for it has in its name: one that failed is followed by another one.
    pub run: i64,
    /// All of them are generated, though some are there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Since when they are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// When the run had ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Time>,
    /// `Generated`; `NotNeeded`; `ByHand`: this DHIS2 can't be asked for them; or `Failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// How long DHIS2 took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<i64>,
    /// What came of it, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
