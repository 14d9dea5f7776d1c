//! `verify`: restores a set on scratch space, with a private PostgreSQL, and compares it with its manifest.
//!
//! database → compare → files → compare → a share of the repository → proof. Nothing but the proof is written outside the scratch space,
//! which is empty again at the end.

mod application;
mod error;
mod scratch;

use std::fmt::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Ended;
use super::args::Verify;
use super::failure::told;
use super::log::Log;
use super::paths::Paths;
use super::postgres::programs::Programs;
use super::sets::manifest::{self, Manifest};
use super::sets::proof;
use super::sets::restic::Repository;
use super::sets::restore::{self, Restore};
use super::sets::set::Label;
use super::termination::Message;
use crate::report::{Data, Verified};
pub use application::prove;
pub use error::Error;
use scratch::Scratch;

/// The repository is read in so many shares, one each week: all of it within five months.
const SHARES: i64 = 20;
/// To check a repository it must be locked against backups, and one of those may run for hours.
const PATIENCE: Duration = Duration::from_hours(12);

/// Restores the set, compares it and notes that it is proven.
pub fn verify(arguments: &Verify, paths: &Paths, log: Log, reports: &Message) -> Result<Ended, Error> {
    reports.waiting("restoring a backup set on scratch space", log);
    let opened = match &arguments.copy {
        Some(_) => Repository::existing_copy(&arguments.repository, paths),
        None => Repository::existing(&arguments.repository, paths),
    };
    let repository = opened?;
    let snapshots = repository.snapshots()?;
    let chosen = restore::find(&snapshots, arguments.set.as_deref(), Timestamp::now())?;
    let manifest = manifest::read(&repository, &chosen.id).map_err(restore::Error::manifest)?;
    let scratch = Scratch::take(paths)?;
    let start = Instant::now();
    let (database, files) = (&scratch.database, &scratch.files);
    let restore = Restore { repository: &repository, snapshots: &snapshots, manifest: &manifest, database, files, all_files: true, log };
    all(&restore)?;
    let seconds = start.elapsed().as_secs();
    drop(scratch);
    let label = Label { set: &manifest.set, instance: &arguments.instance, name: &arguments.name };
    // Of a copy a share is read where sets are copied.
    if arguments.copy.is_none() {
        read_a_share(&repository, log)?;
    }
    let copy = arguments.copy.as_ref().and(arguments.repository.s3.clone());
    Ok(proven(&repository, &manifest, &label, Verified { copy, ..of(&manifest, seconds) }))
}

/// What is known once it is restored.
fn of(manifest: &Manifest, seconds: u64) -> Verified {
    Verified {
        set: manifest.set.clone(),
        created: manifest.created.clone(),
        verified: format!("{:.0}", Timestamp::now()),
        seconds,
        bytes: manifest.dump.bytes + manifest.files.bytes,
        start_seconds: None,
        copy: None,
    }
}

/// What was restored is right: notes the proof.
fn proven(repository: &Repository, manifest: &Manifest, label: &Label<'_>, proof: Verified) -> Ended {
    let mut message = message(manifest, &proof);
    if let Err(error) = proof::write(repository, label, &proof) {
        // It is proven all the same; only whoever removes old sets does not know.
        let _ = write!(message, "; the proof could not be noted in the repository: {}", told(&error));
    }
    (message, Some(Data::Verify(proof)))
}

/// Restores database and files and compares both.
fn all(restore: &Restore<'_>) -> Result<(), Error> {
    restore.check()?;
    restore.files.volume.takes(restore.database_bytes().saturating_add(restore.manifest.files.bytes))?;
    let programs = Programs::find(restore.major()?)?;
    restore.database(&programs, &restore.credentials()?)?.stop().map_err(restore::Error::from)?;
    restore.files()?;
    Ok(())
}

/// Each week another share of everything that the repository holds, whatever set it belongs to: what is damaged where it lies is found
/// before it is needed.
fn read_a_share(repository: &Repository, log: Log) -> Result<(), Error> {
    let share = Timestamp::now().as_second() / (7 * 24 * 3600) % SHARES + 1;
    log.info(&format!("reading share {share} of {SHARES} of the repository"));
    let share = format!("--read-data-subset={share}/{SHARES}");
    let check = |command: &mut Command| _ = command.args(["check", &share]);
    repository.run("read a share of the repository", check, None, PATIENCE).map(drop).map_err(|error| restore::Error::damaged(error).into())
}

fn message(manifest: &Manifest, proof: &Verified) -> String {
    let rows: u64 = manifest.contents.rows.values().sum();
    let serves = proof.start_seconds.map(|seconds| format!("; DHIS2 serves on it after {seconds} s")).unwrap_or_default();
    let place = proof.copy.as_ref().map(|place| format!(" from {place}")).unwrap_or_default();
    format!(
        "set {} can be restored{place}: {rows} rows in {} tables and {} files, as its manifest says, in {} s{serves}",
        proof.set,
        manifest.contents.rows.len(),
        manifest.files.count,
        proof.seconds
    )
}
