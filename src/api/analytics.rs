//! DHIS2's analytics tables.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The analytics tables, which DHIS2 makes from its data and dashboards read: no backup set holds them.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Analytics {
    /// Whether DHIS2 is asked to generate them when they have been lost. Later runs are DHIS2's own, by its app Scheduler.
    #[serde(default)]
    pub generate: Generate,
}

/// When DHIS2 is asked for analytics tables.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Generate {
    /// As soon as the instance serves after a restore, a rollback, or a start with a backup set or a dump: where they are missing. After an upgrade
    /// to another line, such as 2.42 to 2.43, which lays them out otherwise: all of them. Nothing is generated in a database in which they have never been.
    /// What fails is tried again every six hours, and told in the condition `AnalyticsFresh`. DHIS2 before 2.41 can't be asked: that is told. The default.
    #[default]
    WhenMissing,
    /// Never: people generate them in the app Data Administration. Until then dashboards are empty.
    Never,
}
