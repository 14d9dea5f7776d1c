//! `copy`: brings finished sets to a second repository, which has a key of its own, then removes sets by age there.
//!
//! Once a week a share of what was sent before is read back first. Then the newest set first. Of each its parts, then, once all of them are there, its manifest: a set that was cut off half-way does not
//! exist in the copy, and is gone on with. The repository that is copied is only read.

mod error;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use super::Ended;
use super::args::{Address, CopySets};
use super::failure::told;
use super::log::Log;
use super::paths::Paths;
use super::secret;
use super::sets::manifest;
use super::sets::restic::{self, Owner, Repository, Snapshot};
use super::sets::retention::{self, Kept, Rules};
use super::sets::set::Part;
use super::termination::Message;
use crate::layout;
use crate::report::{Copied, Data};
pub use error::Error;

/// After this time no older set is begun: the newest one is there, and is told of. The next run goes on.
const LONGEST: Duration = Duration::from_hours(12);
/// How often restic is asked to copy a set: a backup may remove old sets meanwhile, and pack anew what it reads.
const TRIES: u32 = 3;
/// A copy is read in so many shares, one each week: all of it within a year, over a line that may be thin.
const SHARES: i64 = 52;
const WEEK: i64 = 7 * 24 * 3600;
/// A note that forgotten snapshots still take space. It is gone with the pod: what one has left that was killed goes when the next set does.
const PENDING_PRUNE: &str = ".copy-prune-pending";

/// What the steps have in common.
struct Work<'a> {
    source: &'a Repository,
    target: &'a Repository,
    host: &'a str,
    log: Log,
}

/// Copies what is missing.
pub fn copy(arguments: &CopySets, paths: &Paths, log: Log, reports: &Message) -> Result<Ended, Error> {
    reports.waiting(&format!("copying backup sets to {}", arguments.copy), log);
    let start = Instant::now();
    let key = secret::read(&paths.of(layout::COPY_PASSWORD)).map_err(|error| Error::Key(arguments.copy.clone(), error))?;
    let from = Address { s3: arguments.from_s3.clone(), ..arguments.repository.clone() };
    let source = Repository::to_be_copied(&from, paths).map_err(Error::Source)?;
    let owner = Owner { instance: &arguments.instance, name: &arguments.name, adopt: arguments.adopt };
    let target = Repository::copy(&arguments.repository, paths, &owner, &source).map_err(Error::Copy)?;
    let work = Work { source: &source, target: &target, host: &arguments.name, log };

    work.read_a_share()?;
    let Sets { newest, names, added, trouble } = work.sets(start)?;
    let trouble = trouble.or(work.proofs(&names).map_err(|error| told(&error)).err());
    let there = target.snapshots().map_err(Error::Copy)?;
    let manifest = manifest_of(&there, &newest).ok_or_else(|| Error::Incomplete(newest.clone()))?;
    let manifest = manifest::read(&target, &manifest.id).map_err(|error| Error::Manifest(newest, error))?;
    let kept = work.retain(arguments, manifest.doubt(), &names).map_err(Error::Copy)?;
    let bytes = added.then(|| target.bytes().inspect_err(|error| log.warn(&told(error))).ok()).flatten();
    let report = Copied {
        copy: arguments.copy.clone(),
        repository: arguments.repository.s3.clone().unwrap_or_default(),
        set: manifest.set,
        created: manifest.created,
        copied: format!("{:.0}", jiff::Timestamp::now()),
        sets: kept.sets,
        missing: u64::try_from(names.iter().filter(|set| manifest_of(&there, set).is_none()).count()).unwrap_or(u64::MAX),
        bytes,
        seconds: start.elapsed().as_secs(),
        retention: kept.retention,
        key: super::sets::known_by(&key),
    };
    Ok((message(&report, [trouble, kept.trouble]), Some(Data::Copy(report))))
}

/// What is in the copy now.
struct Sets {
    /// The newest set of the repository, which is in the copy.
    newest: String,
    /// All sets of the repository.
    names: BTreeSet<String>,
    /// Was something added to the copy?
    added: bool,
    /// Why an older set is not in it.
    trouble: Option<String>,
}

