//! Backup sets in a bucket, with a real PostgreSQL, a real restic and a real S3 server: made, proven and restored; and what is told when
//! the server is away, refuses, is another one, or has somebody else's repository.

use std::fs;

use crate::pod::bucket;
use crate::pod::line::Line;
use crate::pod::remote::{backup, backup_of, noise, reason, run, serving, verify, words};
use crate::pod::sets::{backed_up, filled};
use crate::pod::{Pod, await_that};
use dhis2_operator::layout;
use dhis2_operator::report::{Data, Outcome, Refusal, Report};

#[test]
fn a_set_in_a_bucket_is_made_proven_and_restored() {
    let pod = filled();
    let resource = r#"{"kind":"Dhis2Instance","metadata":{"name":"play","namespace":"demo"},"spec":{"version":"2.42.4.1"}}"#;
    pod.write(layout::RESOURCE, resource);
    let (running, server) = serving(&pod);
    let report = backup(&pod, "set-1", &server).done();
    let made = backed_up(report.clone());
    assert_eq!((made.rows, made.files, made.sets_kept), (50_707, 2, 1));
    let filling = made.capacity.repository.unwrap();
    assert!(filling.used > 1_000_000 && filling.free.is_none(), "{filling:?}");
    assert_eq!(backup(&pod, "set-1", &server).done(), report, "a second run of the same Job reports the same");
    assert_eq!(fs::read_dir(pod.path(layout::BACKUPS)).unwrap().count(), 0, "there is no such volume");
    drop(running);

    let Report { data: Some(Data::Verify(proof)), .. } = verify(&pod, "", &server).done() else { panic!("no proof") };
    assert_eq!(proof.set, "set-1");

    let target = Pod::new();
    target.install(&crate::pod::restic(), layout::RESTIC);
    server.let_in(&target);
    // By another instance, which writes nothing to it.
    let before = server.objects();
    let printed = target.output(&words("recover --read-only", &server.arguments()).iter().map(String::as_str).collect::<Vec<_>>());
    assert!(printed.contains("prefix: demo/play") && printed.contains(crate::pod::ENCRYPTION), "{printed}");
    let restore = format!("restore --read-only --instance uid-2 --name demo/play --postgresql {} --version 2.42.4.1", crate::pod::major());
    let Report { data: Some(Data::Restore(restored)), .. } = run(&target, &restore, &server.arguments()).done() else {
        panic!("nothing restored")
    };
    assert_eq!((restored.set.as_str(), restored.rows, restored.files), ("set-1", 50_707, 2));
    assert_eq!(target.read("/opt/dhis2/files/dataValue/present"), "a file");
    assert!(server.objects() == before, "something was written");
}

#[test]
fn a_line_is_left_to_others_as_well() {
    const KIB: u64 = 512;
    let pod = filled();
    let (_running, server) = serving(&pod);
    fs::write(pod.path("/opt/dhis2/files/dataValue/large"), noise(3 << 20)).unwrap();
    let begun = std::time::Instant::now();
    run(&pod, &(backup_of(&pod, "set-1", "uid-1", "demo/play") + &format!(" --s3-limit-upload {KIB}")), &server.arguments()).done();
    let least = std::time::Duration::from_secs((3 << 10) / KIB - 1);
    assert!(begun.elapsed() >= least, "3 MiB were sent in {:?}, at {KIB} KiB a second", begun.elapsed());
    let begun = std::time::Instant::now();
    verify(&pod, &format!(" --s3-limit-download {KIB}"), &server).done();
    assert!(begun.elapsed() >= least, "3 MiB were fetched in {:?}, at {KIB} KiB a second", begun.elapsed());
}

