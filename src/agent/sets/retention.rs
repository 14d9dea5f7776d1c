//! Which sets stay. Decided on manifests, by restic's own rules; then exactly the snapshots of the other sets are forgotten, the
//! manifests first, so that a kill in between leaves parts of no set, never a set without parts.

mod list;
mod one;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::agent::args::Keep;
use crate::agent::failure::{Failure, told};
use crate::agent::log::Log;
use crate::agent::sets::restic::{self, Repository, SKEW, Snapshot};
use crate::agent::sets::set::Part;
use crate::report::{Listed, Retention};

/// Parts without a manifest may belong to a set that is being made elsewhere, or whose Job is about to be tried again.
const ORPHAN_AGE: SignedDuration = SignedDuration::from_hours(48);
/// Forgetting needs the repository alone. It can wait for the next backup, so it does not wait long for others.
const PATIENCE: Duration = Duration::from_secs(20);

pub use one::{Needed, remove_one};

/// A retention that went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// restic failed.
    #[error(transparent)]
    Restic(#[from] restic::Error),
    /// By time the sets are not in the order in which they were made: the newest would go as the oldest.
    #[error(
        "set {set} is of {time:.0}, which is to come: the clock of a node was or is wrong; correct it, and if that set is not needed, remove it: by deletionPolicy Delete of its Dhis2Backup, or by restic forget {id}"
    )]
    Future {
        /// The set.
        set: String,
        /// Its time.
        time: Timestamp,
        /// Its manifest's snapshot.
        id: String,
    },
    /// Whoever removes sets locks others out, and a lock that stays does so for good.
    #[error(
        "the server lets no lock of restic's be removed, and a set that takes longer than twenty minutes needs that: let the key delete what is below the prefix, locks/ at least (s3:DeleteObject), and give a bucket with object lock versions"
    )]
    LocksStay,
    /// restic ends well even if the server refuses.
    #[error(
        "{0} of their snapshots are still there: the bucket or its key, or the volume, lets them not be removed; let it (s3:DeleteObject below the prefix), or set appendOnly: true where somebody else removes sets"
    )]
    Stay(usize),
    /// The note that space is to be freed can't be kept.
    #[error("note in {0} that space is to be freed")]
    Note(PathBuf, #[source] io::Error),
}

impl Failure for Error {}

/// Which sets stay.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// restic's rules.
    pub keep: &'a Keep,
    /// Namespace and name of the instance, the host of the sets that they are about.
    pub host: &'a str,
    /// Sets that stay whatever the rules say.
    pub stays: &'a BTreeSet<String>,
}

/// What is to be forgotten.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    manifests: Vec<String>,
    parts: Vec<String>,
}

/// What the repository holds afterwards.
#[derive(Debug)]
pub struct Kept {
    /// How it went.
    pub retention: Retention,
    /// Why it did not go well.
    pub trouble: Option<String>,
    /// Number of sets.
    pub sets: u64,
    /// Time of the oldest.
    pub oldest: String,
    /// The sets, newest first, as many as can be told.
    pub listed: Vec<Listed>,
}

/// Removes what is not to be kept. Whatever becomes of it, the sets in the repository count.
pub fn apply(repository: &Repository, rules: Rules<'_>, pending: &Path, log: Log) -> Result<Kept, restic::Error> {
    let before = repository.snapshots()?;
    let (retention, trouble) = match remove(repository, &before, rules, pending, log) {
        Ok(Removed::Nothing) => return Ok(of(&before, rules.host, Retention::Done, None)),
        Ok(Removed::Some) => (Retention::Done, None),
        Err(Error::Restic(restic::Error::Locked(_))) => {
            let trouble = "old sets are left for the next backup, since somebody else uses the repository".to_owned();
            (Retention::Postponed, Some(trouble))
        }
        Err(Error::Restic(restic::Error::Interrupted(_))) => {
            (Retention::Postponed, Some("old sets are left for the next backup, since this one was ended".to_owned()))
        }
        // It will be past at the next backup.
        Err(Error::Future { time, .. }) if time.duration_since(Timestamp::now()) <= SKEW => {
            (Retention::Postponed, Some("old sets are left for the next backup, since the clocks of two nodes differ".to_owned()))
        }
        Err(error) => (Retention::Failed, Some(format!("old sets could not be removed: {}", told(&error)))),
    };
    kept(repository, rules.host, retention, trouble)
}

