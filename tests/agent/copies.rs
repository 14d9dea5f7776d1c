//! Sets that are copied to a second repository, with a real PostgreSQL, a real restic and a real S3 server: all of a set or nothing,
//! gone on with after a kill, restored from; nothing is written where somebody else's sets are.

mod read_back;

use std::fs;
use std::process::Command;

use crate::pod::bucket::{self, Server};
use crate::pod::sets::{SCHEMA, backup, filled, of_set, output, restic};
use crate::pod::{Ended, Pod, Running, await_that};
use dhis2_operator::layout;
use dhis2_operator::report::{Copied, Data, Outcome, Refusal, Report};

const KEY: &str = "Copy-Secret-1234";

fn serving(pod: &Pod) -> (Running<'_>, Server) {
    let running = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    pod.write(layout::COPY_PASSWORD, KEY);
    (running, Server::start(pod))
}

fn words(server: &Server, instance: &str, more: &str) -> Vec<String> {
    let verb =
        format!("copy --copy away --instance {instance} --name demo/play --keep-last 1 --keep-daily 0 --keep-weekly 0 --keep-monthly 0");
    verb.split(' ').chain(more.split_whitespace()).map(str::to_owned).chain(server.arguments()).collect()
}

fn run(pod: &Pod, words: &[String]) -> Ended {
    pod.agent(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn copy(pod: &Pod, server: &Server) -> Ended {
    run(pod, &words(server, "uid-1", ""))
}

fn copied(ended: Ended) -> Copied {
    match ended.done() {
        Report { data: Some(Data::Copy(copied)), .. } => copied,
        other => panic!("{other:?}"),
    }
}

/// restic as a person runs it, with the copy and its key and nothing else.
fn there(pod: &Pod, server: &Server) -> Command {
    let mut command = pod.program(&pod.path(layout::RESTIC));
    command.args(["-r", &server.arguments()[1], "-p"]).arg(pod.path(layout::COPY_PASSWORD)).args(["--no-cache", "--json"]);
    command.arg("--cacert").arg(pod.path(&bucket::authority_place())).args(["-o", "s3.bucket-lookup=path", "-o", "s3.region=us-east-1"]);
    command.env("AWS_ACCESS_KEY_ID", bucket::ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", bucket::SECRET_KEY);
    command
}

/// Sets and parts in the copy, in the order of the tags.
fn parts(pod: &Pod, server: &Server) -> Vec<String> {
    let all: Vec<serde_json::Value> = serde_json::from_str(&output(there(pod, server).args(["snapshots"]))).unwrap();
    let tag = |snapshot: &serde_json::Value, key: &str| {
        let mut tags = snapshot["tags"].as_array().unwrap().iter().filter_map(|tag| tag.as_str()?.strip_prefix(key).map(str::to_owned));
        tags.next().unwrap_or_default()
    };
    let mut parts: Vec<String> = all.iter().map(|snapshot| format!("{} {}", tag(snapshot, "set="), tag(snapshot, "part="))).collect();
    parts.sort();
    parts
}

fn whole(set: &str) -> Vec<String> {
    ["dump", "files", "files-again", "manifest"].map(|part| format!("{set} {part}")).to_vec()
}

/// As a mistake by hand does.
fn forget(pod: &Pod, set: &str, part: &str) {
    let tags = format!("set={set},part={part}");
    let found: Vec<serde_json::Value> = serde_json::from_str(&output(restic(pod).args(["snapshots", "--json", "--tag", &tags]))).unwrap();
    output(restic(pod).args(["forget", found[0]["id"].as_str().unwrap()]));
    assert_eq!(of_set(pod, set, part), 0);
}

#[test]
fn sets_are_copied_once_and_restored_from_the_copy() {
    let pod = filled();
    let resource = r#"{"kind":"Dhis2Instance","metadata":{"name":"play","namespace":"demo"},"spec":{"version":"2.42.4.1"}}"#;
    pod.write(layout::RESOURCE, resource);
    let (running, server) = serving(&pod);
    backup(&pod, "set-1", "9").done();
    fs::write(pod.path("/opt/dhis2/files/dataValue/large"), noise(3 << 20)).unwrap();
    backup(&pod, "set-2", "9").done();
    drop(running);
    let source = fs::read_dir(pod.path(layout::REPOSITORY).join("locks")).unwrap().count();
    let first = copied(copy(&pod, &server));
    assert_eq!((first.set.as_str(), first.sets, first.missing, first.key.len()), ("set-2", 2, 0, 16));
    assert!(first.bytes.is_some_and(|bytes| bytes > 3 << 20), "{first:?}");
    assert_eq!(first.repository, server.arguments()[1]);
    assert_eq!(parts(&pod, &server), [whole("set-1"), whole("set-2")].concat());
    assert_eq!(fs::read_dir(pod.path(layout::REPOSITORY).join("locks")).unwrap().count(), source, "the repository is only read");
    let polynomial = |config: &str| serde_json::from_str::<serde_json::Value>(config).unwrap()["chunker_polynomial"].clone();
    let [ours, theirs] = [restic(&pod), there(&pod, &server)].map(|mut restic| polynomial(&output(restic.args(["cat", "config"]))));
    assert_eq!(ours, theirs, "what two sets have in common is sent once");

    let objects = server.objects();
    let second = copied(copy(&pod, &server));
    assert_eq!((second.set.as_str(), second.sets, second.bytes), ("set-2", 2, None));
    assert!(server.objects() == objects, "a second run adds nothing");

    let target = Pod::new();
    target.install(&crate::pod::restic(), layout::RESTIC);
    server.let_in(&target);
    target.write(layout::BACKUP_PASSWORD, KEY);
    let recover: Vec<String> = ["recover", "--read-only"].map(str::to_owned).into_iter().chain(server.arguments()).collect();
    let printed = target.output(&recover.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(printed.contains("name: play-copy") && printed.contains(KEY) && printed.contains(crate::pod::REPOSITORY_PASSWORD), "{printed}");
    let restore = format!("restore --read-only --instance uid-2 --name demo/play --postgresql {} --version 2.42.4.1", crate::pod::major());
    let restore: Vec<String> = restore.split(' ').map(str::to_owned).chain(server.arguments()).collect();
    let Report { data: Some(Data::Restore(restored)), .. } = run(&target, &restore).done() else { panic!("nothing restored") };
    assert_eq!((restored.set.as_str(), restored.rows, restored.files), ("set-2", 50_707, 3));
    assert_eq!(fs::read(target.path("/opt/dhis2/files/dataValue/large")).unwrap(), noise(3 << 20));
    assert!(server.objects() == objects, "something was written");
}

#[test]
fn one_that_was_killed_goes_on_and_half_a_set_is_none() {
    let pod = filled();
    let (_running, server) = serving(&pod);
    fs::write(pod.path("/opt/dhis2/files/dataValue/large"), noise(64 << 20)).unwrap();
    backup(&pod, "set-1", "9").done();
    let slow = words(&server, "uid-1", "--s3-limit-upload 8192");
    let making = pod.start(&slow.iter().map(String::as_str).collect::<Vec<_>>());
    await_that("the set is being sent", || server.packs() > 0);
    making.kill();
    assert!(!parts(&pod, &server).contains(&"set-1 manifest".to_owned()), "half a set");
    assert_eq!(copied(copy(&pod, &server)).set, "set-1");
    assert_eq!(parts(&pod, &server), whole("set-1"));
}

#[test]
fn what_lacks_a_part_is_not_copied_and_others_are() {
    let pod = filled();
    let (_running, server) = serving(&pod);
    let first = pod.agent(&["copy", "--copy", "away", "--instance", "uid-1", "--name", "demo/play"]);
    assert!(first.failed().message.contains("holds no restic repository"), "nothing was backed up yet");
    for set in ["set-1", "set-2"] {
        backup(&pod, set, "9").done();
    }
    forget(&pod, "set-1", "dump");
    let report = copy(&pod, &server).done();
    assert!(report.message.contains("set set-1 is not copied"), "{}", report.message);
    let Some(Data::Copy(copied)) = report.data else { panic!("no data") };
    assert_eq!((copied.set.as_str(), copied.sets, copied.missing), ("set-2", 1, 1));
    assert_eq!(parts(&pod, &server), whole("set-2"));
    forget(&pod, "set-2", "dump");
    backup(&pod, "set-3", "9").done();
    forget(&pod, "set-3", "files-again");
    assert_eq!(copy(&pod, &server).refused(), Refusal::SetIncomplete, "the newest one is what counts");
}

#[test]
fn sets_go_by_the_rules_once_the_repository_has_let_them_go_and_do_not_come_back() {
    let pod = filled();
    let (_running, server) = serving(&pod);
    for set in ["set-1", "set-2"] {
        backup(&pod, set, "9").done();
    }
    assert_eq!(copied(copy(&pod, &server)).sets, 2, "the rules say one, and the repository has both: it would only be sent again");
    backup(&pod, "set-3", "1").done();
    let kept = copied(run(&pod, &words(&server, "uid-1", "--append-only")));
    assert_eq!((kept.set.as_str(), kept.sets), ("set-3", 3));
    assert_eq!(copied(copy(&pod, &server)).sets, 1);
    assert_eq!(parts(&pod, &server), whole("set-3"));
    let objects = server.objects();
    assert_eq!(copied(copy(&pod, &server)).missing, 0);
    assert!(server.objects() == objects, "they came back");
}

#[test]
fn nothing_is_written_where_it_does_not_belong() {
    let pod = filled();
    let (_running, mut server) = serving(&pod);
    backup(&pod, "set-1", "9").done();
    let told = |ended: Ended| ended.report.map(|report| (report.reason, report.outcome, report.message)).unwrap();

    fs::remove_file(pod.path(layout::COPY_PASSWORD)).unwrap();
    let (reason, _, message) = told(copy(&pod, &server));
    assert_eq!(reason, Some(Refusal::SecretMissing));
    assert!(message.contains("spec.backup.copies[].passwordSecretName of copy away"), "{message}");
    pod.write(layout::COPY_PASSWORD, KEY);
    copied(copy(&pod, &server));
    let objects = server.objects();

    pod.write(layout::COPY_PASSWORD, "Another-Key-1234");
    let (reason, _, message) = told(copy(&pod, &server));
    assert_eq!(reason, Some(Refusal::RepositoryForeign), "{message}");
    assert!(message.contains("spec.backup.copies[].s3.prefix"), "{message}");
    pod.write(layout::COPY_PASSWORD, KEY);
    let (reason, _, message) = told(run(&pod, &words(&server, "uid-2", "")));
    assert_eq!(reason, Some(Refusal::RepositoryForeign), "{message}");
    pod.write(layout::BACKUP_PASSWORD, "Another-Key-1234");
    assert_eq!(told(copy(&pod, &server)).0, Some(Refusal::RepositoryKeyMismatch));
    pod.write(layout::BACKUP_PASSWORD, crate::pod::REPOSITORY_PASSWORD);
    assert!(server.objects() == objects, "something was written");
    copied(run(&pod, &words(&server, "uid-2", "--adopt")));

    server.kill();
    let (reason, outcome, message) = told(copy(&pod, &server));
    assert_eq!((reason, outcome), (Some(Refusal::RepositoryUnreachable), Outcome::Failed), "{message}");
    assert!(message.contains("spec.backup.copies[].s3.endpoint"), "{message}");
}

#[test]
fn a_bucket_is_copied_to_another_place_of_its_server() {
    let pod = filled();
    let (_running, server) = serving(&pod);
    let backup = format!("backup --set set-1 --host {} --instance uid-1 --name demo/play --version 2.42.4.1", pod.address);
    let backup: Vec<String> = backup.split(' ').map(str::to_owned).chain(server.arguments()).collect();
    run(&pod, &backup).done();
    let before = server.objects();
    let own = server.arguments()[1].clone();
    let mut all = words(&server, "uid-1", &format!("--from-s3 {own}"));
    for word in all.iter_mut().rev() {
        if *word == own {
            *word = own.replace("demo/play", "copies/play");
            break;
        }
    }
    assert_eq!(copied(run(&pod, &all)).set, "set-1");
    let after = server.objects();
    assert!(before.iter().all(|(path, object)| after.get(path) == Some(object)), "the repository is only read");
    assert!(after.keys().filter(|path| !before.contains_key(*path)).all(|path| path.to_string_lossy().contains("copies/play")));
}

/// Bytes that nothing makes smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let words = (0..length / 8).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.collect()
}
