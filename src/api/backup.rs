//! Backups.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::database::Volume;

/// Backups: database, files and everything that is needed to recover the instance, in one encrypted
/// restic repository.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Backup {
    /// When, as five cron fields: minute, hour, day of month, month, day of week. Default: daily, at
    /// a minute between 00:00 and 05:00 that follows from namespace and name, so that a fleet does
    /// not start all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::schedule")]
    pub schedule: Option<String>,
    /// Time zone of `schedule`, such as `Africa/Kigali`. Default UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::time_zone")]
    pub time_zone: Option<String>,
    /// Where the sets are kept.
    #[serde(default)]
    pub repository: Repository,
    /// Which sets are kept; all others are removed after each backup. Never removed are the newest set, the
    /// newest one that a restore test has proven and, unless `verify.suspend` is set, all younger than that.
    #[serde(default)]
    pub retention: Retention,
    /// `true`: no scheduled backups. Default false.
    #[serde(default)]
    pub suspend: bool,
    /// The restore test.
    #[serde(default)]
    pub verify: Verify,
}

/// What comes before an upgrade: whatever changes `version` by more than a hotfix, its fourth part.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Upgrade {
    /// `true`: a backup set is made while the old version serves, and DHIS2 is restarted only when it is whole; one that
    /// fails is tried again every ten minutes, and the old version serves on. `false`: the new version is started at
    /// once. Default true.
    #[serde(default = "yes")]
    pub backup: bool,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self { backup: yes() }
    }
}

fn yes() -> bool {
    true
}

/// The restore test: the newest set is restored on scratch space, beside the instance and without touching it, and compared
/// with what it should be. Told in the condition `RestoreVerified`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Verify {
    /// When, as five cron fields in the time zone of the backups. Default: weekly, on Saturday or Sunday
    /// at a minute between 06:00 and 22:00 that follows from namespace and name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::schedule")]
    pub schedule: Option<String>,
    /// `true`: no scheduled restore tests. Default false.
    #[serde(default)]
    pub suspend: bool,
    /// The scratch space, a volume that exists only as long as the test. Default size: that of the
    /// volumes of database and files together.
    #[serde(default)]
    pub storage: Volume,
}

/// Where sets are kept.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Repository {
    /// A volume of the instance. Default size: that of the database and the file volume together.
    #[serde(default)]
    pub volume: Volume,
}

/// How many sets are kept, as restic counts them: the newest ones, and the newest one of each of the
/// last days, weeks, months and years that have one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// Newest sets. Default 3.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 1000))]
    pub last: i32,
    /// Days. Default 7.
    #[serde(default = "seven")]
    #[schemars(range(min = 0, max = 1000))]
    pub daily: i32,
    /// Weeks. Default 5.
    #[serde(default = "five")]
    #[schemars(range(min = 0, max = 1000))]
    pub weekly: i32,
    /// Months. Default 12.
    #[serde(default = "twelve")]
    #[schemars(range(min = 0, max = 1000))]
    pub monthly: i32,
    /// Years. Default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub yearly: i32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { last: three(), daily: seven(), weekly: five(), monthly: twelve(), yearly: 0 }
    }
}

fn three() -> i32 {
    3
}

fn seven() -> i32 {
    7
}

fn five() -> i32 {
    5
}

fn twelve() -> i32 {
    12
}