#[test]
fn what_is_wrong_with_the_server_is_told_by_its_reason() {
    let pod = filled();
    let (_running, mut server) = serving(&pod);
    let credential = |key: &str| format!("{}/{key}", layout::S3_CREDENTIALS);
    let refused = |told: (Option<Refusal>, Outcome, String), expected: Refusal, field: &str| {
        let (reason, outcome, message) = told;
        assert_eq!(reason, Some(expected), "{message}");
        let heals = if expected.heals() { Outcome::Failed } else { Outcome::Refused };
        assert_eq!(outcome, heals, "{message}");
        assert!(message.contains(field), "{message}");
    };

    pod.write(&credential(layout::S3_SECRET_ACCESS_KEY), "wrong");
    refused(reason(backup(&pod, "set-1", &server)), Refusal::RepositoryAccessDenied, "spec.backup.repository.s3.credentials");
    fs::remove_file(pod.path(&credential(layout::S3_SECRET_ACCESS_KEY))).unwrap();
    refused(reason(backup(&pod, "set-1", &server)), Refusal::SecretMissing, "spec.backup.repository.s3.credentials.secretName");
    server.let_in(&pod);

    let other = tempfile::tempdir().unwrap();
    pod.write(&bucket::authority_place(), &bucket::certificate(other.path(), &pod.address));
    refused(reason(backup(&pod, "set-1", &server)), Refusal::RepositoryUnreachable, "caSecretName");
    server.let_in(&pod);
    assert!(server.objects().is_empty(), "nothing was written so far");

    let absent = reason(verify(&pod, "", &server));
    assert_eq!((absent.0, absent.1), (None, Outcome::Failed), "{}", absent.2);
    assert!(absent.2.contains("bucket and prefix"), "{}", absent.2);
    server.kill();
    refused(reason(backup(&pod, "set-1", &server)), Refusal::RepositoryUnreachable, "spec.backup.repository.s3.endpoint");
}

#[test]
fn nothing_is_written_to_the_repository_of_another_instance() {
    let pod = filled();
    let (_running, server) = serving(&pod);
    backup(&pod, "set-1", &server).done();
    let before = server.objects();
    let foreign = |instance: &str, name: &str, more: &str| {
        let verb = backup_of(&pod, "set-2", instance, name) + more;
        let (reason, _, message) = reason(run(&pod, &verb, &server.arguments()));
        assert_eq!(reason, Some(Refusal::RepositoryForeign), "{message}");
        assert!(message.contains("spec.backup.repository.s3.prefix"), "{message}");
        assert!(server.objects() == before, "something was written");
    };
    // With the same key: of the same name in another cluster, and of another name.
    foreign("uid-2", "demo/play", "");
    foreign("uid-2", "demo/staging", " --adopt");
    // With its own key.
    pod.write(layout::BACKUP_PASSWORD, "Another-Key-1234");
    foreign("uid-2", "demo/play", " --adopt");
    pod.write(layout::BACKUP_PASSWORD, crate::pod::REPOSITORY_PASSWORD);
    backup(&pod, "set-2", &server).done();

    // One that has taken its place begins a set; then the cluster that was thought lost is back, where it had been recovered itself once.
    let other = run(&pod, &(backup_of(&pod, "set-3", "uid-2", "demo/play") + " --adopt"), &server.arguments());
    assert_eq!(reason(other).0, Some(Refusal::VolumeForeign), "the database is the first one's");
    let before = server.objects();
    let (reason, _, message) = reason(run(&pod, &(backup_of(&pod, "set-4", "uid-1", "demo/play") + " --adopt"), &server.arguments()));
    assert_eq!(reason, Some(Refusal::RepositoryForeign), "{message}");
    assert!(message.contains("two clusters think that they are the one"), "{message}");
    assert!(server.objects() == before, "something was written");
}

#[test]
fn a_connection_that_is_cut_costs_the_set_that_is_being_made_and_no_other() {
    let pod = filled();
    let (running, mut server) = serving(&pod);
    backup(&pod, "set-1", &server).done();
    fs::write(pod.path("/opt/dhis2/files/dataValue/large"), noise(64 << 20)).unwrap();

    let packs = server.packs();
    let all = words(&backup_of(&pod, "set-2", "uid-1", "demo/play"), &server.arguments());
    let making = pod.start(&all.iter().map(String::as_str).collect::<Vec<_>>());
    await_that("the set is being made", || server.packs() > packs);
    server.kill();
    let (reason, outcome, message) = reason(making.wait());
    assert_eq!((reason, outcome), (Some(Refusal::RepositoryUnreachable), Outcome::Failed), "{message}");

    server.go_on();
    let Report { data: Some(Data::Verify(proof)), .. } = verify(&pod, "", &server).done() else { panic!("no proof") };
    assert_eq!(proof.set, "set-1", "the last good set");
    assert_eq!(backed_up(backup(&pod, "set-2", &server).done()).sets_kept, 2);
    drop(running);
}

