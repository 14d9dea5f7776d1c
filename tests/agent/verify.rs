//! Backup sets that are restored to see whether they can be, with a real PostgreSQL and a real restic: whole ones, and ones that are
//! damaged in every way that we could think of.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::pod::sets::{SCHEMA, arguments, backed_up, backup, filled, forge, manifest, of_set, output, restic};
use crate::pod::{Ended, Pod};
use dhis2_operator::layout;
use dhis2_operator::report::{Data, Refusal, Report, Verified};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const VERIFY: [&str; 5] = ["verify", "--instance", "uid-1", "--name", "demo/play"];

fn verify(pod: &Pod) -> Ended {
    pod.agent(&VERIFY)
}

fn verify_set(pod: &Pod, set: &str) -> Ended {
    pod.agent(&[&VERIFY[..], &["--set", set]].concat())
}

fn verified(report: Report) -> Verified {
    match report.data {
        Some(Data::Verify(data)) => data,
        other => panic!("{other:?}"),
    }
}

/// An instance with one set, and its database stopped: a proof needs the repository and its key, nothing else.
fn backed_up_once() -> Pod {
    let pod = filled();
    let serving = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    // restic counts no links.
    std::os::unix::fs::symlink("present", pod.path(layout::FILES).join("dataValue/link")).unwrap();
    backup(&pod, "set-1", "3").done();
    drop(serving);
    pod
}

fn scratch_is_empty(pod: &Pod) -> bool {
    fs::read_dir(pod.path(layout::SCRATCH)).unwrap().next().is_none()
}

fn largest(pod: &Pod, what: &str) -> PathBuf {
    let files = walkdir(&pod.path(layout::REPOSITORY).join(what));
    files.into_iter().max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap()
}

fn walkdir(directory: &std::path::Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walkdir(&path) } else { vec![path] }).collect()
}

/// restic writes its files without the right to write them.
fn writable(file: &PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_set_is_proven_with_the_repository_and_its_key_alone() {
    let pod = filled();
    let serving = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    // One that only a superuser can make.
    pod.superuser().batch_execute("CREATE EXTENSION dblink").unwrap();
    backup(&pod, "set-1", "3").done();
    drop(serving);
    for secret in ["database", "encryption", "admin"] {
        fs::remove_dir_all(pod.path(layout::SECRETS).join(secret)).unwrap();
    }
    let report = verify(&pod).done();
    assert!(report.message.contains("50707 rows in 7 tables and 2 files"), "{}", report.message);
    let proof = verified(report);
    let manifest = manifest(&pod, "set-1");
    assert_eq!((proof.set.as_str(), proof.created.as_str()), ("set-1", manifest["created"].as_str().unwrap()));
    assert!(proof.bytes > 1_000_000, "{proof:?}");
    assert!(scratch_is_empty(&pod));
    assert_eq!(of_set(&pod, "set-1", "proof"), 1);
}

#[test]
fn the_next_backup_tells_what_was_proven_and_keeps_it() {
    let pod = filled();
    let serving = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    assert_eq!(backed_up(backup(&pod, "set-1", "1").done()).verified, None);
    let proof = verified(verify(&pod).done());
    // Three more, of which the rules keep one.
    for set in ["set-2", "set-3", "set-4"] {
        assert_eq!(backed_up(backup(&pod, set, "1").done()).verified.as_ref(), Some(&proof));
    }
    assert_eq!(
        ["set-1", "set-2", "set-3", "set-4"].map(|set| of_set(&pod, set, "manifest")),
        [1, 1, 1, 1],
        "none younger than it is proven"
    );
    verify(&pod).done();
    backup(&pod, "set-5", "1").done();
    assert_eq!(["set-1", "set-2", "set-3", "set-4", "set-5"].map(|set| of_set(&pod, set, "manifest")), [0, 0, 0, 1, 1]);
    assert_eq!(of_set(&pod, "set-1", "proof"), 0, "a proof goes with its set");
    // With no test to come, set-5 would never go.
    pod.agent(&[&arguments(&pod, "set-6", "1")[..], &["--verify-suspended"]].concat()).done();
    assert_eq!(["set-4", "set-5", "set-6"].map(|set| of_set(&pod, set, "manifest")), [1, 0, 1]);
    drop(serving);
}

/// A set that is not as it should be: how it is changed, and what is said.
struct Case {
    of: &'static str,
    change: fn(&mut Value),
    refusal: Refusal,
    words: &'static [&'static str],
}

