//! Backup sets with a real PostgreSQL and a real restic: made, interrupted, removed by age, and restored as the documentation says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::pod::Pod;
use crate::pod::sets::{SCHEMA, arguments, backed_up, backup, filled, forge, manifest, of_set, output, ready, restic, snapshots};
use dhis2_operator::layout;
use dhis2_operator::report::{Refusal, Retention};
use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::Signal;

#[test]
fn a_set_is_restored_with_restic_and_pg_restore_alone() {
    let pod = filled();
    let serving = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    let report = backup(&pod, "set-1", "3").done();
    let made = backed_up(report.clone());
    assert_eq!((made.files, made.references_without_file, made.tables, made.rows), (2, 1, 7, 50_707));
    assert_eq!((made.retention, made.sets_kept), (Retention::Done, 1));
    assert_eq!(backup(&pod, "set-1", "3").done(), report, "a second run of the same Job reports the same");
    assert_eq!((of_set(&pod, "set-1", "dump"), of_set(&pod, "set-1", "manifest")), (1, 1));

    let manifest = manifest(&pod, "set-1");
    assert_eq!(manifest["secrets"]["encryption/password"], crate::pod::ENCRYPTION);
    assert_eq!(manifest["files"]["withoutFile"], serde_json::json!(["dataValue/lost"]));
    assert_eq!(manifest["contents"]["rows"]["public.analyticstablehook"], 1);
    assert_eq!(manifest["dhis2"], serde_json::json!({ "version": "2.42.4.1", "schema": "2.42.47" }));
    drop(serving);

    // The key and the repository are all that is left: another instance gets the data.
    let other = ready();
    let _other_serving = other.serve();
    let dump = output_bytes(restic(&pod).args(["dump", manifest["dump"]["snapshot"].as_str().unwrap(), "/dhis2.dump"]));
    fs::write(other.path("/tmp/dhis2.dump"), dump).unwrap();
    let mut pg_restore = Command::new(crate::pod::postgresql("pg_restore"));
    pg_restore.env("PGPASSWORD", crate::pod::OWNER_PASSWORD).args(["--exit-on-error", "--no-owner", "--no-acl", "--host", &other.address]);
    output(pg_restore.args(["--username", "dhis", "--dbname", "dhis2"]).arg(other.path("/tmp/dhis2.dump")));
    let target = other.path("/opt/restored");
    fs::create_dir_all(&target).unwrap();
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&target, Some(65534), Some(65534)).unwrap();
    }
    let store = format!("{}:{}", manifest["files"]["after"].as_str().unwrap(), pod.path(layout::FILES).display());
    output(restic(&pod).arg("restore").arg(store).arg("--target").arg(&target));
    assert_eq!(fs::read_to_string(target.join("dataValue/present")).unwrap(), "a file");

    // The same verb tells what the restored database holds.
    backup(&other, "restored", "3").done();
    assert_eq!(crate::pod::sets::manifest(&other, "restored")["contents"], manifest["contents"]);
    let users: i64 = other.owner().query_one("SELECT users FROM _view_count", &[]).unwrap().get(0);
    let rows = |table: &str| -> i64 { other.owner().query_one(&format!("SELECT count(*) FROM {table}"), &[]).unwrap().get(0) };
    assert_eq!(users, 500, "views survive");
    let there = "SELECT count(*) FROM pg_class WHERE relname IN ('analytics', 'analytics_2026')";
    assert_eq!(other.owner().query_one(there, &[]).unwrap().get::<_, i64>(0), 0, "DHIS2 makes them again");
    assert_eq!(rows("analyticstablehook"), 1, "metadata with a name like theirs is restored");
}