/// Removes nothing after a set that is in doubt: it must push out none that is whole.
pub fn postpone(repository: &Repository, host: &str, doubt: &str) -> Result<Kept, restic::Error> {
    kept(repository, host, Retention::Postponed, Some(format!("old sets are left, since {doubt}")))
}

/// Removes nothing, since that is somebody else's.
pub fn leave(repository: &Repository, host: &str) -> Result<Kept, restic::Error> {
    let trouble = repository.keeps_locks().then(|| Error::LocksStay.to_string());
    kept(repository, host, Retention::Done, trouble)
}

fn kept(repository: &Repository, host: &str, retention: Retention, trouble: Option<String>) -> Result<Kept, restic::Error> {
    Ok(of(&repository.snapshots()?, host, retention, trouble))
}

fn of(snapshots: &[Snapshot], host: &str, retention: Retention, trouble: Option<String>) -> Kept {
    let manifests: Vec<&Snapshot> = snapshots.iter().filter(|snapshot| snapshot.is_manifest()).collect();
    let oldest = manifests.iter().map(|manifest| manifest.time).min();
    let sets = manifests.iter().filter_map(|manifest| manifest.set()).collect::<BTreeSet<_>>().len();
    Kept {
        retention,
        trouble,
        sets: u64::try_from(sets).unwrap_or(u64::MAX),
        oldest: oldest.map(|time| format!("{time:.0}")).unwrap_or_default(),
        listed: list::of(snapshots, host),
    }
}

/// Makes room for a set that found none: what is not to be kept goes, then every pack that nothing uses. No pack is written anew,
/// which would take space itself.
pub fn make_room(repository: &Repository, rules: Rules<'_>, pending: &Path, log: Log) -> Result<(), Error> {
    forget_surplus(repository, &repository.snapshots()?, rules, pending, log)?;
    let prune = |command: &mut Command| _ = command.args(["prune", "--max-repack-size=0"]);
    repository.run("free space in the full repository", prune, None, PATIENCE)?;
    Ok(())
}

/// Whether any snapshot went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Removed {
    Nothing,
    Some,
}

fn remove(repository: &Repository, snapshots: &[Snapshot], rules: Rules<'_>, pending: &Path, log: Log) -> Result<Removed, Error> {
    let removed = forget_surplus(repository, snapshots, rules, pending, log)?;
    free(repository, pending, log)?;
    Ok(removed)
}

/// Frees what forgotten snapshots take, if a note says that some do.
fn free(repository: &Repository, pending: &Path, log: Log) -> Result<(), Error> {
    if pending.exists() {
        log.info("freeing space in the repository");
        repository.run("free space in the repository", |command| _ = command.arg("prune"), None, PATIENCE)?;
        fs::remove_file(pending).map_err(|error| Error::Note(pending.to_owned(), error))?;
    }
    Ok(())
}

fn forget_surplus(repository: &Repository, snapshots: &[Snapshot], rules: Rules<'_>, pending: &Path, log: Log) -> Result<Removed, Error> {
    if repository.keeps_locks() {
        return Err(Error::LocksStay);
    }
    let now = Timestamp::now();
    are_past(snapshots, now)?;
    let plan = plan(snapshots, &surplus(repository, rules)?, rules, now);
    if plan.manifests.is_empty() && plan.parts.is_empty() {
        return Ok(Removed::Nothing);
    }
    forget_planned(repository, &plan, pending, log)?;
    Ok(Removed::Some)
}

fn forget_planned(repository: &Repository, plan: &Plan, pending: &Path, log: Log) -> Result<(), Error> {
    log.info(&format!("removing {} sets, {} snapshots of sets that are no more", plan.manifests.len(), plan.parts.len()));
    // Written before anything is forgotten: a run that is killed before it has pruned leaves the note for the next one.
    File::create(pending).and_then(|file| file.sync_all()).map_err(|error| Error::Note(pending.to_owned(), error))?;
    forget(repository, "forget manifests", &plan.manifests)?;
    forget(repository, "forget parts of sets", &plan.parts)
}

