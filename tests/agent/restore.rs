//! New volumes from a backup set, with a real PostgreSQL and a real restic: whole ones, interrupted ones, and those that are refused.

mod unreadable;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::pod::sets::forge;
use crate::pod::source::{Source, source, target};
use crate::pod::{Ended, Pod, await_that};
use dhis2_operator::layout;
use dhis2_operator::report::{Data, Refusal, Report, Restored};
use serde_json::{Value, json};

fn arguments(instance: &str, more: &[&str]) -> Vec<String> {
    let major = crate::pod::major().to_string();
    let all = ["restore", "--instance", instance, "--name", "demo/play", "--postgresql", &major, "--version", "2.42.4"];
    all.iter().chain(more).map(|&argument| argument.to_owned()).collect()
}

fn restore_for(pod: &Pod, instance: &str, more: &[&str]) -> Ended {
    let arguments = arguments(instance, more);
    pod.agent(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn restore(pod: &Pod, more: &[&str]) -> Ended {
    restore_for(pod, "uid-1", more)
}

fn restored(report: Report) -> Restored {
    match report.data {
        Some(Data::Restore(data)) => data,
        other => panic!("{other:?}"),
    }
}

/// Every file below a directory, with its content.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(next) = waiting.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                waiting.push(path);
            } else {
                found.insert(path.strip_prefix(directory).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn names(pod: &Pod, place: &str) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(pod.path(place)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Both volumes hold what a finished restore leaves, and nothing of its way.
fn are_finished(pod: &Pod) {
    assert_eq!(names(pod, layout::DATA), [".lock", "dhis2-database.json", "pgdata"]);
    assert_eq!(names(pod, layout::FILES), ["apps", "dataValue"]);
}

const FILE_MARK: &str = "/opt/dhis2/files/.dhis2-restoring.json";

#[test]
fn a_set_is_restored_to_new_volumes_that_serve() {
    let source = source();
    let pod = target(&source);
    pod.write(layout::DATABASE_PASSWORD, "New-Owner-Secret-1");
    pod.write(layout::DATABASE_BACKUP_PASSWORD, "New-Backup-Secret-1");
    let report = restore_for(&pod, "uid-2", &[]).done();
    let data = restored(report.clone());
    assert!(serde_json::to_string(&data).unwrap().len() < 600);
    assert_eq!((data.set.as_str(), &data.created, data.instance.as_str()), ("set-2", &source.created[1], "uid-2"));
    assert_eq!((data.rows, data.files, data.file_bytes, data.dhis2.to_string().as_str()), (50_706, 2, 18, "2.42.4"));
    assert!(data.database_bytes > 5_000_000, "{data:?}");
    are_finished(&pod);
    assert_eq!(contents(&pod.path(layout::FILES)), contents(&source.pod.path(layout::FILES)));
    let file = fs::metadata(pod.path("/opt/dhis2/files/dataValue/present")).unwrap();
    let directory = fs::metadata(pod.path("/opt/dhis2/files/dataValue")).unwrap();
    assert_eq!((file.permissions().mode() & 0o660, directory.permissions().mode() & 0o2770), (0o660, 0o2770), "as a pod's group has it");

    let serving = pod.start(&["database", "run", "--instance", "uid-2"]);
    await_that("the database answers", || pod.agent(&["database", "check"]).code == Some(0));
    let mut owner = pod.owner();
    assert_eq!(owner.query_one("SELECT count(*) FROM datavalue", &[]).unwrap().get::<_, i64>(0), 49_999);
    assert_eq!(owner.query_one("SELECT users FROM _view_count", &[]).unwrap().get::<_, i64>(0), 500);
    let rows: f32 = owner.query_one("SELECT reltuples FROM pg_class WHERE relname = 'datavalue'", &[]).unwrap().get(0);
    assert!(rows > 49_000.0, "the planner knows {rows} rows");
    drop(owner);
    // The instance, its key and the version before last: DHIS2 may start.
    let check = ["check", "--host", &pod.address, "--instance", "uid-2", "--version"];
    assert_eq!(pod.agent(&[&check[..], &["2.42.4.1"]].concat()).done().data.map(|data| matches!(data, Data::Check(_))), Some(true));
    let text = format!("host={} user=dhis_backup password=New-Backup-Secret-1 dbname=dhis2", pod.address);
    postgres::Client::connect(&text, postgres::NoTls).unwrap();
    drop(serving);
    pod.is_left_by_all();
    is_confirmed(&source, &pod, &report);
}

#[test]
fn a_copy_for_a_rehearsal_is_the_database_alone_and_sends_nobody_a_message() {
    let source = source();
    let pod = target(&source);
    let data = restored(restore(&pod, &["--rehearsal"]).done());
    assert_eq!(data.set, "set-2");
    assert_eq!(names(&pod, layout::DATA), [".lock", "dhis2-database.json", "pgdata"]);
    assert!(names(&pod, layout::FILES).is_empty());
    let serving = pod.start(&["database", "run", "--instance", "uid-1"]);
    await_that("the database answers", || pod.agent(&["database", "check"]).code == Some(0));
    let rows = pod.owner().query("SELECT enabled FROM jobconfiguration", &[]).unwrap();
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<bool>>(), [false, false]);
    drop(serving);
    pod.is_left_by_all();
}

/// A later run says the same, whatever there is by now, and refuses to make anything else of the volumes.
fn is_confirmed(source: &Source, pod: &Pod, report: &Report) {
    let place = |place: &str| {
        let metadata = fs::metadata(pod.path(place)).unwrap();
        (metadata.ino(), metadata.mtime_nsec())
    };
    let places = || [layout::MARK, "/data/pgdata/global/pg_control", "/opt/dhis2/files/dataValue/present", layout::FILES].map(place);
    let before = places();
    forge(pod, &[], |_| {});
    assert_eq!(&restore_for(pod, "uid-2", &[]).done(), report, "a newer set is no reason");
    assert_eq!(&restore_for(pod, "uid-2", &["--before", &source.created[1]]).done(), report);
    for (instance, more) in
        [("uid-2", &["--set", "set-1"]), ("uid-2", &["--before", source.created[0].as_str()]), ("uid-1", &["--set", "set-2"])]
    {
        let ended = restore_for(pod, instance, more);
        let said = ended.report.clone().unwrap().message;
        assert_eq!(ended.refused(), Refusal::VolumeForeign, "{said}");
        assert!(said.contains("restored from set set-2 of instance uid-2 (demo/play)"), "{said}");
    }
    assert_eq!(places(), before);
    // Another volume in the place of that of the files.
    for name in ["apps", "dataValue"] {
        fs::remove_dir_all(pod.path(layout::FILES).join(name)).unwrap();
    }
    assert_eq!(restore_for(pod, "uid-2", &[]).refused(), Refusal::VolumeDamaged);
}

#[test]
fn the_set_is_the_one_that_is_asked_for() {
    let source = source();
    let pod = target(&source);
    let [first, second] = &source.created;
    let said = restore(&pod, &["--before", "2026-01-01T00:00:00Z"]).failed().message;
    assert!(said.contains(&format!("no set of 2026-01-01T00:00:00Z or before: the oldest is set set-1 of {first}")), "{said}");
    let ended = restore(&pod, &["--set", "set-9"]);
    let said = ended.report.clone().map(|report| report.message).unwrap_or_default();
    assert!(said.contains("the repository has no set set-9"), "{said}");
    assert_eq!(ended.refused(), Refusal::SetUnknown);
    let both = restore(&pod, &["--set", "set-1", "--before", second]);
    assert!(both.report.is_none() && both.log.contains("cannot be used with"), "{}", both.log);
    assert_eq!((names(&pod, layout::DATA), names(&pod, layout::FILES)), (vec![".lock".to_owned()], vec![]));

    // The newest is not what it says: it is never taken for whole, and an older one takes its place.
    forge(&pod, &[], |manifest| {
        manifest["created"] = json!("2099-01-01T00:00:00Z");
        manifest["files"]["count"] = json!(3);
    });
    let ended = restore(&pod, &[]);
    let said = ended.report.clone().unwrap().message;
    assert_eq!(ended.refused(), Refusal::ContentsDiffer, "{said}");
    assert!(said.contains("2 files of 12 bytes instead of 3 of"), "without our mark: {said}");
    assert!(pod.path(FILE_MARK).exists() && !pod.path(layout::PGDATA).exists());
    assert_eq!(pod.build(&[]).refused(), Refusal::VolumeUnmarked, "no empty database in its place");
    let before = restore(&pod, &["--before", first]);
    assert!(before.log.contains("restoring the database: a dump of ") && !before.log.contains("going on with it"), "{}", before.log);
    assert_eq!(restored(before.done()).set, "set-1");
    are_finished(&pod);
    assert_eq!(pod.read("/opt/dhis2/files/dataValue/present"), "a file");
}

#[test]
fn a_restore_that_is_killed_ends_with_the_set_that_it_began_with() {
    let source = source();
    let pod = target(&source);
    let killed = |until: &dyn Fn() -> bool| {
        let arguments = arguments("uid-1", &[]);
        let running = pod.start(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        await_that("the restore has come so far", until);
        running.kill();
        pod.is_left_by_all();
    };
    killed(&|| pod.path(layout::RESTORE_NOTE).exists());
    // A later one from here on.
    forge(&pod, &[], |manifest| manifest["created"] = json!("2099-01-01T00:00:00Z"));
    killed(&|| pod.path("/data/pgdata.building/global/pg_control").exists());
    // As of a run that was killed while it wrote files, and while it wrote the mark of another try.
    pod.write("/opt/dhis2/files/dataValue/half", "half a fi");
    pod.write("/opt/dhis2/files/.dhis2-restoring.json.new", "{");
    let ended = restore(&pod, &[]);
    assert!(ended.log.contains("has chosen set set-2: going on with it"), "{}", ended.log);
    let report = ended.done();
    assert_eq!(restored(report.clone()).set, "set-2");
    assert!(!pod.path("/opt/dhis2/files/dataValue/half").exists());
    are_finished(&pod);

    // Between the data directory's name and the mark.
    let prepared = pod.path(layout::MARK).with_extension("prepared.json");
    fs::rename(pod.path(layout::MARK), &prepared).unwrap();
    assert_eq!(restore(&pod, &[]).done(), report, "the marks of files and choice are gone");
    fs::rename(pod.path(layout::MARK), &prepared).unwrap();
    pod.write(FILE_MARK, r#"{"instance":"uid-1"}"#);
    pod.write(layout::RESTORE_NOTE, &format!(r#"{{"instance":"uid-1","set":"set-2","created":"{}"}}"#, source.created[1]));
    assert_eq!(restore(&pod, &["--set", "set-1"]).refused(), Refusal::VolumeForeign, "it is as good as finished");
    assert_eq!(restore(&pod, &[]).done(), report);
    are_finished(&pod);
}

/// What is not restored: how it comes, what is said.
struct Case {
    of: &'static str,
    change: fn(&mut Value),
    refusal: Refusal,
    words: &'static str,
}

impl Case {
    const fn forged(of: &'static str, change: fn(&mut Value), refusal: Refusal, words: &'static str) -> Self {
        Self { of, change, refusal, words }
    }
}

const CASES: [Case; 5] = [
    Case::forged(
        "another key in the set",
        |m| m["secrets"]["encryption/password"] = json!("Another-Key-1234"),
        Refusal::EncryptionKeyMismatch,
        "set forged holds another encryption key",
    ),
    Case::forged("a later DHIS2", |m| m["dhis2"]["lastStarted"] = json!("2.42.5"), Refusal::DowngradeRefused, "set spec.version to 2.42.5"),
    Case::forged(
        "a later PostgreSQL",
        |m| m["postgresql"]["version"] = json!("99.1"),
        Refusal::PostgresVersionMismatch,
        "spec.database.bundled.version 99",
    ),
    Case::forged(
        "too large a database",
        |m| m["postgresql"]["dumpedBytes"] = json!(1_u64 << 60),
        Refusal::VolumeTooSmall,
        "raise spec.database.bundled.storage.size",
    ),
    Case::forged("too many files", |m| m["files"]["bytes"] = json!(1_u64 << 60), Refusal::VolumeTooSmall, "raise spec.files.volume.size"),
];

#[test]
fn what_the_instance_cannot_go_on_with_is_refused_and_both_volumes_stay_as_they_are() {
    let source = source();
    let pod = target(&source);
    let is_refused = |of: &str, more: &[&str], refusal: Refusal, words: &str| {
        let before = contents(&pod.path(layout::FILES));
        let ended = restore(&pod, more);
        let said = ended.report.clone().unwrap().message;
        assert_eq!(ended.refused(), refusal, "{of}: {said}");
        assert!(said.contains(words), "{of}: {said}");
        assert_eq!(names(&pod, layout::DATA), [".lock"], "{of}");
        assert_eq!(contents(&pod.path(layout::FILES)), before, "{of}");
    };
    let set = ["--set", "set-2"];
    pod.write(layout::ENCRYPTION_PASSWORD, "Another-Secret-123456789012");
    is_refused("another key in the Secret", &set, Refusal::EncryptionKeyMismatch, "the one in the instance's Secret");
    fs::remove_file(pod.path(layout::ENCRYPTION_PASSWORD)).unwrap();
    is_refused("DHIS2's own key", &set, Refusal::EncryptionKeyMismatch, "the one in the instance's Secret");
    pod.write(layout::ENCRYPTION_PASSWORD, crate::pod::ENCRYPTION);
    pod.write(layout::BACKUP_PASSWORD, "Another-Key-1234");
    is_refused("another key of the repository", &set, Refusal::RepositoryKeyMismatch, "put the original Secret back");
    pod.write(layout::BACKUP_PASSWORD, crate::pod::REPOSITORY_PASSWORD);
    for Case { of, change, refusal, words } in CASES {
        forge(&pod, &[], change);
        is_refused(of, &[], refusal, words);
    }
    pod.write("/opt/dhis2/files/apps/precious", "a file");
    is_refused("somebody's files", &set, Refusal::VolumeUnmarked, "nor an import has put there (apps)");
    fs::remove_dir_all(pod.path("/opt/dhis2/files/apps")).unwrap();
    pod.write(FILE_MARK, r#"{"instance":"uid-9"}"#);
    is_refused("another restore's files", &set, Refusal::VolumeForeign, "for instance uid-9");
    fs::remove_file(pod.path(FILE_MARK)).unwrap();
    pod.write("/data/pgdata/precious", "data");
    assert_eq!(restore(&pod, &[]).refused(), Refusal::VolumeUnmarked);
    assert_eq!(pod.read("/data/pgdata/precious"), "data");
    // The volume that serves is not restored to.
    fs::remove_dir_all(pod.path(layout::PGDATA)).unwrap();
    pod.build(&[]).done();
    assert_eq!(restore(&pod, &[]).refused(), Refusal::VolumeForeign);
}

/// Nobody but root may write there any more.
fn close(pod: &Pod) {
    if nix::unistd::geteuid().is_root() {
        let closed = std::process::Command::new("chown").args(["-R", "0:0"]).arg(pod.path(layout::BACKUPS)).status();
        assert!(closed.unwrap().success());
        let closed = std::process::Command::new("chmod").args(["-R", "a+rX,go-w"]).arg(pod.path(layout::BACKUPS)).status();
        assert!(closed.unwrap().success());
    }
}

/// As its file system leaves it after an error.
#[test]
fn a_repository_that_takes_nothing_any_more_gives_its_sets_back() {
    let source = source();
    let pod = target(&source);
    close(&pod);
    assert_eq!(restored(restore(&pod, &["--set", "set-1"]).done()).set, "set-1");
}

#[test]
fn another_instances_set_is_read_without_a_trace() {
    let source = source();
    let pod = target(&source);
    let repository = pod.path(layout::REPOSITORY);
    let before = contents(&repository);
    // As a claim that is mounted to be read only.
    close(&pod);
    let data = restored(restore_for(&pod, "uid-3", &["--read-only", "--set", "set-1"]).done());
    assert_eq!((data.set.as_str(), data.instance.as_str()), ("set-1", "uid-3"));
    are_finished(&pod);
    assert_eq!(contents(&repository), before, "something was written");
}

#[test]
fn one_key_prints_what_brings_the_instance_back() {
    let source = source();
    let pod = target(&source);
    let spec = json!({ "version": "2.42.4.1", "web": { "host": "play.example.org" } });
    forge(&pod, &[], |manifest| {
        manifest["created"] = json!("2099-01-01T00:00:00Z");
        manifest["resource"] = json!({
            "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance", "metadata": { "name": "play", "namespace": "demo" }, "spec": spec,
        });
    });
    let output = pod.output(&["recover", "--rename", "again", "--read-only"]);
    let printed: Vec<Value> = serde_yaml::Deserializer::from_str(&output)
        .map(|document| serde::Deserialize::deserialize(document).unwrap())
        .filter(|document: &Value| !document.is_null())
        .collect();
    let [database, encryption, .., instance] = printed.as_slice() else { panic!("{output}") };
    assert_eq!(database["stringData"]["password"], crate::pod::OWNER_PASSWORD);
    assert_eq!(encryption["stringData"]["password"], crate::pod::ENCRYPTION);
    let instance: dhis2_operator::api::Dhis2Instance = serde_json::from_value(instance.clone()).unwrap();
    assert_eq!(instance.spec.bootstrap.unwrap().from_backup.unwrap().set.as_deref(), Some("forged"));
    // The resource of the other sets is that of a test, without a name.
    let ended = pod.agent(&["recover", "--set", "set-1"]);
    assert_eq!(ended.refused(), Refusal::SetIncomplete);
}
