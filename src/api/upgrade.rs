//! Upgrades of DHIS2.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How another version is started: whatever changes `version` by more than a hotfix, its fourth part.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.backup || !has(self.onFailure) || self.onFailure == 'Hold'")
        .message("a rollback restores the set that was made before the upgrade: set backup: true, or onFailure: Hold").field_path(".onFailure"),
    validation = Rule::new("self.backup || !has(self.rehearse) || !self.rehearse")
        .message("without what comes before an upgrade there is no rehearsal: set backup: true").field_path(".rehearse")
)]
pub struct Upgrade {
    /// `true`: before anything is stopped the image is looked at, whether it is there and holds that version, the volume of the database, whether it
    /// has room where a migration is known to copy a table (to 2.43: `event`), and a backup set is made while the old version serves. What fails is tried
    /// again every ten minutes and when the resource changes, and the old version serves on. `false`: the new version is started at once. Default true.
    #[serde(default = "yes")]
    pub backup: bool,
    /// `true`: before the backup the newest set is proven by a restore test, unless it is already; then its database is restored on scratch space, all
    /// scheduled jobs are switched off in that copy, and the new version is started on it beside the instance, until it serves. How long that took is the forecast of the upgrade; a version that does not serve on the
    /// copy is not started on the instance. Takes the memory of DHIS2 and PostgreSQL a second time, and the room of a restore
    /// test. Default false.
    #[serde(default)]
    pub rehearse: bool,
    /// How long the new version may take from the moment at which DHIS2 is stopped until it serves, migrations included: minutes or hours
    /// up to a day, such as `45m` or `3h`. Five minutes later the upgrade counts as failed. A start that a power cut or the loss of a node
    /// has ended has its time anew. Default `2h`.
    #[serde(default = "two_hours")]
    #[schemars(schema_with = "super::schema::minutes_or_hours")]
    pub timeout: String,
    /// What is done about an upgrade that failed: the new version ended twice before it served, or `timeout` is over. `Hold`: it is told, and the
    /// new version goes on trying; a person decides. `Rollback`: the set that was made before the upgrade is restored to new volumes, and the old
    /// version serves from them; what was entered after the set was made, before DHIS2 was stopped, is not in it, and the volumes of before are
    /// kept, in `status.kept`. The new version is not tried again until `version` has named another one.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// What is done about an upgrade that failed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It is told. The default.
    #[default]
    Hold,
    /// The old version comes back, with the set of before.
    Rollback,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self { backup: yes(), rehearse: false, timeout: two_hours(), on_failure: OnFailure::default() }
    }
}

fn yes() -> bool {
    true
}

fn two_hours() -> String {
    "2h".to_owned()
}