const CASES: [Case; 7] = [
    Case {
        of: "a row more, another user, a table less",
        change: |m| {
            m["contents"]["rows"]["public.datavalue"] = json!(50_001);
            m["contents"]["sums"]["userinfo"] = json!("0");
            m["contents"]["rows"].as_object_mut().unwrap().remove("public.fileresource");
        },
        refusal: Refusal::ContentsDiffer,
        words: &[
            "table public.datavalue has 50000 rows of 50001",
            "table userinfo has other content",
            "public.fileresource has 2 rows and is not in the manifest",
        ],
    },
    Case { of: "a file more", change: |m| m["files"]["count"] = json!(3), refusal: Refusal::ContentsDiffer, words: &["2 files of"] },
    Case {
        of: "a dump without its files",
        change: |m| m["files"]["after"] = json!("0000"),
        refusal: Refusal::SetIncomplete,
        words: &["the snapshot of its files is not in"],
    },
    Case {
        of: "files that could not be read",
        change: |m| m["files"]["complete"] = json!(false),
        refusal: Refusal::SetIncomplete,
        words: &["could not be read"],
    },
    Case {
        of: "another key",
        change: |m| m["secrets"]["encryption/password"] = json!("Another-Key-1234"),
        refusal: Refusal::EncryptionKeyMismatch,
        words: &["another encryption key"],
    },
    Case { of: "a later form", change: |m| m["format"] = json!(2), refusal: Refusal::SetNewer, words: &["has format 2"] },
    Case {
        of: "too large",
        change: |m| m["postgresql"]["dumpedBytes"] = json!(1_u64 << 60),
        refusal: Refusal::ScratchTooSmall,
        words: &["spec.backup.verify.storage.size"],
    },
];

#[test]
fn a_set_that_is_not_as_its_manifest_says_is_refused_and_the_others_stay() {
    let pod = backed_up_once();
    for Case { of, change, refusal, words } in CASES {
        forge(&pod, &[], change);
        let ended = verify(&pod);
        let said = ended.report.clone().unwrap().message;
        assert_eq!(ended.refused(), refusal, "{of}: {said}");
        assert!(words.iter().all(|words| said.contains(words)), "{of}: {said}");
        assert!(scratch_is_empty(&pod), "{of}");
        output(restic(&pod).args(["forget", "--tag", "set=forged", "--unsafe-allow-remove-all"]));
    }
    // A snapshot without a dump in it.
    let other = manifest(&pod, "set-1")["files"]["after"].clone();
    forge(&pod, &[], |m| m["dump"]["snapshot"] = other);
    assert_eq!(verify(&pod).refused(), Refusal::RepositoryDamaged);
    assert_eq!(verified(verify_set(&pod, "set-1").done()).set, "set-1");
}

#[test]
fn a_dump_that_postgresql_does_not_take_is_told_with_what_it_says() {
    let pod = filled();
    let serving = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    // Works as long as the search path has public in it, and pg_restore's has not.
    let function = "CREATE FUNCTION users(int) RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT count(*) FROM userinfo'";
    pod.owner().batch_execute(&format!("{function}; CREATE INDEX ON datavalue (users(id))")).unwrap();
    backup(&pod, "set-1", "3").done();
    drop(serving);
    let ended = verify(&pod);
    let said = ended.report.clone().unwrap().message;
    assert_eq!(ended.refused(), Refusal::RestoreFailed, "{said}");
    assert!(said.contains("relation \"userinfo\" does not exist"), "{said}");
}

fn flip(file: &PathBuf) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    writable(file);
    fs::write(file, bytes).unwrap();
}

fn cut(file: &PathBuf) {
    writable(file);
    let length = fs::metadata(file).unwrap().len();
    fs::OpenOptions::new().write(true).open(file).unwrap().set_len(length / 2).unwrap();
}

fn lose_index(pod: &Pod) {
    for file in walkdir(&pod.path(layout::REPOSITORY).join("index")) {
        fs::remove_file(file).unwrap();
    }
}

