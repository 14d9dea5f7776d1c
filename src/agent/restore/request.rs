//! Which set is restored.

use jiff::Timestamp;

use super::Error;
use super::note::Note;
use crate::agent::args::Wanted;
use crate::agent::failure::told;
use crate::agent::log::Log;
use crate::agent::sets::manifest::{self, Manifest};
use crate::agent::sets::restic::{Repository, Snapshot};
use crate::agent::sets::restore;

impl Wanted {
    /// Whether this set, once chosen, is an answer for good: the newest of all was the newest when it was chosen.
    pub fn is_met_by(&self, set: &str, created: &str) -> bool {
        self.set.as_deref().is_none_or(|asked| asked == set) && self.before.is_none_or(|before| is_of(created, before))
    }

    /// In words.
    pub fn told(&self) -> String {
        match (&self.set, self.before) {
            (Some(set), _) => format!("set {set}"),
            (None, Some(before)) => format!("the newest set of {before} or before"),
            (None, None) => "the newest set".to_owned(),
        }
    }
}

/// Whether it is of that moment or of an earlier one.
fn is_of(created: &str, before: Timestamp) -> bool {
    created.parse::<Timestamp>().is_ok_and(|created| created <= before)
}

/// The manifest of the set that an earlier run has chosen, or of the one that is wanted.
pub fn choose(wanted: &Wanted, noted: Option<&Note>, repository: &Repository, snapshots: &[Snapshot], log: Log) -> Result<Manifest, Error> {
    let now = Timestamp::now();
    let read = |snapshot: &Snapshot| manifest::read(repository, &snapshot.id).map_err(restore::Error::manifest);
    if let Some(note) = noted.filter(|note| wanted.is_met_by(&note.set, &note.created)) {
        if let Ok(snapshot) = restore::find(snapshots, Some(&note.set), now) {
            log.info(&format!("an interrupted restore has chosen set {}: going on with it", note.set));
            return Ok(read(snapshot)?);
        }
        log.warn(&format!("an interrupted restore has chosen set {}, which has been removed since: choosing anew", note.set));
    }
    let Some(before) = wanted.before else {
        return Ok(read(restore::find(snapshots, wanted.set.as_deref(), now)?)?);
    };
    let mut manifests: Vec<&Snapshot> = snapshots.iter().filter(|snapshot| snapshot.is_manifest()).collect();
    manifests.sort_by_key(|manifest| std::cmp::Reverse(manifest.time));
    let mut oldest = None;
    for snapshot in manifests {
        match read(snapshot) {
            Ok(manifest) if is_of(&manifest.created, before) => return Ok(manifest),
            Ok(manifest) => oldest = Some((manifest.set, manifest.created)),
            // It may be the one that is wanted: nothing older is restored in its place without a word.
            Err(error) if snapshot.time <= before => return Err(error.into()),
            Err(error) => log.warn(&told(&error)),
        }
    }
    Err(oldest.map_or(Error::Restore(restore::Error::NoSet(None)), |(set, created)| Error::NoneBefore { before, set, created }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(set: Option<&str>, before: Option<&str>) -> Wanted {
        Wanted { set: set.map(str::to_owned), before: before.map(|before| before.parse().unwrap()) }
    }

    #[test]
    fn a_set_that_was_chosen_stays_the_answer_as_long_as_it_is_one() {
        let met = |set, before| wanted(set, before).is_met_by("set-1", "2026-11-25T01:00:00Z");
        assert!(met(None, None));
        assert!(met(Some("set-1"), None));
        assert!(!met(Some("set-2"), None));
        assert!(met(None, Some("2026-11-25T01:00:00Z")));
        assert!(met(None, Some("2026-11-25T05:00:00+03:00")));
        assert!(!met(None, Some("2026-11-25T00:59:59Z")));
        assert!(!wanted(None, Some("2026-11-25T01:00:00Z")).is_met_by("set-1", "yesterday"));
    }
}
