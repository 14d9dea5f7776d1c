//! The command line of `dhis2-agent`.

mod sets;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use super::sets::bucket::{Address, ReadFor};
use super::watch::Subject;
use crate::dhis2::version::Version;
use crate::layout;
pub use sets::{Backup, CopySets, Keep, Prove, Recover, Remove, Restore, Verify, Wanted};

/// Does inside an instance's pods what the operator itself never does: it touches DHIS2, PostgreSQL, files and backups.
///
/// Each verb may be interrupted at any moment and run again. A verb ends with a report, one JSON document, in the
/// termination message of its container; its exit code is 0 when done, 1 when it failed and may succeed later, and 2 when it
/// refused because two things disagree, which somebody has to resolve first. It logs JSON lines on standard error.
#[derive(Debug, Parser)]
#[command(name = "dhis2-agent", version, max_term_width = 120)]
pub struct Arguments {
    /// File that the report is written to [default: /dev/termination-log; probes only write what ends their container]
    #[arg(long, global = true, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Directory that stands for `/`: where volumes, Secrets and sockets are found outside a pod
    #[arg(long, global = true, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The agent's verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Copy the agent and restic into a directory that other containers of the pod mount
    Install {
        /// The directory
        directory: PathBuf,
    },
    /// Build, run or check the database
    #[command(subcommand)]
    Database(Database),
    /// Decide whether DHIS2 may start: version, database, encryption key, files (init container, in DHIS2's image)
    Check(Check),
    /// Tell whether DHIS2 has started, for a probe; ends a DHIS2 whose start has failed, so that it is started again
    Startup(Startup),
    /// Watch a server of the pod from a container beside it: the port is open while all is well; ends with what is not
    Watch(Watched),
    /// Wait for DHIS2, then replace the default password of admin by the generated one
    Bootstrap(Bootstrap),
    /// Make a backup set of database and files in the instance's restic repository, then remove sets by age
    Backup(Backup),
    /// Restore the newest backup set on scratch space, compare it with its manifest, and note in the repository that it is proven
    Verify(Verify),
    /// Wait until DHIS2 serves on a set that was restored beside it, and note in the repository that the set is proven (in one pod)
    Prove(Prove),
    /// Build a new database volume and a new volume of files from a backup set
    Restore(Restore),
    /// Build the database volume and the volume of files of a new instance from a dump of its database
    Import(Import),
    /// Copy finished backup sets to a second repository, which has a key of its own, then remove sets by age there
    Copy(CopySets),
    /// Remove one backup set from the repository, unless it is the newest one or the newest proven one, and free its space
    Remove(Remove),
    /// Print the Secrets of an instance, and a resource that begins with its backup set: what one key brings back on an empty cluster
    Recover(Recover),
    /// Print what to keep in the safe of an instance: where its sets are, their keys, and how they bring it back. Standard input is the
    /// instance and the Secrets of its keys, as `kubectl get … --output json` prints them
    RecoverySheet,
    /// Wait until a DHIS2 on a copy of the database serves, and tell how long that took or why it does not (beside it, in one pod)
    Rehearse(Rehearse),
    /// Have DHIS2 generate its analytics tables where they are missing, and wait for the end of that
    Analytics(Analytics),
}

/// What can be done with the database.
#[derive(Debug, Subcommand)]
pub enum Database {
    /// Make a database volume, or confirm that it has been made
    Build(Build),
    /// Serve the database of a finished volume (PID 1 of the database container)
    Run(Run),
    /// Tell whether the database answers and takes writes; for probes, within 4 seconds
    Check,
}

/// Arguments of `database build`.
#[derive(Debug, Args)]
pub struct Build {
    /// Uid of the instance that the volume is for
    #[arg(long, value_name = "UID")]
    pub instance: String,
    /// Namespace and name of the instance, for people
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub name: String,
    /// Major version of PostgreSQL
    #[arg(long, value_name = "MAJOR")]
    pub postgresql: u32,
    /// Take over a volume that another instance has left, if the encryption key fits
    #[arg(long)]
    pub adopt: bool,
}

