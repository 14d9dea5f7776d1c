//! The sets of a repository, as its snapshots tell: no manifest is read for it, which over a bad line takes seconds each.

use std::cmp::Reverse;

use crate::agent::sets::restic::Snapshot;
use crate::agent::sets::set::Part;
use crate::report::{Listed, MAX_LISTED};

/// The sets, newest first, as many as a report takes. `host`: namespace and name of the instance that asks.
pub fn of(snapshots: &[Snapshot], host: &str) -> Vec<Listed> {
    let mut manifests: Vec<&Snapshot> = snapshots.iter().filter(|snapshot| snapshot.is_manifest()).collect();
    manifests.sort_by_key(|manifest| Reverse(manifest.time));
    let mut room = MAX_LISTED;
    let sets = manifests.into_iter().filter_map(|manifest| listed(manifest, snapshots, host));
    sets.take_while(|set| {
        let bytes = serde_json::to_string(set).map_or(0, |json| json.len() + 1);
        let fits = bytes <= room;
        room = room.saturating_sub(bytes);
        fits
    })
    .collect()
}

fn listed(manifest: &Snapshot, snapshots: &[Snapshot], host: &str) -> Option<Listed> {
    let set = manifest.set()?;
    let parts = |part: Part| snapshots.iter().filter(move |snapshot| snapshot.is(part) && snapshot.set() == Some(set));
    // The manifest is written at the end of the backup, the database is that of the dump's beginning. One that was tried twice has two.
    let dumped = parts(Part::Dump).filter(|dump| dump.time <= manifest.time).map(|dump| dump.time).max();
    Some(Listed {
        set: set.to_owned(),
        time: dumped.unwrap_or(manifest.time).as_second(),
        proven: parts(Part::Proof).map(|proof| proof.time.as_second()).max(),
        source: (manifest.hostname != host).then(|| manifest.hostname.clone()),
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn snapshot(set: &str, part: Part, second: i64, host: &str) -> Snapshot {
        let time = Timestamp::from_second(second).unwrap();
        let tags = vec![format!("set={set}"), part.tag()];
        Snapshot { id: format!("{set}-{second}"), original: None, time, hostname: host.to_owned(), tags, paths: Vec::new() }
    }

    #[test]
    fn sets_are_told_with_their_moment_their_proof_and_who_else_made_them() {
        let mine = "demo/play";
        let there = [
            snapshot("old", Part::Manifest, 90, "there/lost"),
            snapshot("a", Part::Dump, 100, mine),
            snapshot("a", Part::Dump, 110, mine),
            snapshot("a", Part::Manifest, 120, mine),
            snapshot("half", Part::Dump, 130, mine),
            snapshot("a", Part::Proof, 140, mine),
            snapshot("a", Part::Proof, 150, mine),
            snapshot("b", Part::Manifest, 160, mine),
        ];
        let listed =
            |set: &str, time, proven, source: Option<&str>| Listed { set: set.into(), time, proven, source: source.map(Into::into) };
        let expected = [listed("b", 160, None, None), listed("a", 110, Some(150), None), listed("old", 90, None, Some("there/lost"))];
        assert_eq!(of(&there, mine), expected);
    }

    #[test]
    fn of_very_many_the_newest_are_told() {
        let name = |number: i64| format!("{}-backup-{number}", "a".repeat(40));
        let there: Vec<Snapshot> = (0..1000).map(|number| snapshot(&name(number), Part::Manifest, number, "demo/play")).collect();
        let told = of(&there, "demo/play");
        assert!(told.len() > 20 && serde_json::to_string(&told).unwrap().len() <= MAX_LISTED + 2, "{}", told.len());
        assert_eq!(told[0].set, name(999));
    }
}