fn output_bytes(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Whoever restores is another user of the same group: no kubelet opens the volume to it beside a pod that has just ended.
#[test]
fn all_of_a_repository_is_open_to_the_group() {
    let pod = filled();
    let _serving = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    backup(&pod, "set-1", "3").done();
    let mut waiting = vec![pod.path(layout::REPOSITORY)];
    while let Some(path) = waiting.pop() {
        let (kind, mode) = (path.is_dir(), fs::metadata(&path).unwrap().permissions().mode());
        let asked = if kind { 0o070 } else { 0o040 };
        assert_eq!(mode & asked, asked, "{}: {mode:o}", path.display());
        if kind {
            waiting.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}

#[test]
fn a_backup_that_is_killed_leaves_no_set_and_no_obstacle() {
    let pod = filled();
    let _serving = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    for (number, milliseconds) in [200, 1500, 2500, 3500, 4500].into_iter().enumerate() {
        let set = format!("killed-{number}");
        let running = pod.start(&arguments(&pod, &set, "3"));
        std::thread::sleep(Duration::from_millis(milliseconds));
        running.kill();
        if pod.path(layout::REPOSITORY).exists() {
            // Had it come to its end before, then the set is whole.
            let parts = ["files", "dump", "files-again"].map(|part| of_set(&pod, &set, part));
            assert!(of_set(&pod, &set, "manifest") == 0 || parts.iter().all(|&count| count > 0), "{set}: {parts:?}");
        }
    }
    backup(&pod, "good", "3").done();
    assert_eq!(of_set(&pod, "good", "manifest"), 1);
    output(restic(&pod).args(["check", "--read-data"]));
}

#[test]
fn a_request_to_end_leaves_no_lock_behind() {
    let pod = filled();
    let _serving = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    backup(&pod, "set-1", "3").done();
    let running = pod.start(&arguments(&pod, "set-2", "3"));
    crate::pod::await_that("restic holds its lock", || fs::read_dir(pod.path("/backups/repository/locks")).unwrap().count() > 0);
    running.signal(Signal::SIGTERM);
    let ended = running.wait();
    assert!(matches!(ended.code, Some(1 | 143)), "{:?} {}", ended.code, ended.log);
    assert_eq!(fs::read_dir(pod.path("/backups/repository/locks")).unwrap().count(), 0);
}

#[test]
fn old_sets_go_whole_unless_somebody_uses_the_repository() {
    let pod = filled();
    let _serving = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    backup(&pod, "set-1", "2").done();
    backup(&pod, "set-2", "2").done();

    // Somebody makes a snapshot of his own meanwhile, and takes his time.
    let mut own = restic(&pod).args(["backup", "--stdin", "--tag", "own"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    crate::pod::await_that("restic holds its lock", || fs::read_dir(pod.path("/backups/repository/locks")).unwrap().count() > 0);
    let third = backed_up(backup(&pod, "set-3", "2").done());
    assert_eq!((third.retention, third.sets_kept), (Retention::Postponed, 3));
    std::io::Write::write_all(&mut own.stdin.take().unwrap(), b"mine").unwrap();
    assert!(own.wait().unwrap().success());

    let mut appending = arguments(&pod, "set-4", "1");
    appending.push("--append-only");
    let appended = backed_up(pod.agent(&appending).done());
    assert_eq!((appended.retention, appended.sets_kept), (Retention::Done, 4), "nothing is removed by one that only adds");
    let fourth = backed_up(backup(&pod, "set-4", "2").done());
    assert_eq!((fourth.retention, fourth.sets_kept), (Retention::Done, 2));
    // Two sets of four snapshots, and the one that is none of our business.
    assert_eq!(snapshots(&pod).len(), 9);
    assert_eq!((of_set(&pod, "set-2", "files"), of_set(&pod, "set-3", "files")), (0, 1));
    output(restic(&pod).args(["check", "--read-data"]));
}

#[test]
fn a_set_that_lacks_files_pushes_out_no_whole_one() {
    let pod = filled();
    let _serving = pod.serve();
    let permit = |mode| fs::set_permissions(pod.path("/opt/dhis2/files/dataValue/present"), fs::Permissions::from_mode(mode)).unwrap();
    backup(&pod, "set-1", "1").done();
    permit(0o000);
    for (set, sets) in [("set-2", 2), ("set-2-2", 3)] {
        let report = backup(&pod, "set-2", "1").done();
        assert!(report.message.contains("since this one lacks files"), "{set}: {}", report.message);
        let second = backed_up(report);
        assert_eq!((second.set.as_str(), second.files_incomplete, second.retention), (set, true, Retention::Postponed));
        assert_eq!(second.sets_kept, sets, "one that no restore would take is tried again");
    }
    permit(0o600);
    let third = backed_up(backup(&pod, "set-3", "1").done());
    assert_eq!((third.files_incomplete, third.retention, third.sets_kept), (false, Retention::Done, 1));
}

#[test]
fn a_set_that_can_not_be_read_hides_no_loss() {
    let pod = filled();
    let _serving = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    backup(&pod, "set-1", "1").done();
    forge(&pod, &["--tag", "instance=uid-1"], |manifest| *manifest = serde_json::json!("damaged"));
    pod.owner().batch_execute("DELETE FROM datavalue WHERE id > 10").unwrap();
    let second = backed_up(backup(&pod, "set-2", "1").done());
    assert_eq!(second.shrunk.as_deref(), Some("10 data values of 50000 in set set-1"), "the one before it that can be read");
    assert_eq!((second.retention, second.sets_kept), (Retention::Postponed, 3));

    let has = |snapshot: &serde_json::Value, tag: &str| snapshot["tags"].as_array().unwrap().iter().any(|found| found == tag);
    for snapshot in snapshots(&pod).iter().filter(|snapshot| has(snapshot, "part=manifest") && !has(snapshot, "set=forged")) {
        output(restic(&pod).args(["forget", snapshot["id"].as_str().unwrap()]));
    }
    let report = backup(&pod, "set-3", "1").done();
    assert!(report.message.contains("since no set before this one could be read"), "{}", report.message);
    let third = backed_up(report);
    assert_eq!((third.retention, third.sets_kept), (Retention::Postponed, 2));
}

/// Puts this before restic, in the words of a shell.
fn before_restic(pod: &Pod, script: &str) {
    let real = pod.path("/agent/real-restic");
    fs::rename(pod.path(layout::RESTIC), &real).unwrap();
    pod.write("/tmp/restic", &format!("#!/bin/sh\n{script}\nexec {} \"$@\"\n", real.display()));
    fs::set_permissions(pod.path("/tmp/restic"), fs::Permissions::from_mode(0o755)).unwrap();
    pod.install(&pod.path("/tmp/restic"), layout::RESTIC);
}

/// Makes restic find the repository full while `/tmp/full` is there; pruning removes it, if it is a file.
fn limited(pod: &Pod) {
    let full = pod.path("/tmp/full");
    let script = format!(
        "for word; do case $word in\n  backup) [ ! -e {full} ] || {{ echo 'Fatal: no space left on device' >&2; exit 1; }} ;;\n  prune) rm -f {full} ;;\nesac; done",
        full = full.display(),
    );
    before_restic(pod, &script);
}

/// Each start derives the key anew, which restic makes take most of a second.
#[test]
fn restic_is_begun_no_more_often_than_a_set_needs() {
    let pod = filled();
    let _serving = pod.serve();
    let starts = pod.path("/tmp/starts");
    before_restic(&pod, &format!("echo \"$*\" >> {}", starts.display()));
    backup(&pod, "set-1", "3").done();
    fs::remove_file(&starts).unwrap();
    backup(&pod, "set-2", "3").done();
    let begun = fs::read_to_string(&starts).unwrap();
    // Which sets there are, before and after; files, dump, files, manifest; the set before; which sets would go.
    assert_eq!(begun.lines().count(), 8, "{begun}");
}

#[test]
fn a_full_repository_lets_old_sets_go_before_the_new_one() {
    let pod = filled();
    let _serving = pod.serve();
    limited(&pod);
    backup(&pod, "set-1", "2").done();
    backup(&pod, "set-2", "2").done();
    pod.write("/tmp/full", "");
    let third = backup(&pod, "set-3", "1");
    assert!(third.log.contains("removing 1 sets"), "{}", third.log);
    assert_eq!(backed_up(third.done()).sets_kept, 1);

    // Where that does not help, the message says what does; a set that lacks files has still pushed out no whole one.
    fs::set_permissions(pod.path("/opt/dhis2/files/dataValue/present"), fs::Permissions::from_mode(0o000)).unwrap();
    backup(&pod, "set-4", "1").done();
    fs::create_dir(pod.path("/tmp/full")).unwrap();
    let fifth = backup(&pod, "set-5", "1");
    assert!(fifth.log.contains("enlarge the volume"), "{}", fifth.log);
    assert_eq!(fifth.refused(), Refusal::RepositoryFull);
    assert_eq!(["set-3", "set-4", "set-5"].map(|set| of_set(&pod, set, "manifest")), [1, 1, 0]);
}

#[test]
fn what_cannot_be_opened_is_left_as_it_is() {
    let pod = filled();
    let _serving = pod.serve();
    backup(&pod, "set-1", "3").done();
    pod.write(layout::BACKUP_PASSWORD, "Another-Secret-1");
    assert_eq!(backup(&pod, "set-2", "3").refused(), Refusal::RepositoryKeyMismatch);
    pod.write(layout::BACKUP_PASSWORD, crate::pod::REPOSITORY_PASSWORD);
    fs::remove_file(pod.path("/backups/repository/config")).unwrap();
    assert_eq!(backup(&pod, "set-2", "3").refused(), Refusal::RepositoryKeyMismatch);
    assert!(Path::new(&pod.path("/backups/repository/keys")).is_dir());
}

#[test]
fn a_set_that_has_much_less_pushes_out_no_other_until_it_is_accepted() {
    let pod = filled();
    let _serving = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    let made = |set: &str, more: &[&str]| backed_up(pod.agent(&[&arguments(&pod, set, "1")[..], more].concat()).done());
    assert_eq!(made("set-1", &[]).shrunk, None, "there is nothing to hold it against");
    pod.owner().batch_execute("DELETE FROM datavalue WHERE id <= 1000").unwrap();
    let second = made("set-2", &[]);
    assert_eq!((second.shrunk, second.sets_kept), (None, 1), "a fiftieth is tidied up");
    pod.owner().batch_execute("DELETE FROM datavalue WHERE id <= 30000; DELETE FROM userinfo WHERE userinfoid > 20").unwrap();
    for (set, sets) in [("set-3", 2), ("set-4", 3)] {
        let third = made(set, &[]);
        assert_eq!(third.shrunk.as_deref(), Some("20000 data values of 49000, 20 users of 500 in set set-2"), "{set}");
        assert_eq!((third.retention, third.sets_kept), (Retention::Postponed, sets), "{set}");
    }
    let accepted = made("set-5", &["--accept", "set-3"]);
    assert_eq!((accepted.shrunk, accepted.retention, accepted.sets_kept), (None, Retention::Done, 1));
}

#[test]
fn how_full_the_volumes_are_is_told_and_how_fast_they_fill() {
    const DAY: u64 = 50 << 20;
    let pod = filled();
    let _serving = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    let first = backed_up(backup(&pod, "set-1", "3").done()).capacity;
    let (database, files) = (first.database.unwrap(), first.files.unwrap());
    let wal = manifest(&pod, "set-1")["postgresql"]["walBytes"].as_u64().unwrap();
    assert!(wal > 1 << 20 && database.used > wal + (7 << 20), "{database:?}, of which {wal} for the log");
    assert!(files.free.unwrap() > 0 && files.used > 0, "{files:?}");
    assert_eq!([database.per_day, files.per_day, first.repository.unwrap().per_day], [None; 3]);
    // A set of ten days ago, when everything was larger.
    let then = Timestamp::now() - SignedDuration::from_hours(240);
    forge(&pod, &["--time", &then.strftime("%Y-%m-%d %H:%M:%S").to_string()], |manifest| {
        manifest["created"] = format!("{then:.0}").into();
        let before = &mut manifest["postgresql"]["bytes"];
        *before = (before.as_u64().unwrap() + 10 * DAY).into();
    });
    // Which goes when the next one is made.
    let per_day = backed_up(backup(&pod, "set-2", "1").done()).capacity.database.unwrap().per_day.unwrap();
    assert_eq!(of_set(&pod, "forged", "manifest"), 0);
    let expected = -i64::try_from(DAY).unwrap();
    assert!((per_day - expected).abs() < 1 << 20, "{per_day} instead of {expected}");
}

#[test]
fn a_database_that_does_not_say_whose_it_is_is_not_backed_up() {
    let pod = filled();
    let _serving = pod.serve();
    pod.superuser().batch_execute("DROP SCHEMA dhis2_operator CASCADE").unwrap();
    assert_eq!(backup(&pod, "set-1", "3").refused(), Refusal::VolumeUnmarked);
}

#[test]
fn a_dump_that_breaks_off_makes_no_set() {
    let pod = filled();
    let serving = pod.serve();
    // A disk that gives back something else than was written: the checksums of the data directory tell.
    pod.owner().batch_execute("CREATE TABLE broken (id int)").unwrap();
    let file: String = pod.owner().query_one("SELECT pg_relation_filepath('broken')", &[]).unwrap().get(0);
    pod.owner().batch_execute("INSERT INTO broken SELECT generate_series(1, 1000)").unwrap();
    serving.signal(Signal::SIGTERM);
    serving.wait().done();
    let path = pod.path("/data/pgdata").join(file);
    let mut page = fs::read(&path).unwrap();
    let half = page.len() / 2;
    page[half..].fill(0xff);
    fs::write(&path, page).unwrap();
    let _serving = pod.serve();
    let report = backup(&pod, "set-1", "3").failed();
    assert_eq!(report.reason, Some(Refusal::DumpFailed));
    assert!(report.message.contains("pg_dump"), "{}", report.message);
    assert_eq!(of_set(&pod, "set-1", "manifest"), 0);
}