/// Arguments of `database run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Uid of the instance that the volume must belong to
    #[arg(long, value_name = "UID")]
    pub instance: String,
    /// After a request to stop: seconds until a server that has not ended is ended at once [default: never]
    #[arg(long, value_name = "SECONDS")]
    pub quit_after: Option<u64>,
}

/// Arguments of `startup`.
#[derive(Debug, Args)]
pub struct Startup {
    /// Address of DHIS2, with its context path
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// The process to end when the start has failed: PID 1, Tomcat
    #[arg(long, value_name = "PID", default_value_t = 1)]
    pub process: i32,
}

/// Arguments of `watch`.
#[derive(Debug, Args)]
pub struct Watched {
    /// What is watched
    pub subject: Subject,
    /// Port that is open while all is well
    #[arg(long, default_value_t = layout::WATCH_PORT)]
    pub port: u16,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Version that the image must hold
    #[arg(long)]
    pub version: Version,
    /// Where the database is.
    #[command(flatten)]
    pub database: DatabaseAddress,
    /// Uid of the instance that the database must belong to
    #[arg(long, value_name = "UID")]
    pub instance: String,
    /// Look at image and database only, and note nothing: another version serves
    #[arg(long)]
    pub only: bool,
    /// Size of the database's volume: whether a migration finds room on it is looked at too
    #[arg(long, value_name = "BYTES")]
    pub volume_bytes: Option<u64>,
}

/// Where the database is, and how long to wait for it.
#[derive(Debug, Args)]
pub struct DatabaseAddress {
    /// Host of the database
    #[arg(long)]
    pub host: String,
    /// Port of the database
    #[arg(long, default_value_t = layout::POSTGRES_PORT)]
    pub port: u16,
    /// Seconds to wait for the database
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub patience: u64,
}

/// Arguments of `bootstrap`.
#[derive(Debug, Args)]
pub struct Bootstrap {
    /// Address of DHIS2 with its context path, such as <http://play:8080/dhis>
    #[arg(long)]
    pub url: String,
    /// Version that must be running
    #[arg(long)]
    pub version: Version,
}

/// Arguments of `analytics`.
#[derive(Debug, Args)]
pub struct Analytics {
    /// Where the database is.
    #[command(flatten)]
    pub database: DatabaseAddress,
    /// Uid of the instance
    #[arg(long, value_name = "UID")]
    pub instance: String,
    /// Number of the run: the same one is asked for once
    #[arg(long, value_name = "N")]
    pub run: u64,
    /// Generate all of them, though they are there
    #[arg(long)]
    pub all: bool,
    /// Seconds after which DHIS2 should have begun
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    pub taken_up_within: u64,
}

/// Arguments of `rehearse`.
#[derive(Debug, Args)]
pub struct Rehearse {
    /// Address of DHIS2, with its context path
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// Version that is to serve
    #[arg(long)]
    pub version: Version,
    /// How long it may take
    #[arg(long, value_name = "SECONDS")]
    pub timeout: u64,
}

/// Arguments of `import`.
#[derive(Debug, Args)]
pub struct Import {
    /// Uid of the instance that the volumes are for
    #[arg(long, value_name = "UID")]
    pub instance: String,
    /// Namespace and name of the instance, for people
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub name: String,
    /// Major version of PostgreSQL
    #[arg(long, value_name = "MAJOR")]
    pub postgresql: u32,
    /// DHIS2's version, which is to start on what is loaded
    #[arg(long)]
    pub version: Version,
    /// The dump, on the volume that people brought it on: SQL, also compressed with gzip, or an archive
    #[arg(long, value_name = "PATH")]
    pub dump: String,
    /// DHIS2's files, a directory on the same volume
    #[arg(long, value_name = "PATH")]
    pub files: Option<String>,
}
