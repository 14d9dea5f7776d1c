//! Backups.

use kube::KubeSchema;
use schemars::JsonSchema;
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
    /// Further repositories in S3 that finished sets are copied to, each with a key of its own. Told in the condition
    /// `BackupCopied`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::schema::copies")]
    pub copies: Vec<BackupCopy>,
    /// Which sets are kept; all others are removed after each backup. Never removed are the newest set, the
    /// newest one that a restore test has proven and, unless `verify.suspend` is set, all younger than that.
    #[serde(default)]
    pub retention: Retention,
    /// `true`: no set is ever removed by this instance, whatever `retention` says; somebody else does, with another key, or the
    /// repository grows until it is full. Default false.
    #[serde(default)]
    pub append_only: bool,
    /// `true`: no scheduled backups. Default false.
    #[serde(default)]
    pub suspend: bool,
    /// The restore test.
    #[serde(default)]
    pub verify: Verify,
    /// What the instance has to hold to. Told in the condition `Recoverable`. Default: nothing is measured against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objectives: Option<Objectives>,
}

/// What a loss of the cluster may cost: `Recoverable` is false as long as it would cost more, by what was measured.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Objectives {
    /// How old the newest set outside of the cluster may get, in minutes, hours or days, such as `26h`: what was entered since then is
    /// lost. A daily backup is a day old when the next one begins, and its copy older: leave room for both. Default: any age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::minutes_hours_or_days")]
    pub data_loss: Option<String>,
    /// How long it may take to restore a set: as long as the last restore test took, with DHIS2's start where `verify.level` is
    /// `Application`. Minutes, hours or days, such as `4h`. Default: any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::minutes_hours_or_days")]
    pub restore_time: Option<String>,
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
    /// How far a test goes. `Data`: database and files are restored and compared with what was counted when the set was made. `Application`: after
    /// that all scheduled jobs are switched off in the copy, and DHIS2 is started on it, cut off from everything, until it serves; it has
    /// `upgrade.timeout` for that. Takes `network.policies`, and the memory of DHIS2 and PostgreSQL a second time, for as long as the test.
    #[serde(default)]
    pub level: VerifyLevel,
    /// The scratch space, a volume that exists only as long as the test. Default size: that of the
    /// volumes of database and files together.
    #[serde(default)]
    pub storage: Volume,
}

/// How far a restore test goes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VerifyLevel {
    /// Restored and compared. The default.
    #[default]
    Data,
    /// DHIS2 is started on it as well.
    Application,
}

/// Where sets are kept: on a volume of the instance, or in S3.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.volume) || !has(self.s3)").message("sets are kept in one place: remove volume or s3"),
    validation = Rule::new("has(self.s3) || has(oldSelf.s3) || (has(self.volume) && has(self.volume.className) ? self.volume.className : '') == (has(oldSelf.volume) && has(oldSelf.volume.className) ? oldSelf.volume.className : '')")
        .message("the storage class of a volume can't be changed").field_path(".volume.className")
)]
pub struct Repository {
    /// A volume of the instance, the default. Default size: that of the database and the file volume together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<Volume>,
    /// A bucket of a server that speaks S3. The instance has no volume of backups then; one that it had before stays, with its
    /// sets, and is neither written to nor deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3>,
}

/// A repository in S3: `<endpoint>/<bucket>/<prefix>`. Whatever names another place begins a new repository there; the sets that were
/// made before stay where they are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct S3 {
    /// Name of the bucket. Make it first: one that is not there is made with the server's defaults, if the key has the right to.
    #[schemars(schema_with = "super::schema::bucket")]
    pub bucket: String,
    /// What the names of the repository's objects begin with, such as `hmis/production`. No two instances may share it, of
    /// whatever cluster. Default: namespace and name of the instance, `<namespace>/<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::object_prefix")]
    pub prefix: Option<String>,
    /// Region of the bucket, such as `eu-west-1`. Default: the server is asked, which takes the right `s3:GetBucketLocation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::region")]
    pub region: Option<String>,
    /// Address of the server, such as `https://s3.example.org`; without encryption none is spoken to. Default: that of AWS, in
    /// `region` if that is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::s3_endpoint")]
    pub endpoint: Option<String>,
    /// What the server lets in.
    pub credentials: S3Credentials,
    /// KiB a second that are sent to the server at most: 100 of a line of 1 Mbit/s leave some for the users. Default: no
    /// limit.
    #[serde(default, rename = "limitUploadKiB", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub limit_upload_kib: Option<i32>,
    /// KiB a second that are fetched from it at most. A restore test fetches a whole set. Default: no limit.
    #[serde(default, rename = "limitDownloadKiB", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub limit_download_kib: Option<i32>,
    /// A Secret of this namespace with the certificate, under `ca.crt`, of the authority that has signed the server's. Default: the
    /// authorities of the database's image, which know public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::object_name")]
    pub ca_secret_name: Option<String>,
}

/// A repository that finished sets are copied to: the newest set first, then older ones that it lacks. A set is in it as a whole or
/// not at all. Sets are removed from it by `retention` once the repository has removed them as well. Where the repository is in S3
/// itself, copies are on a server that takes the same credentials, with the same authority.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BackupCopy {
    /// Its name, at most 15 characters; with that of the instance at most 46.
    #[schemars(schema_with = "super::schema::copy_name")]
    pub name: String,
    /// The bucket that it is in, another place than that of the repository and of other copies. It is made when it does not exist.
    pub s3: S3,
    /// A Secret of this namespace with the key of the copy under `password`: long and random, and also kept outside of the
    /// cluster, since without it nobody opens the copy. It can't be changed later: another key opens no sets.
    #[schemars(schema_with = "super::schema::object_name")]
    pub password_secret_name: String,
    /// When, as five cron fields in the time zone of the backups. Default: daily, at a minute between 05:00 and 09:00 that
    /// follows from namespace and names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::schedule")]
    pub schedule: Option<String>,
    /// `true`: no set is ever removed from the copy by this instance. Default false.
    #[serde(default)]
    pub append_only: bool,
    /// Scheduled restore tests from the copy, with its key alone. Default: none; a Dhis2RestoreTest with `copy` makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<VerifyCopy>,
}

/// Restore tests from a copy, at level `Data`, on scratch space as `backup.verify.storage` describes it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct VerifyCopy {
    /// When, as five cron fields in the time zone of the backups, such as `0 12 1 * *`: once a month. The newest set of the copy is
    /// fetched as a whole each time, which takes as long as the line is thin.
    #[schemars(schema_with = "super::schema::schedule")]
    pub schedule: String,
}

/// What an S3 server lets in.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct S3Credentials {
    /// A Secret of this namespace with the keys `accessKeyID` and `secretAccessKey`. A change of its content holds from the next
    /// backup on.
    #[schemars(schema_with = "super::schema::object_name")]
    pub secret_name: String,
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