fn forget(repository: &Repository, step: &'static str, ids: &[String]) -> Result<(), Error> {
    if ids.is_empty() {
        return Ok(());
    }
    repository.run(step, |command| _ = command.arg("forget").args(ids), None, PATIENCE)?;
    let left = repository.snapshots()?.iter().filter(|snapshot| ids.contains(&snapshot.id)).count();
    if left > 0 { Err(Error::Stay(left)) } else { Ok(()) }
}

/// The manifests that restic's rules would let go.
fn surplus(repository: &Repository, Rules { keep, host, .. }: Rules<'_>) -> Result<Vec<String>, restic::Error> {
    #[derive(Deserialize)]
    struct Group {
        remove: Option<Vec<Snapshot>>,
    }
    let rules = flags(keep);
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let arguments = |command: &mut Command| {
        command
            .args(["forget", "--dry-run", "--no-lock", "--group-by", "host", "--host", host])
            .args(["--tag", &Part::Manifest.tag()])
            .args(&rules);
    };
    let groups: Vec<Group> = repository.ask("decide which sets to keep", arguments)?;
    Ok(groups.into_iter().filter_map(|group| group.remove).flatten().map(|snapshot| snapshot.id).collect())
}

/// restic's flags. It takes 0 for "no such rule", and without any rule it refuses: then everything is kept.
fn flags(keep: &Keep) -> Vec<String> {
    let rules = [
        ("last", keep.keep_last),
        ("daily", keep.keep_daily),
        ("weekly", keep.keep_weekly),
        ("monthly", keep.keep_monthly),
        ("yearly", keep.keep_yearly),
    ];
    rules.iter().filter(|(_, number)| *number > 0).map(|(rule, number)| format!("--keep-{rule}={number}")).collect()
}

/// Is every set of a moment that was?
fn are_past(snapshots: &[Snapshot], now: Timestamp) -> Result<(), Error> {
    let newest = snapshots.iter().filter(|snapshot| snapshot.is_manifest()).max_by_key(|manifest| manifest.time);
    let future = newest.filter(|manifest| manifest.time > now);
    future.map_or(Ok(()), |manifest| {
        let set = manifest.set().unwrap_or_default().to_owned();
        Err(Error::Future { set, time: manifest.time, id: manifest.id.chars().take(8).collect() })
    })
}

/// The exact snapshots to forget. Snapshots that carry no set are somebody's own and none of our business.
fn plan(snapshots: &[Snapshot], surplus: &[String], rules: Rules<'_>, now: Timestamp) -> Plan {
    let manifests = || snapshots.iter().filter(|snapshot| snapshot.is_manifest());
    let newest = manifests().max_by_key(|manifest| manifest.time).map(|manifest| &manifest.id);
    let is_proven = |manifest: &&Snapshot| snapshots.iter().any(|proof| proof.is(Part::Proof) && proof.set() == manifest.set());
    let proven = manifests().filter(is_proven).map(|manifest| manifest.time).max();
    // What is younger than the newest proven set may be damaged, that set itself is the one that is sure. Without tests to come,
    // the younger ones would never go.
    let sure = |manifest: &Snapshot| {
        proven.is_some_and(|proven| if rules.keep.verify_suspended { manifest.time == proven } else { manifest.time >= proven })
    };
    let stays = |manifest: &Snapshot| manifest.set().is_some_and(|set| rules.stays.contains(set));
    let goes = |manifest: &Snapshot| surplus.contains(&manifest.id) && Some(&manifest.id) != newest && !sure(manifest) && !stays(manifest);
    let kept = manifests().filter(|manifest| !goes(manifest)).filter_map(Snapshot::set);
    let kept: BTreeSet<&str> = kept.chain(rules.stays.iter().map(String::as_str)).collect();
    let gone: BTreeSet<&str> = manifests().filter(|manifest| goes(manifest)).filter_map(Snapshot::set).collect();
    let part_goes = |part: &&Snapshot| {
        let orphan = now.duration_since(part.time) > ORPHAN_AGE;
        part.set().is_some_and(|set| !kept.contains(set) && (gone.contains(set) || orphan))
    };
    Plan {
        manifests: manifests().filter(|manifest| goes(manifest)).map(|manifest| manifest.id.clone()).collect(),
        parts: snapshots.iter().filter(|snapshot| !snapshot.is_manifest()).filter(part_goes).map(|part| part.id.clone()).collect(),
    }
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
