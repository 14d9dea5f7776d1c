//! What a bucket refuses to some or to all, with a real S3 server: a key that is gone, a clock that is off, and sets that can't be removed.

use std::collections::BTreeSet;
use std::fs;

use crate::pod::bucket::{BUCKET, Server};
use crate::pod::clock::Clock;
use crate::pod::remote::{backup, backup_of, noise, reason, run, serving, serving_with, verify, words};
use crate::pod::sets::{backed_up, filled};
use crate::pod::signed::Request;
use crate::pod::{Pod, await_that};
use dhis2_operator::report::{BackedUp, Data, Outcome, Refusal, Report, Retention};

const KEY: (&str, &str) = ("Play-Key-1234", "Play-Secret-1234");
/// As docs/backup.md has it.
const ALL: [(&str, &str); 1] = [("GetObject PutObject DeleteObject", "*")];
const ONE: &str = " --keep-last 1 --keep-daily 0 --keep-weekly 0 --keep-monthly 0 --keep-yearly 0";

fn give_key(server: &Server, pod: &Pod, allowed: &[(&str, &str)]) {
    server.administer(&["create-user", "--access", KEY.0, "--secret", KEY.1, "--role", "user"]);
    server.allow(KEY.0, allowed);
    server.let_in_as(pod, KEY.0, KEY.1);
}

fn keeping(pod: &Pod, set: &str, server: &Server, more: &str) -> (BackedUp, String) {
    let report = run(pod, &(backup_of(pod, set, "uid-1", "demo/play") + more), &server.arguments()).done();
    (backed_up(report.clone()), report.message)
}

fn proven(pod: &Pod, server: &Server) -> String {
    let Report { data: Some(Data::Verify(proof)), .. } = verify(pod, "", server).done() else { panic!("no proof") };
    proof.set
}

#[test]
fn a_key_that_has_expired_is_told_and_backups_go_on_when_there_is_one_again() {
    let pod = filled();
    let (_running, server) = serving(&pod);
    give_key(&server, &pod, &ALL);
    backup(&pod, "set-1", &server).done();
    let is_told = |ended| {
        let (reason, outcome, message) = reason(ended);
        assert_eq!((reason, outcome), (Some(Refusal::RepositoryAccessDenied), Outcome::Refused), "{message}");
        assert!(message.contains("spec.backup.repository.s3.credentials"), "{message}");
        assert!(message.contains("Access Key Id you provided does not exist"), "the server's own words: {message}");
    };

    server.administer(&["delete-user", "--access", KEY.0]);
    let before = server.objects();
    is_told(backup(&pod, "set-2", &server));
    assert!(server.objects() == before, "something was written");

    give_key(&server, &pod, &ALL);
    fs::write(pod.path("/opt/dhis2/files/dataValue/large"), noise(64 << 20)).unwrap();
    let packs = server.packs();
    let all = words(&backup_of(&pod, "set-2", "uid-1", "demo/play"), &server.arguments());
    let making = pod.start(&all.iter().map(String::as_str).collect::<Vec<_>>());
    await_that("the set is being made", || server.packs() > packs);
    server.administer(&["delete-user", "--access", KEY.0]);
    is_told(making.wait());

    give_key(&server, &pod, &ALL);
    assert_eq!(backed_up(backup(&pod, "set-2", &server).done()).sets_kept, 2);
}

#[test]
fn a_clock_that_is_off_is_told_as_such() {
    let pod = filled();
    let (_running, server) = serving(&pod);
    for minutes in [-16, 16] {
        let verb = backup_of(&pod, "set-1", "uid-1", "demo/play");
        let (reason, outcome, message) = reason(run(&pod, &verb, &Clock::off(&server, &pod, minutes).arguments()));
        assert_eq!((reason, outcome), (Some(Refusal::RepositoryAccessDenied), Outcome::Refused), "{message}");
        assert!(message.contains("its clock and that of this node") && message.contains("spec.backup.repository.s3"), "{message}");
        assert!(message.contains("request time and the current time is too large"), "the server's own words: {message}");
    }
    assert!(server.objects().is_empty(), "nothing was written");
    let nearly = run(&pod, "verify --instance uid-1 --name demo/play", &Clock::off(&server, &pod, 14).arguments());
    let (reason, _, message) = reason(nearly);
    assert_eq!(reason, None, "{message}");
    assert!(message.contains("bucket and prefix"), "the server tells that there is no repository: {message}");
}

