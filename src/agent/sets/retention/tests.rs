use super::*;

const NOW: &str = "2026-11-25T12:00:00Z";

pub(super) fn snapshot(id: &str, time: &str, tags: &[&str]) -> Snapshot {
    Snapshot {
        id: id.to_owned(),
        original: None,
        time: time.parse().unwrap(),
        hostname: String::new(),
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        paths: Vec::new(),
    }
}

pub(super) fn set(name: &str, time: &str) -> Vec<Snapshot> {
    let tag = format!("set={name}");
    ["files", "dump", "files-again", "manifest"]
        .iter()
        .map(|part| snapshot(&format!("{name}-{part}"), time, &[&tag, &format!("part={part}")]))
        .collect()
}

pub(super) fn proof(set: &str, time: &str) -> Snapshot {
    snapshot(&format!("{set}-proof"), time, &[&format!("set={set}"), "part=proof"])
}

fn planned(snapshots: &[Snapshot], surplus: &[&str]) -> Plan {
    let surplus: Vec<String> = surplus.iter().map(|&id| id.to_owned()).collect();
    planned_by(snapshots, &surplus, false, &BTreeSet::new())
}

fn planned_by(snapshots: &[Snapshot], surplus: &[String], verify_suspended: bool, stays: &BTreeSet<String>) -> Plan {
    let keep = Keep { verify_suspended, ..Keep::default() };
    plan(snapshots, surplus, Rules { keep: &keep, host: "", stays }, NOW.parse().unwrap())
}

#[test]
fn what_is_to_stay_stays_whatever_the_rules_say_and_so_do_parts_of_what_is_still_to_come() {
    let whole = [set("a", "2026-11-20T01:00:00Z"), set("b", "2026-11-21T01:00:00Z"), set("c", "2026-11-22T01:00:00Z")].concat();
    let half = set("old", "2026-10-01T01:00:00Z").into_iter().filter(|snapshot| !snapshot.is_manifest());
    let snapshots = whole.into_iter().chain(half).collect::<Vec<_>>();
    let surplus = ["a-manifest", "b-manifest"].map(str::to_owned);
    let stays = ["b", "old"].map(str::to_owned).into();
    let plan = planned_by(&snapshots, &surplus, true, &stays);
    assert_eq!((plan.manifests, plan.parts.len()), (vec!["a-manifest".to_owned()], 3));
}

#[test]
fn a_set_goes_whole() {
    let snapshots = [set("a", "2026-11-24T01:00:00Z"), set("b", "2026-11-25T01:00:00Z")].concat();
    let plan = planned(&snapshots, &["a-manifest"]);
    assert_eq!(plan.manifests, ["a-manifest"]);
    assert_eq!(plan.parts, ["a-files", "a-dump", "a-files-again"]);
}

#[test]
fn the_newest_set_stays_whatever_the_rules_say() {
    let snapshots = [set("a", "2026-11-24T01:00:00Z"), set("b", "2026-11-25T01:00:00Z")].concat();
    assert_eq!(planned(&snapshots, &["a-manifest", "b-manifest"]).manifests, ["a-manifest"]);
    assert_eq!(planned(&set("a", "2020-01-01T00:00:00Z"), &["a-manifest"]), Plan::default());
}

#[test]
fn the_newest_proven_set_and_all_younger_ones_stay_whatever_the_rules_say() {
    let day = |day: u32| format!("2026-11-{day:02}T01:00:00Z");
    let sets = ["a", "b", "c", "d"].iter().zip(20..).flat_map(|(name, at)| set(name, &day(at))).collect::<Vec<_>>();
    let all = ["a-manifest", "b-manifest", "c-manifest"];
    assert_eq!(planned(&sets, &all).manifests, all, "nothing was proven yet");
    let proven = [sets, vec![proof("a", &day(24)), proof("b", &day(23))]].concat();
    let plan = planned(&proven, &all);
    assert_eq!(plan.manifests, ["a-manifest"]);
    assert_eq!(plan.parts, ["a-files", "a-dump", "a-files-again", "a-proof"], "a proof goes with its set");
}

#[test]
fn while_tests_are_suspended_the_proven_set_stays_and_the_rules_hold_for_younger_ones() {
    let day = |day: u32| format!("2026-11-{day:02}T01:00:00Z");
    let sets = ["a", "b", "c", "d"].iter().zip(20..).flat_map(|(name, at)| set(name, &day(at)));
    let snapshots: Vec<Snapshot> = sets.chain([proof("b", &day(21))]).collect();
    let surplus = ["a-manifest", "b-manifest", "c-manifest"].map(str::to_owned);
    let gone = |suspended| planned_by(&snapshots, &surplus, suspended, &BTreeSet::new()).manifests;
    assert_eq!(gone(true), ["a-manifest", "c-manifest"]);
    assert_eq!(gone(false), ["a-manifest"], "a test may prove c still");
}

#[test]
fn parts_of_no_set_go_after_two_days() {
    let half = |time| set("half", time).into_iter().filter(|snapshot| !snapshot.is_manifest()).collect::<Vec<_>>();
    let whole = set("a", "2026-11-20T01:00:00Z");
    let old = [half("2026-11-23T11:00:00Z"), whole.clone()].concat();
    assert_eq!(planned(&old, &[]).parts, ["half-files", "half-dump", "half-files-again"]);
    let young = [half("2026-11-23T13:00:00Z"), whole].concat();
    assert_eq!(planned(&young, &[]), Plan::default());
}

#[test]
fn snapshots_of_people_stay() {
    let own = vec![snapshot("own", "2020-01-01T00:00:00Z", &["mine"])];
    assert_eq!(planned(&[own, set("a", "2026-11-25T01:00:00Z")].concat(), &[]), Plan::default());
}

#[test]
fn no_rule_keeps_everything() {
    let keep =
        Keep { keep_last: 0, keep_daily: 7, keep_weekly: 0, keep_monthly: 0, keep_yearly: 0, append_only: false, verify_suspended: true };
    assert_eq!(flags(&keep), ["--keep-daily=7"]);
    assert!(flags(&Keep { keep_daily: 0, ..keep }).is_empty());
}

#[test]
fn nothing_goes_while_a_set_is_of_the_future() {
    let now: Timestamp = NOW.parse().unwrap();
    let sets = |time| [set("a", "2026-11-24T01:00:00Z"), set("b", time)].concat();
    assert!(are_past(&sets("2026-11-25T12:00:00Z"), now).is_ok(), "it was made just now");
    let told = are_past(&sets("2027-11-25T12:00:00Z"), now).unwrap_err().to_string();
    assert!(told.contains("set b is of 2027-11-25T12:00:00Z") && told.contains("restic forget b-manife"), "{told}");
    let proofs = [sets("2026-11-25T01:00:00Z"), vec![proof("a", "2027-01-01T00:00:00Z")]].concat();
    assert!(are_past(&proofs, now).is_ok(), "the time of a proof decides nothing");
}
