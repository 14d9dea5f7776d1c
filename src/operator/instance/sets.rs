//! Backup sets of an instance: where they are kept and copied to, by which schedules, and which one it begins with.

use super::Storage;
use crate::api::{
    backup::{Retention, VerifyLevel},
    bootstrap::FromDump,
};

/// Where backup sets are kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Repository {
    /// On the claim of backups.
    Volume(Storage),
    /// In a bucket.
    S3(Bucket),
}

/// A repository in S3.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    /// As restic names it: `s3:https://host/bucket/prefix`.
    pub url: String,
    /// Is the bucket named in the path, not in the host?
    pub path_style: bool,
    /// Its server.
    pub endpoint: Endpoint,
    /// Its region.
    pub region: Option<String>,
    /// KiB a second at most: to it, from it.
    pub limits: [Option<i32>; 2],
    /// The user's Secret with the credentials.
    pub credentials: String,
    /// The user's Secret with the authority of the server's certificate.
    pub ca: Option<String>,
    /// The claim of backups of before, as it is.
    pub left: Option<Storage>,
}

/// A repository that sets are copied to.
#[derive(Clone, Debug, PartialEq)]
pub struct BackupCopy {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub bucket: Bucket,
    /// The user's Secret with its key.
    pub password: String,
    /// Five cron fields.
    pub schedule: String,
    /// Nothing is removed from it.
    pub append_only: bool,
    /// When restore tests are made from it: five cron fields.
    pub verify_schedule: Option<String>,
}

/// What a new instance begins with.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A dump that people bring.
    Dump(FromDump),
    /// A backup set.
    Backup(Box<Origin>),
}

/// A backup set in another repository than the instance's.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// Where it is.
    pub place: Place,
    /// What names it, as the agent knows that: `bootstrap`, `restore` or `copy`.
    pub named_by: &'static str,
    /// The user's Secret with the key of the repository.
    pub password: String,
    /// The set; none for the newest.
    pub set: Option<String>,
    /// The moment at or before which it has to be made.
    pub before: Option<String>,
    /// Are files left out that could not be read when it was made?
    pub leaves_out: bool,
}

/// A repository that is only read.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// On a claim.
    Claim(String),
    /// In a bucket.
    S3(Bucket),
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: i32,
}

/// Backups.
#[derive(Clone, Debug, PartialEq)]
pub struct Backup {
    /// Five cron fields.
    pub schedule: String,
    /// Time zone of the schedule.
    pub time_zone: Option<String>,
    /// What is kept.
    pub retention: Retention,
    /// Nothing is removed.
    pub append_only: bool,
    /// No scheduled backups.
    pub suspend: bool,
    /// A set that has much less than those before it, and is right all the same.
    pub accepted: Option<String>,
    /// When a set is restored to see whether it can be: five cron fields.
    pub verify_schedule: String,
    /// No scheduled restore tests.
    pub verify_suspend: bool,
    /// How far they go.
    pub verify_level: VerifyLevel,
}
