//! Does a set hold much less than one before it? A proven set of damaged data is still damaged: until a person has looked at it, no
//! older set may go.

use crate::agent::sets::manifest::{Contents, Manifest, Shrunk};

/// What people enter, by the names that its tables have had: 2.41 renamed those of the tracker, 2.43 has split that of events
/// (dhis2-core, migration notes). What DHIS2 itself clears up, such as messages, audits and jobs, is not among it.
const KINDS: [(&str, &[&str]); 11] = [
    ("data values", &["datavalue"]),
    ("tracked entities", &["trackedentity", "trackedentityinstance"]),
    ("enrollments", &["enrollment", "programinstance"]),
    ("events", &["event", "trackerevent", "singleevent", "programstageinstance"]),
    ("attribute values", &["trackedentityattributevalue"]),
    ("organisation units", &["organisationunit"]),
    ("users", &["userinfo"]),
    ("data elements", &["dataelement"]),
    ("indicators", &["indicator"]),
    ("data sets", &["dataset"]),
    ("programs", &["program"]),
];
/// Fewer than these are lost every day, and nobody needs to hear of it.
const FEW: u64 = 10;
/// A loss of a fifth is told: more than what people tidy up in a day.
const FIFTH: u64 = 5;

/// The set that a new one is held against: the one before it, unless that was found to be too small itself. Then it is the one that was
/// whole, until a person has accepted a newer one.
pub fn base<'a>(manifests: &'a [Manifest], accepted: Option<&str>) -> Option<&'a Manifest> {
    let named = |name: &str| manifests.iter().find(|manifest| manifest.set == name);
    let previous = manifests.iter().max_by(|a, b| a.created.cmp(&b.created))?;
    let Some(shrunk) = &previous.shrunk else { return Some(previous) };
    let whole = named(&shrunk.than);
    let accepted = accepted.and_then(named);
    [whole, accepted].into_iter().flatten().max_by(|a, b| a.created.cmp(&b.created)).or(Some(previous))
}

/// What `now` has much less of than `before`.
pub fn shrunk(before: &Manifest, now: &Manifest) -> Option<Shrunk> {
    let files = (before.files.count, now.files.count);
    let rows = KINDS.iter().filter_map(|(kind, names)| Some((*kind, (rows(&before.contents, names)?, rows(&now.contents, names)?))));
    let lost = rows.chain([("files", files)]).filter(|(_, (before, now))| is_much(*before, *now));
    let lost: Vec<String> = lost.map(|(kind, (before, now))| format!("{now} {kind} of {before}")).chain(orphans(before, now)).collect();
    (!lost.is_empty()).then(|| Shrunk { than: before.set.clone(), what: lost.join(", ") })
}

/// Files are lost one by one as well: what still has its row, and has no file any more, nobody has deleted in DHIS2.
fn orphans(before: &Manifest, now: &Manifest) -> Option<String> {
    let (had, have) = (before.files.references_without_file, now.files.references_without_file);
    (have.saturating_sub(had) >= FEW).then(|| format!("{have} file resources without their file instead of {had}"))
}

/// Rows of all tables of these names; none where no such table is: a release that renames it once more must alarm nobody.
fn rows(contents: &Contents, names: &[&str]) -> Option<u64> {
    let there: Vec<u64> = names.iter().filter_map(|name| contents.rows.get(&format!("public.{name}"))).copied().collect();
    (!there.is_empty()).then(|| there.iter().sum())
}

fn is_much(before: u64, now: u64) -> bool {
    let lost = before.saturating_sub(now);
    lost >= FEW && lost >= before / FIFTH
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::sets::manifest::fixture;

    fn set(name: &str, day: u32, rows: &[(&str, u64)], files: u64) -> Manifest {
        let mut set = fixture::manifest(name, &format!("2026-11-{day:02}T01:00:00Z"));
        set.contents.rows = rows.iter().map(|(table, rows)| (format!("public.{table}"), *rows)).collect();
        set.files.count = files;
        set
    }

    fn told(before: &[(&str, u64)], now: &[(&str, u64)]) -> Option<String> {
        shrunk(&set("a", 1, before, 0), &set("b", 2, now, 0)).map(|shrunk| shrunk.what)
    }

    #[test]
    fn a_loss_is_told_that_nobody_tidies_up_in_a_day() {
        assert_eq!(told(&[("datavalue", 1000)], &[("datavalue", 801)]), None);
        assert_eq!(told(&[("datavalue", 1000)], &[("datavalue", 800)]).as_deref(), Some("800 data values of 1000"));
        assert_eq!(told(&[("userinfo", 12)], &[("userinfo", 3)]), None, "nine users are few");
        assert_eq!(told(&[("userinfo", 12)], &[("userinfo", 2)]).as_deref(), Some("2 users of 12"));
        assert_eq!(told(&[("message", 1000)], &[("message", 0)]), None, "DHIS2 clears them up itself");
        let files = shrunk(&set("a", 1, &[], 100), &set("b", 2, &[], 80)).unwrap();
        assert_eq!((files.than.as_str(), files.what.as_str()), ("a", "80 files of 100"));
    }

    #[test]
    fn files_that_are_gone_from_under_their_rows_are_told() {
        let told = |before: u64, now: u64| {
            let [before, now] = [("a", 1, before), ("b", 2, now)].map(|(name, day, orphans)| {
                let mut set = set(name, day, &[], 10_000);
                set.files.references_without_file = orphans;
                set
            });
            shrunk(&before, &now).map(|shrunk| shrunk.what)
        };
        assert_eq!(told(7, 16), None, "uploads that were given up");
        assert_eq!(told(7, 17).as_deref(), Some("17 file resources without their file instead of 7"));
        assert_eq!(told(500, 400), None);
    }

    #[test]
    fn a_table_that_has_another_name_is_not_lost() {
        let old = [("programstageinstance", 1000), ("trackedentityinstance", 500)];
        assert_eq!(told(&old, &[("event", 1000), ("trackedentity", 500)]), None);
        assert_eq!(told(&[("event", 1000)], &[("trackerevent", 600), ("singleevent", 400)]), None);
        assert_eq!(told(&[("event", 1000)], &[("trackerevent", 100), ("singleevent", 400)]).as_deref(), Some("500 events of 1000"));
        assert_eq!(told(&[("indicator", 1000)], &[("measure", 1000)]), None);
    }

    #[test]
    fn what_is_too_small_is_no_measure_until_it_is_accepted() {
        let whole = set("a", 1, &[("datavalue", 1000)], 0);
        let small = |name, day| {
            let mut small = set(name, day, &[("datavalue", 10)], 0);
            small.shrunk = shrunk(&whole, &small);
            small
        };
        let base_of = |sets: &[Manifest], accepted| base(sets, accepted).map(|base| base.set.clone());
        assert_eq!(base_of(&[], None), None);
        assert_eq!(base_of(std::slice::from_ref(&whole), None).as_deref(), Some("a"));
        let sets = [whole.clone(), small("b", 2), small("c", 3)];
        assert_eq!(base_of(&sets, None).as_deref(), Some("a"));
        assert_eq!(base_of(&sets, Some("b")).as_deref(), Some("b"), "though a newer one was made meanwhile");
        assert_eq!(base_of(&sets, Some("gone")).as_deref(), Some("a"));
        assert_eq!(base_of(&sets[1..], None).as_deref(), Some("c"), "the whole one was removed by hand");
        let after = set("d", 4, &[("datavalue", 10)], 0);
        assert_eq!(base_of(&[&sets[..], &[after]].concat(), Some("a")).as_deref(), Some("d"));
    }
}
