//! `backup`: makes a set in the instance's repository, then removes sets by age.
//!
//! files → dump → files again → manifest. The manifest is last: a set that was interrupted has none and does not exist. A set
//! that exists is reported again, not made again, unless it is not of now any more or lacks files.

mod capacity;
mod dump;
mod sane;
mod steps;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::postgres::Error as SqlError;
use jiff::SignedDuration;
use nix::fcntl::Flock;

use super::Ended;
use super::args::{Backup, Keep};
use super::failure::{Failure, told};
use super::log::Log;
use super::paths::Paths;
use super::postgres::{programs, reach};
use super::sets::manifest::Manifest;
use super::sets::restic::{self, Owner, Repository, Snapshot};
use super::sets::retention::Rules;
use super::sets::{self, manifest, proof, retention, set};
use super::termination::Message;
use super::{secret, volume};
use crate::layout;
use crate::report::{BackedUp, Data, Refusal};

/// Two backups of one instance never run side by side; a second one waits for the first.
const LOCK_PATIENCE: Duration = Duration::from_mins(30);
/// A set that was finished longer ago is of before.
const OF_NOW: SignedDuration = SignedDuration::from_mins(15);

/// A backup that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The volume can't be used.
    #[error(transparent)]
    Volume(#[from] volume::Error),
    /// A Secret can't be used.
    #[error(transparent)]
    Secret(#[from] secret::Error),
    /// The repository can't be used.
    #[error(transparent)]
    Repository(#[from] restic::Error),
    /// The database does not let us in.
    #[error(transparent)]
    Reach(#[from] reach::Error),
    /// No `pg_dump` of the server's version.
    #[error(transparent)]
    Programs(#[from] programs::Error),
    /// The database can't be read.
    #[error("read from the database")]
    Read(#[source] SqlError),
    /// The database does not say whose it is.
    #[error("the database does not say whose it is: the table dhis2_operator.instance is missing or incomplete")]
    Unmarked,
    /// The database is another instance's.
    #[error("the database belongs to instance {0}, not to this one")]
    Foreign(String),
    /// The files are those of another database.
    #[error("the database was replaced by a restore after this backup had begun: its files are those of before; nothing was made")]
    Replaced,
    /// The dump broke off.
    #[error("dump the database")]
    Dump(#[source] restic::Error),
    /// A file that the manifest repeats can't be read.
    #[error("read {0} for the manifest")]
    ReadFile(PathBuf, #[source] std::io::Error),
    /// The resource is no JSON.
    #[error("understand {0}")]
    Resource(PathBuf, #[source] serde_json::Error),
    /// The password file can't be written.
    #[error("write the password file for pg_dump")]
    PasswordFile(#[source] std::io::Error),
    /// The manifest can't be written.
    #[error("write the manifest")]
    Manifest(#[source] serde_json::Error),
    /// The manifest can't be read.
    #[error(transparent)]
    ReadManifest(#[from] manifest::Error),
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Volume(volume::Error::Locked(_)) => Some(Refusal::RepositoryLocked),
            Self::Secret(error) => error.reason(),
            Self::Repository(error) => error.reason(),
            Self::Reach(error) => error.reason(),
            Self::Programs(error) => error.reason(),
            Self::ReadManifest(error) => error.reason(),
            Self::Unmarked => Some(Refusal::VolumeUnmarked),
            Self::Foreign(_) => Some(Refusal::VolumeForeign),
            // A full or locked repository is told as such; anything else is the dump's own.
            Self::Dump(error) => Some(error.reason().unwrap_or(Refusal::DumpFailed)),
            Self::Replaced
            | Self::Volume(_)
            | Self::Read(_)
            | Self::ReadFile(..)
            | Self::Resource(..)
            | Self::PasswordFile(_)
            | Self::Manifest(_) => None,
        }
    }
}

/// Makes the set, or finds it made, and applies the retention.
pub fn backup(arguments: &Backup, paths: &Paths, log: Log, reports: &Message) -> Result<Ended, Error> {
    reports.waiting(&format!("making the backup set {}", arguments.set), log);
    let _lock = lock(arguments, paths, log)?;
    let owner = Owner { instance: &arguments.instance, name: &arguments.name, adopt: arguments.adopt };
    let repository = Repository::open(&arguments.repository, paths, &owner)?;
    let pending = sets::pending_prune(&repository, paths);
    let snapshots = repository.snapshots()?;
    let (set, made) = this_one(&repository, &snapshots, &set::name(&snapshots, &arguments.set, &arguments.instance))?;
    let (manifest, blind) = match made {
        Some(manifest) => {
            log.info("the set exists already");
            (manifest, None)
        }
        None => match steps::make((&repository, &snapshots), &set, arguments, paths, log, reports) {
            Err(error) if error.reason() == Some(Refusal::RepositoryFull) && !arguments.keep.append_only => {
                log.warn(&format!("{}: removing old sets, then trying once more", told(&error)));
                make_room(&repository, &snapshots, arguments, &pending, log);
                steps::make((&repository, &repository.snapshots()?), &set, arguments, paths, log, reports)?
            }
            made => made?,
        },
    };
    // Before old sets go: the one that growth is measured from may be among them.
    let capacity = capacity::capacity(&manifest, earlier(&repository, &snapshots, &manifest, log).as_ref());
    let kept = match manifest.doubt().or(blind) {
        _ if arguments.keep.append_only => retention::leave(&repository, &arguments.name)?,
        None => retention::apply(&repository, rules(&arguments.keep, arguments), &pending, log)?,
        Some(doubt) => retention::postpone(&repository, &arguments.name, doubt)?,
    };
    let verified = proof::newest(&repository, &snapshots).inspect_err(|error| log.warn(&told(error))).unwrap_or_default();
    let report = manifest.report(kept.retention, kept.sets, kept.oldest, verified, capacity);
    let key = sets::known_by(&secret::read(&paths.of(layout::BACKUP_PASSWORD))?);
    let report = BackedUp { key, listed: kept.listed, ..report };
    Ok((message(&report, kept.trouble), Some(Data::Backup(Box::new(report)))))
}

/// The name of the set that is to be made, or was made already. Whoever comes back later, as when the server of the repository was away in
/// between, is not given a set of before for one of now: an upgrade that fails goes back to it.
fn this_one(repository: &Repository, snapshots: &[Snapshot], asked: &str) -> Result<(String, Option<Manifest>), Error> {
    let mut name = asked.to_owned();
    for number in 2.. {
        let made = snapshots.iter().find(|snapshot| snapshot.is_manifest() && snapshot.set() == Some(&name));
        let Some(snapshot) = made else { break };
        let manifest = manifest::read(repository, &snapshot.id)?;
        if manifest.files.complete && jiff::Timestamp::now().duration_since(snapshot.time) <= OF_NOW {
            return Ok((name, Some(manifest)));
        }
        name = format!("{asked}-{number}");
    }
    Ok((name, None))
}

fn rules<'a>(keep: &'a Keep, arguments: &'a Backup) -> Rules<'a> {
    static NONE: BTreeSet<String> = BTreeSet::new();
    Rules { keep, host: &arguments.name, stays: &NONE }
}

/// Held while the set is made. Where the repository has no volume it is the directory of the files, which all backups of an instance
/// see on the same node.
fn lock(arguments: &Backup, paths: &Paths, log: Log) -> Result<Option<Flock<File>>, volume::Error> {
    if arguments.repository.s3.is_none() {
        return volume::lock(&paths.of(layout::REPOSITORY_LOCK), LOCK_PATIENCE).map(Some);
    }
    match volume::lock_directory(&paths.of(layout::FILES), LOCK_PATIENCE) {
        // Some network file systems lock no directory. restic's own locks keep a repository whole; this one saves work.
        Err(error @ volume::Error::TakeLock(..)) => {
            log.warn(&told(&error));
            Ok(None)
        }
        taken => taken.map(Some),
    }
}

/// The set that growth is measured from.
fn earlier(repository: &Repository, snapshots: &[Snapshot], manifest: &Manifest, log: Log) -> Option<Manifest> {
    let snapshot = capacity::base(snapshots, manifest.created.parse().ok()?)?;
    manifest::read(repository, &snapshot.id).inspect_err(|error| log.warn(&told(error))).ok()
}

/// Lets old sets go before the new one is made, since they would never go otherwise: retention comes after a set.
fn make_room(repository: &Repository, snapshots: &[Snapshot], arguments: &Backup, pending: &Path, log: Log) {
    let newest = snapshots.iter().filter(|snapshot| snapshot.is_manifest()).max_by_key(|snapshot| snapshot.time);
    // A doubtful set pushes out no whole one, here neither: no rule keeps everything.
    let whole = newest.is_none_or(|newest| manifest::read(repository, &newest.id).is_ok_and(|manifest| manifest.doubt().is_none()));
    let keep = if whole { &arguments.keep } else { &Keep::default() };
    if let Err(error) = retention::make_room(repository, rules(keep, arguments), pending, log) {
        log.warn(&format!("no room was made: {}", told(&error)));
    }
}

fn message(report: &BackedUp, trouble: Option<String>) -> String {
    let mut message = format!(
        "set {}: {} rows in {} tables, {} files, {} bytes added in {} s; {} sets in the repository",
        report.set, report.rows, report.tables, report.files, report.bytes_added, report.seconds, report.sets_kept
    );
    if report.files_incomplete {
        message.push_str("; some files could not be read and are not in it: see the log");
    }
    if let Some(shrunk) = &report.shrunk {
        let _ = write!(message, "; it has much less than before: {shrunk}");
    }
    if report.references_without_file > 0 {
        let _ = write!(message, "; {} rows of fileresource have no file", report.references_without_file);
    }
    if let Some(trouble) = trouble {
        message.push_str("; ");
        message.push_str(&trouble);
    }
    message
}
