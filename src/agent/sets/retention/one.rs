//! One set that a person wants to be gone, whatever the rules say: all but the two that a restore may have to fall back on.

use std::path::Path;

use jiff::Timestamp;

use super::{Error, Plan, forget_planned, free};
use crate::agent::log::Log;
use crate::agent::sets::restic::{Repository, Snapshot};
use crate::agent::sets::set::Part;

/// Why a set stays all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// No other is as new.
    Newest,
    /// It is the one that is sure.
    Proven,
}

/// Removes a set and frees its space. `false`: there is none of this name.
pub fn remove_one(repository: &Repository, set: &str, pending: &Path, log: Log) -> Result<Result<bool, Needed>, Error> {
    if repository.keeps_locks() {
        return Err(Error::LocksStay);
    }
    let snapshots = repository.snapshots()?;
    if let Some(needed) = needed(&snapshots, set, Timestamp::now()) {
        return Ok(Err(needed));
    }
    let parts = |manifests: bool| {
        let of_it = snapshots.iter().filter(move |snapshot| snapshot.set() == Some(set) && snapshot.is_manifest() == manifests);
        of_it.map(|snapshot| snapshot.id.clone()).collect::<Vec<_>>()
    };
    let plan = Plan { manifests: parts(true), parts: parts(false) };
    let there = !plan.manifests.is_empty() || !plan.parts.is_empty();
    if there {
        forget_planned(repository, &plan, pending, log)?;
    }
    free(repository, pending, log)?;
    Ok(Ok(there))
}

/// A set whose manifest is gone is none, and its parts may go. One that is to come is the newest for a wrong clock only, unless all are.
fn needed(snapshots: &[Snapshot], set: &str, now: Timestamp) -> Option<Needed> {
    let manifests = || snapshots.iter().filter(|snapshot| snapshot.is_manifest());
    let is_it = |manifest: Option<&Snapshot>| manifest.is_some_and(|manifest| manifest.set() == Some(set));
    if is_it(manifests().max_by_key(|manifest| (!manifest.is_to_come(now), manifest.time))) {
        return Some(Needed::Newest);
    }
    let is_proven = |manifest: &&Snapshot| snapshots.iter().any(|proof| proof.is(Part::Proof) && proof.set() == manifest.set());
    is_it(manifests().filter(is_proven).max_by_key(|manifest| manifest.time)).then_some(Needed::Proven)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_set_and_the_newest_proven_one_are_needed() {
        let snapshot = |set: &str, part: Part, second| Snapshot {
            id: format!("{set}-{second}"),
            original: None,
            time: Timestamp::from_second(second).unwrap(),
            hostname: String::new(),
            tags: vec![format!("set={set}"), part.tag()],
            paths: Vec::new(),
        };
        let mut there = vec![
            snapshot("a", Part::Manifest, 1),
            snapshot("b", Part::Manifest, 2),
            snapshot("c", Part::Manifest, 3),
            snapshot("half", Part::Dump, 4),
        ];
        let at = |second| Timestamp::from_second(second).unwrap();
        let needed_of = |there: &[Snapshot]| ["a", "b", "c", "half", "none"].map(|set| needed(there, set, at(10)));
        assert_eq!(needed_of(&there), [None, None, Some(Needed::Newest), None, None]);
        there.extend([snapshot("b", Part::Proof, 5), snapshot("a", Part::Proof, 6)]);
        assert_eq!(needed_of(&there), [None, Some(Needed::Proven), Some(Needed::Newest), None, None], "a is older, though proven later");
        there.push(snapshot("c", Part::Proof, 7));
        let newest = |there: &[Snapshot], now| ["a", "b", "c"].into_iter().find(|set| needed(there, set, at(now)) == Some(Needed::Newest));
        there.push(snapshot("of-2031", Part::Manifest, 2_000_000_000));
        assert_eq!((newest(&there, 10), needed(&there, "of-2031", at(10))), (Some("c"), None), "a clock was wrong");
        assert_eq!(needed(&there, "of-2031", at(-2000)), Some(Needed::Newest), "this one's is");
    }
}