/// As a provider leaves it whose bill was not paid, or a key that was cut down: what is there is still the instance's.
#[test]
fn a_bucket_that_can_only_be_read_is_told_and_gives_its_sets_back() {
    let pod = filled();
    let (running, mut server) = serving(&pod);
    backup(&pod, "set-1", &server).done();
    server.kill();
    server.go_on_for_readers();
    let before = server.objects();
    let (reason, _, message) = reason(backup(&pod, "set-2", &server));
    assert_eq!(reason, Some(Refusal::RepositoryAccessDenied), "{message}");
    assert!(message.contains("spec.backup.repository.s3.credentials"), "{message}");
    drop(running);
    let target = Pod::new();
    target.install(&crate::pod::restic(), layout::RESTIC);
    server.let_in(&target);
    let restore = format!("restore --instance uid-1 --name demo/play --postgresql {} --version 2.42.4.1", crate::pod::major());
    run(&target, &restore, &server.arguments()).done();
    assert!(server.objects() == before, "something was written");
}

#[test]
fn a_bucket_that_is_full_is_told_and_takes_sets_again_when_there_is_room() {
    if !nix::unistd::geteuid().is_root() {
        println!("left out: a disk of its own takes root");
        return;
    }
    let pod = filled();
    let (_running, mut server) = serving(&pod);
    fs::write(pod.path("/opt/dhis2/files/dataValue/large"), noise(16 << 20)).unwrap();
    server.kill();
    server.go_on_with_little_room(12);
    let (reason, _, message) = reason(backup(&pod, "set-1", &server));
    assert_eq!(reason, Some(Refusal::RepositoryFull), "{message}");
    server.kill();
    server.go_on_with_little_room(64);
    assert_eq!(backed_up(backup(&pod, "set-1", &server).done()).sets_kept, 1);
}

/// What a site has: 1 Mbit/s, in both directions.
#[test]
fn over_a_line_of_a_megabit_a_set_is_made_and_proven() {
    const BYTES_A_SECOND: u64 = 125_000;
    let pod = filled();
    let (_running, server) = serving(&pod);
    fs::write(pod.path("/opt/dhis2/files/dataValue/large"), noise(1 << 20)).unwrap();
    let line = Line::thin(&server, &pod, BYTES_A_SECOND);
    let begun = std::time::Instant::now();
    run(&pod, &backup_of(&pod, "set-1", "uid-1", "demo/play"), &line.arguments()).done();
    let least = std::time::Duration::from_secs((1 << 20) / BYTES_A_SECOND);
    assert!(begun.elapsed() >= least, "a MiB was sent in {:?}", begun.elapsed());
    run(&pod, "verify --instance uid-1 --name demo/play", &line.arguments()).done();
}

/// restic gives up a request on which nothing moves after five minutes, and tries it again (its `--stuck-request-timeout`).
#[test]
#[ignore = "takes over five minutes: cargo test --test agent silent -- --ignored"]
fn connections_that_fall_silent_are_given_up_and_the_set_is_made() {
    let pod = filled();
    let (_running, server) = serving(&pod);
    fs::write(pod.path("/opt/dhis2/files/dataValue/large"), noise(24 << 20)).unwrap();
    let line = Line::silent_after(&server, &pod, 8 << 20);
    let begun = std::time::Instant::now();
    run(&pod, &backup_of(&pod, "set-1", "uid-1", "demo/play"), &line.arguments()).done();
    println!("a set was made over a line that fell silent in {:.0} s", begun.elapsed().as_secs_f32());
    assert!(begun.elapsed().as_secs() > 60, "the line did not fall silent");
    run(&pod, "verify --instance uid-1 --name demo/play", &server.arguments()).done();
}