impl Work<'_> {
    /// Before the first set of a week is sent, which may need what was sent before: reads a share of that back. What is found to be damaged
    /// keeps being found, since nothing more is sent then.
    fn read_a_share(&self) -> Result<(), Error> {
        let week = |repository: &Repository| {
            let snapshots = repository.snapshots()?;
            Ok(manifests(&snapshots, self.host).first().map(|manifest| manifest.time.as_second().div_euclid(WEEK)))
        };
        let (here, there) = (week(self.source).map_err(Error::Source)?, week(self.target).map_err(Error::Copy)?);
        let (Some(this), true) = (here, there.is_some() && there < here) else { return Ok(()) };
        let share = this.rem_euclid(SHARES) + 1;
        self.log.info(&format!("reading share {share} of {SHARES} of the copy"));
        let share = format!("--read-data-subset={share}/{SHARES}");
        // Nobody else writes here, and a lock that locks others out could stay where nothing is let be removed.
        let check = |command: &mut Command| _ = command.args(["check", "--no-lock", &share]);
        self.target.run("read a share of the copy", check, None, restic::UNTIL_STALE).map(drop).map_err(Error::reading)
    }

    /// Copies the sets that the copy lacks, the newest first.
    fn sets(&self, start: Instant) -> Result<Sets, Error> {
        let here = self.source.snapshots().map_err(Error::Source)?;
        let there = self.target.snapshots().map_err(Error::Copy)?;
        let manifests = manifests(&here, self.host);
        let newest = manifests.first().and_then(|manifest| manifest.set()).ok_or(Error::NoSet)?.to_owned();
        let names = manifests.iter().filter_map(|manifest| manifest.set()).map(str::to_owned).collect();
        let (mut added, mut failure) = (false, None);
        for manifest in manifests {
            let Some(set) = manifest.set().filter(|set| manifest_of(&there, set).is_none()) else { continue };
            if set != newest && start.elapsed() > LONGEST {
                self.log.info(&format!("set {set} and older ones are left for the next time"));
                break;
            }
            match self.set(&here, manifest, set) {
                Ok(()) => added = true,
                Err(error) => {
                    self.log.warn(&told(&error));
                    let goes_on = error.is_of_the_set();
                    failure.get_or_insert((set.to_owned(), error));
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        match failure {
            // What is in the copy then is of no use to tell: the next run may be better.
            Some((set, error)) if set == newest => Err(error),
            failure => Ok(Sets { newest, names, added, trouble: failure.map(|(_, error)| told(&error)) }),
        }
    }

    fn set(&self, here: &[Snapshot], snapshot: &Snapshot, set: &str) -> Result<(), Error> {
        self.log.info(&format!("copying set {set}"));
        let manifest = manifest::read(self.source, &snapshot.id).map_err(|error| Error::Manifest(set.to_owned(), error))?;
        let named = [&manifest.files.before, &manifest.dump.snapshot, &manifest.files.after];
        let incomplete = || Error::Incomplete(set.to_owned());
        let parts = named.map(|id| here.iter().find(|snapshot| snapshot.is_named(id)).map(|snapshot| snapshot.id.as_str()));
        let parts = parts.into_iter().collect::<Option<Vec<_>>>().ok_or_else(incomplete)?;
        self.snapshots(&parts)?;
        // restic leaves out with a word what has been removed meanwhile, and ends well.
        let there = self.target.snapshots().map_err(Error::Copy)?;
        if !named.into_iter().all(|id| there.iter().any(|snapshot| snapshot.is_named(id))) {
            return Err(incomplete());
        }
        self.snapshots(&[&snapshot.id])
    }

    fn snapshots(&self, ids: &[&str]) -> Result<(), Error> {
        for _ in 1..TRIES {
            match self.target.copy_from(self.source, ids) {
                Err(error @ restic::Error::Failed { .. }) => self.log.warn(&format!("{}: once more", told(&error))),
                ended => return ended.map_err(Error::Copy),
            }
        }
        self.target.copy_from(self.source, ids).map_err(Error::Copy)
    }

    /// Which sets are proven counts in the copy as well: those stay.
    fn proofs(&self, sets: &BTreeSet<String>) -> Result<(), Error> {
        let here = self.source.snapshots().map_err(Error::Source)?;
        let there = self.target.snapshots().map_err(Error::Copy)?;
        let is_copied = |set: &str| sets.contains(set) && manifest_of(&there, set).is_some();
        let proofs = here.iter().filter(|snapshot| snapshot.is(Part::Proof) && snapshot.set().is_some_and(is_copied));
        let named = |proof: &Snapshot| proof.original.clone().unwrap_or_else(|| proof.id.clone());
        let missing = proofs.filter(|proof| !there.iter().any(|snapshot| snapshot.is_named(&named(proof))));
        let missing: Vec<&str> = missing.map(|proof| proof.id.as_str()).collect();
        if missing.is_empty() { Ok(()) } else { self.snapshots(&missing) }
    }

    /// A set that the repository still has stays here too: it would only be sent once more.
    fn retain(&self, arguments: &CopySets, doubt: Option<&str>, sets: &BTreeSet<String>) -> Result<Kept, restic::Error> {
        let rules = Rules { keep: &arguments.keep, host: self.host, stays: sets };
        match doubt {
            _ if arguments.keep.append_only => retention::leave(self.target, self.host),
            None => retention::apply(self.target, rules, &std::env::temp_dir().join(PENDING_PRUNE), self.log),
            Some(doubt) => retention::postpone(self.target, self.host, doubt),
        }
    }
}

/// The manifests of an instance's sets, the newest first. Snapshots of others are none of our business.
fn manifests<'a>(snapshots: &'a [Snapshot], host: &str) -> Vec<&'a Snapshot> {
    let ours = |snapshot: &&Snapshot| snapshot.is_manifest() && snapshot.set().is_some() && snapshot.hostname == host;
    let mut manifests: Vec<&Snapshot> = snapshots.iter().filter(ours).collect();
    manifests.sort_by_key(|manifest| std::cmp::Reverse(manifest.time));
    manifests
}

fn manifest_of<'a>(snapshots: &'a [Snapshot], set: &str) -> Option<&'a Snapshot> {
    snapshots.iter().find(|snapshot| snapshot.is_manifest() && snapshot.set() == Some(set))
}

fn message(report: &Copied, troubles: [Option<String>; 2]) -> String {
    let mut message = format!(
        "copy {} has set {} of {}: {} sets in it, {} of the repository's missing, after {} s",
        report.copy, report.set, report.created, report.sets, report.missing, report.seconds
    );
    for trouble in troubles.into_iter().flatten() {
        let _ = write!(message, "; {trouble}");
    }
    message
}