/// As AWS has it: what is deleted is hidden, and nobody removes it before its time.
#[test]
fn with_object_lock_old_sets_go_and_what_somebody_deletes_comes_back() {
    let pod = filled();
    let (_running, server) = serving_with(&pod, |pod| Server::start_with_object_lock(pod, true));
    give_key(&server, &pod, &ALL);
    for set in ["set-1", "set-2"] {
        let (made, message) = keeping(&pod, set, &server, ONE);
        assert_eq!((made.retention, made.sets_kept), (Retention::Done, 1), "{message}");
    }
    assert_eq!(proven(&pod, &server), "set-2");
    assert_eq!(keeping(&pod, "set-3", &server, &format!("{ONE} --append-only")).0.sets_kept, 2);

    let root = |method: &str, target: &str| server.ask(target, &Request { method, ..Request::default() });
    let hidden = || versions(&root("GET", &format!("/{BUCKET}?versions=")).done(), "DeleteMarker");
    let there = versions(&root("GET", &format!("/{BUCKET}?versions=")).done(), "Version");
    let before = hidden();
    for (name, version) in &there {
        assert!(!root("DELETE", &format!("/{BUCKET}/{name}?versionId={version}")).is_done(), "{name} was removed");
        root("DELETE", &format!("/{BUCKET}/{name}")).done();
    }
    let (_, _, message) = reason(verify(&pod, "", &server));
    assert!(message.contains("holds no restic repository"), "{message}");
    for (name, version) in hidden().difference(&before) {
        root("DELETE", &format!("/{BUCKET}/{name}?versionId={version}")).done();
    }
    assert_eq!(proven(&pod, &server), "set-3");
}

/// Names and versions in a list of versions.
fn versions(list: &str, kind: &str) -> BTreeSet<(String, String)> {
    let within = |text: &str, name: &str| Some(text.split_once(&format!("<{name}>"))?.1.split_once(&format!("</{name}>"))?.0.to_owned());
    let begin = format!("<{kind}>");
    list.split(&begin).skip(1).map(|entry| (within(entry, "Key").unwrap(), within(entry, "VersionId").unwrap())).collect()
}

/// As servers have it that know object lock without versions, and keys that may delete nothing.
#[test]
fn where_nothing_can_be_deleted_sets_are_made_and_proven_and_it_is_told() {
    let pod = filled();
    let (_running, server) = serving_with(&pod, |pod| Server::start_with_object_lock(pod, false));
    for (set, sets) in [("set-1", 1), ("set-2", 2)] {
        let (made, message) = keeping(&pod, set, &server, ONE);
        assert_eq!((made.retention, made.sets_kept), (Retention::Failed, sets), "{message}");
        assert!(message.contains("no lock of restic's") && message.contains("s3:DeleteObject"), "{message}");
    }
    assert_eq!(proven(&pod, &server), "set-2");
    let (made, message) = keeping(&pod, "set-3", &server, " --append-only");
    assert_eq!((made.retention, made.sets_kept), (Retention::Done, 3), "{message}");
    assert!(message.contains("no lock of restic's"), "{message}");
}

/// As a key is cut down that is to add sets only.
#[test]
fn where_only_locks_can_be_deleted_it_is_told_that_old_sets_stay() {
    let pod = filled();
    let (_running, server) = serving(&pod);
    give_key(&server, &pod, &[("GetObject PutObject", "*"), ("DeleteObject", "locks/*")]);
    assert_eq!(keeping(&pod, "set-1", &server, ONE).0.retention, Retention::Done, "there is nothing to remove");
    let (made, message) = keeping(&pod, "set-2", &server, ONE);
    assert_eq!((made.retention, made.sets_kept), (Retention::Failed, 2), "{message}");
    assert!(message.contains("appendOnly"), "{message}");
    assert_eq!(proven(&pod, &server), "set-2");
    let (made, message) = keeping(&pod, "set-3", &server, &format!("{ONE} --append-only"));
    assert_eq!((made.retention, made.sets_kept), (Retention::Done, 3), "{message}");
    assert!(message.ends_with("3 sets in the repository; 1 rows of fileresource have no file"), "nothing is wrong: {message}");

    server.allow(KEY.0, &ALL);
    let (made, message) = keeping(&pod, "set-4", &server, ONE);
    assert_eq!(made.retention, Retention::Done, "{message}");
    assert!(made.sets_kept < 4, "{message}");
}
