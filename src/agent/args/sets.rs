//! Arguments of the verbs that make, copy, test, restore and remove backup sets.

use clap::Args;

use super::{Address, DatabaseAddress, Rehearse};
use crate::dhis2::version::Version;

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub struct Backup {
    /// Name of the set: letters, digits, `-` and `.`; a name whose set this instance has made already makes nothing new
    #[arg(long, env = "SET_ID", value_name = "ID", value_parser = set_id)]
    pub set: String,
    /// Where the database is.
    #[command(flatten)]
    pub database: DatabaseAddress,
    /// Uid of the instance that the database must belong to
    #[arg(long, value_name = "UID")]
    pub instance: String,
    /// Namespace and name of the instance: the host of its snapshots
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub name: String,
    /// DHIS2's version, which says what tables it can make again
    #[arg(long)]
    pub version: Version,
    /// The database system whose files are attached: another one, as after a restore, is not dumped beside them [default: any]
    #[arg(long, value_name = "NUMBER")]
    pub system_identifier: Option<String>,
    /// A set that has much less than those before it, and is right all the same: sets are held against it from now on
    #[arg(long, value_name = "ID", value_parser = set_id)]
    pub accept: Option<String>,
    /// Which sets are kept.
    #[command(flatten)]
    pub keep: Keep,
    /// Where the repository is.
    #[command(flatten)]
    pub repository: Address,
    /// Go on with a repository in S3 that another instance of this name has left
    #[arg(long, requires = "s3")]
    pub adopt: bool,
}

/// Arguments of `copy`.
#[derive(Debug, Args)]
pub struct CopySets {
    /// Name of the copy
    #[arg(long, value_name = "NAME")]
    pub copy: String,
    /// Uid of the instance
    #[arg(long, value_name = "UID")]
    pub instance: String,
    /// Namespace and name of the instance: the host of its snapshots
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub name: String,
    /// The repository that is copied, where it is in S3 as well: with the credentials of the copy [default: on the volume of backups]
    #[arg(long, value_name = "URL", requires = "s3")]
    pub from_s3: Option<String>,
    /// Which sets are kept in the copy.
    #[command(flatten)]
    pub keep: Keep,
    /// Where the copy is.
    #[command(flatten)]
    pub repository: Address,
    /// Go on with a copy that another instance of this name has left
    #[arg(long, requires = "s3")]
    pub adopt: bool,
}

/// Arguments of `remove`.
#[derive(Debug, Args)]
pub struct Remove {
    /// Name of the set
    #[arg(long, value_name = "ID", value_parser = set_id)]
    pub set: String,
    /// Uid of the instance
    #[arg(long, value_name = "UID")]
    pub instance: String,
    /// Namespace and name of the instance: the host of its snapshots
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub name: String,
    /// Where the repository is.
    #[command(flatten)]
    pub repository: Address,
    /// Go on with a repository in S3 that another instance of this name has left
    #[arg(long, requires = "s3")]
    pub adopt: bool,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// Uid of the instance
    #[arg(long, value_name = "UID")]
    pub instance: String,
    /// Namespace and name of the instance: the host of its snapshots
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub name: String,
    /// Name of the set [default: the newest]
    #[arg(long, value_name = "ID", value_parser = set_id)]
    pub set: Option<String>,
    /// The repository is this copy of the instance's own, which has a key of its own
    #[arg(long, value_name = "NAME", requires = "s3")]
    pub copy: Option<String>,
    /// Where the repository is.
    #[command(flatten)]
    pub repository: Address,
}

/// Arguments of `prove`.
#[derive(Debug, Args)]
pub struct Prove {
    /// Uid of the instance
    #[arg(long, value_name = "UID")]
    pub instance: String,
    /// Namespace and name of the instance: the host of its snapshots
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub name: String,
    /// Where the repository is.
    #[command(flatten)]
    pub repository: Address,
    /// The DHIS2 on it.
    #[command(flatten)]
    pub dhis2: Rehearse,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// Uid of the instance that the volumes are for
    #[arg(long, value_name = "UID")]
    pub instance: String,
    /// Namespace and name of the instance, for people
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub name: String,
    /// Major version of PostgreSQL
    #[arg(long, value_name = "MAJOR")]
    pub postgresql: u32,
    /// DHIS2's version, which is to start on what is restored
    #[arg(long)]
    pub version: Version,
    /// Which set.
    #[command(flatten)]
    pub wanted: Wanted,
    /// Take a set of which some files could not be read when it was made: without them
    #[arg(long)]
    pub leave_out_unreadable_files: bool,
    /// Where the repository is.
    #[command(flatten)]
    pub repository: Address,
    /// Restore the database only, with all scheduled jobs of DHIS2 switched off: a copy to try a version on
    #[arg(long)]
    pub rehearsal: bool,
    /// Restore to scratch space, with all scheduled jobs of DHIS2 switched off: a copy to see whether DHIS2 serves on the set
    #[arg(long, conflicts_with = "rehearsal")]
    pub scratch: bool,
}

/// Arguments of `recover`.
#[derive(Debug, Args)]
pub struct Recover {
    /// Another name for the instance
    #[arg(long, value_name = "NAME")]
    pub rename: Option<String>,
    /// The claim that the repository is on [default: that of the instance's backups]
    #[arg(long, value_name = "NAME", conflicts_with = "s3")]
    pub volume_claim: Option<String>,
    /// Which set.
    #[command(flatten)]
    pub wanted: Wanted,
    /// Where the repository is.
    #[command(flatten)]
    pub repository: Address,
}

/// Which set is restored: the newest, unless something else is said.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct Wanted {
    /// Name of the set [default: the newest]
    #[arg(long, value_name = "ID", value_parser = set_id)]
    pub set: Option<String>,
    /// The newest set of this moment or before it, RFC 3339
    #[arg(long, value_name = "TIME")]
    pub before: Option<jiff::Timestamp>,
}

/// Which sets are kept: the newest of each of the last so many days, weeks, months and years. The newest set always is.
#[derive(Debug, Default, Args)]
#[allow(clippy::struct_field_names)] // named as the flags are, which are named as restic's
pub struct Keep {
    /// Newest sets to keep, whatever their age
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub keep_last: u32,
    /// Days of which the newest set is kept
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub keep_daily: u32,
    /// Weeks of which the newest set is kept
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub keep_weekly: u32,
    /// Months of which the newest set is kept
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub keep_monthly: u32,
    /// Years of which the newest set is kept
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub keep_yearly: u32,
    /// No set is removed
    #[arg(long)]
    pub append_only: bool,
    /// No restore tests are made: of the sets younger than the newest proven one, those that the rules name are kept, not all
    #[arg(long)]
    pub verify_suspended: bool,
}

/// A set's name becomes a tag of restic, in which a comma would begin another one.
fn set_id(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if text.is_empty() || !text.chars().all(allowed) {
        return Err("use letters, digits, - and .".to_owned());
    }
    Ok(text.to_owned())
}