/// Something that happens to a repository.
type Damage = (&'static str, fn(&Pod));

#[test]
fn a_damaged_repository_is_told_as_such() {
    let damages: [Damage; 4] = [
        ("a flipped byte", |pod| flip(&largest(pod, "data"))),
        ("a truncated pack", |pod| cut(&largest(pod, "data"))),
        ("a lost pack", |pod| fs::remove_file(largest(pod, "data")).unwrap()),
        ("a lost index", lose_index),
    ];
    let pod = backed_up_once();
    let (repository, sound) = (pod.path(layout::REPOSITORY), pod.path("/backups/sound"));
    let copy = |from: &PathBuf, to: &PathBuf| assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    copy(&repository, &sound);
    for (damage, strike) in damages {
        strike(&pod);
        let ended = verify(&pod);
        let said = ended.report.clone().unwrap().message;
        assert_eq!(ended.refused(), Refusal::RepositoryDamaged, "{damage}: {said}");
        assert!(scratch_is_empty(&pod), "{damage}");
        fs::remove_dir_all(&repository).unwrap();
        copy(&sound, &repository);
    }
    assert_eq!(of_set(&pod, "set-1", "proof"), 0);
    verify(&pod).done();
}

#[test]
fn damage_that_the_newest_set_does_not_need_is_found_all_the_same() {
    let pod = backed_up_once();
    let packs = || walkdir(&pod.path(layout::REPOSITORY).join("data"));
    let (place, before) = ("/opt/dhis2/files/dataValue/old", packs());
    let _serving = pod.serve();
    let words: Vec<String> = (0..400_000_u32).map(|number| format!("{:08x}", number.wrapping_mul(2_654_435_761))).collect();
    pod.write(place, &words.concat());
    backup(&pod, "set-2", "3").done();
    let new = packs().into_iter().filter(|pack| !before.contains(pack)).max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    fs::remove_file(pod.path(place)).unwrap();
    backup(&pod, "set-3", "3").done();
    assert_eq!(verified(verify(&pod).done()).set, "set-3");
    fs::remove_file(new).unwrap();
    let ended = verify(&pod);
    let said = ended.report.clone().unwrap().message;
    assert_eq!(ended.refused(), Refusal::RepositoryDamaged, "{said}");
    assert!(said.contains("read a share of the repository"), "found where the newest set needs it: {said}");
}

#[test]
fn without_a_set_or_its_key_nothing_is_proven() {
    let pod = filled();
    let said = verify(&pod).failed().message;
    assert!(said.contains("holds no restic repository"), "{said}");
    assert!(!pod.path(layout::REPOSITORY).exists(), "none is made");
    let pod = backed_up_once();
    let ended = verify_set(&pod, "set-9");
    let said = ended.report.clone().map(|report| report.message).unwrap_or_default();
    assert!(said.contains("the repository has no set set-9"), "{said}");
    assert_eq!(ended.refused(), Refusal::SetUnknown);
    assert!(scratch_is_empty(&pod), "nothing was restored");
    pod.write(layout::BACKUP_PASSWORD, "Another-Key-1234");
    assert_eq!(verify(&pod).refused(), Refusal::RepositoryKeyMismatch);
}

#[test]
fn one_that_is_killed_is_simply_repeated() {
    let pod = backed_up_once();
    for after in [300, 900, 1500] {
        let running = pod.start(&VERIFY);
        std::thread::sleep(Duration::from_millis(after));
        running.kill();
    }
    let running = pod.start(&VERIFY);
    std::thread::sleep(Duration::from_millis(700));
    running.signal(Signal::SIGTERM);
    let ended = running.wait();
    let said = ended.report.as_ref().map(|report| (report.reason, report.message.clone()));
    assert!(said.as_ref().is_none_or(|(reason, _)| *reason != Some(Refusal::RepositoryDamaged)), "{said:?}");
    assert_eq!(verified(verify(&pod).done()).set, "set-1");
    assert!(scratch_is_empty(&pod));
    let locks = fs::read_dir(pod.path(layout::REPOSITORY).join("locks")).unwrap().count();
    assert_eq!(locks, 0, "a lock that stays keeps others waiting");
}
