//! One set that a person wants to be gone, with a real restic: it goes whole, others stay whole, and what a restore may need stays.

use std::process::Command;
use std::time::Duration;

use crate::pod::Pod;
use crate::pod::sets::{SCHEMA, backed_up, backup, filled, of_set, output, restic};
use dhis2_operator::layout;
use dhis2_operator::report::{Listed, Refusal};

const PARTS: [&str; 4] = ["files", "dump", "files-again", "manifest"];

fn arguments(set: &str) -> Vec<&str> {
    vec!["remove", "--set", set, "--instance", "uid-1", "--name", "demo/play"]
}

/// An instance with these sets.
fn with(sets: &[&str]) -> Pod {
    let pod = filled();
    let serving = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    for set in sets {
        backup(&pod, set, "9").done();
    }
    drop(serving);
    pod
}

fn parts(pod: &Pod, set: &str) -> [usize; 4] {
    PARTS.map(|part| of_set(pod, set, part))
}

fn prove(pod: &Pod, set: &str) {
    let tag = format!("set={set}");
    let mut proof = restic(pod);
    proof.args(["backup", "--host", "demo/play", "--tag", &tag, "--tag", "part=proof", "--stdin-from-command", "--", "echo", "{}"]);
    output(&mut proof);
}

#[test]
fn a_set_goes_whole_and_the_others_are_as_before() {
    let pod = with(&["old", "kept", "new"]);
    let said = pod.agent(&arguments("old")).done();
    assert!(said.message.contains("set old was removed") && said.data.is_none(), "{said:?}");
    assert_eq!((parts(&pod, "old"), parts(&pod, "kept"), parts(&pod, "new")), ([0; 4], [1; 4], [1; 4]));
    output(restic(&pod).args(["check", "--read-data"]));
    assert!(!pod.path("/backups/.prune-pending").exists(), "its space is free");
    let again = pod.agent(&arguments("old")).done();
    assert!(again.message.contains("not in the repository any more"), "{again:?}");
}

#[test]
fn the_newest_set_and_the_newest_proven_one_stay() {
    let pod = with(&["proven", "between", "new"]);
    prove(&pod, "proven");
    for set in ["proven", "new"] {
        assert_eq!(pod.agent(&arguments(set)).refused(), Refusal::SetNeeded);
        assert_eq!(parts(&pod, set), [1; 4]);
    }
    pod.agent(&arguments("between")).done();
    assert_eq!(parts(&pod, "between"), [0; 4]);
}

#[test]
fn one_that_was_killed_on_the_way_is_carried_on() {
    let pod = with(&["old", "new"]);
    for milliseconds in [300, 700, 1100, 1500] {
        let running = pod.start(&arguments("old"));
        std::thread::sleep(Duration::from_millis(milliseconds));
        running.kill();
        let left = parts(&pod, "old");
        assert!(left[3] == 0 || left == [1; 4], "a set that has a manifest is whole: {left:?}");
    }
    pod.agent(&arguments("old")).done();
    assert_eq!((parts(&pod, "old"), parts(&pod, "new")), ([0; 4], [1; 4]));
    output(restic(&pod).args(["check", "--read-data"]));
    assert!(!pod.path("/backups/.prune-pending").exists());
}

#[test]
fn there_is_no_repository_to_be_made_for_it() {
    let pod = filled();
    assert_ne!(pod.agent(&arguments("old")).code, Some(0));
    assert!(!pod.path(layout::REPOSITORY).exists());
}

#[test]
fn a_backup_lists_the_sets_of_the_repository() {
    let pod = filled();
    let _serving = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    backup(&pod, "one", "9").done();
    prove(&pod, "one");
    let foreign: &mut Command = &mut restic(&pod);
    output(
        foreign
            .args(["backup", "--host", "there/lost", "--tag", "set=theirs", "--tag", "part=manifest", "--time", "2026-01-01 00:00:00"])
            .arg(pod.path(layout::BACKUP_PASSWORD)),
    );
    let made = backed_up(backup(&pod, "two", "9").done());
    let told: Vec<(&str, bool, Option<&str>)> =
        made.listed.iter().map(|Listed { set, proven, source, .. }| (set.as_str(), proven.is_some(), source.as_deref())).collect();
    assert_eq!(told, [("two", false, None), ("one", true, None), ("theirs", false, Some("there/lost"))]);
    assert_eq!(made.sets_kept, 3);
}
