//! What was sent to a copy is read back: once a week a share of it, and a set as a whole when a restore test is asked for.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{copied, copy, noise, parts, run, serving, there, whole};
use crate::pod::bucket::Server;
use crate::pod::sets::{backup, filled, of_set, output, restic};
use crate::pod::{Ended, Pod};
use dhis2_operator::layout;
use dhis2_operator::report::{Data, Refusal, Report, Verified};
use jiff::Timestamp;

const WEEK: i64 = 7 * 24 * 3600;
/// Weeks until a copy was read as a whole.
const SHARES: i64 = 52;

fn verify(pod: &Pod, server: &Server) -> Ended {
    let words = "verify --copy away --instance uid-1 --name demo/play".split(' ').map(str::to_owned);
    run(pod, &words.chain(server.arguments()).collect::<Vec<_>>())
}

/// Moves a set, which is known by its manifest, to another time.
fn is_of(mut restic: impl FnMut() -> Command, set: &str, time: Timestamp) {
    let tags = format!("set={set},part=manifest");
    let found: Vec<serde_json::Value> = serde_json::from_str(&output(restic().args(["snapshots", "--json", "--tag", &tags]))).unwrap();
    let id = found[0]["id"].as_str().unwrap().to_owned();
    let time = time.strftime("%Y-%m-%d %H:%M:%S").to_string();
    output(restic().env("TZ", "UTC").args(["rewrite", "--forget", "--new-time", &time, &id]));
}

/// The largest pack in the bucket.
fn pack(server: &Server) -> PathBuf {
    let packs = server.objects().into_iter().filter(|(path, _)| path.to_string_lossy().contains("/data/"));
    packs.max_by_key(|(_, content)| content.len()).unwrap().0
}

fn flip(file: &PathBuf) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

/// A time at which this pack is in the share of the week: restic takes the packs whose first byte has that remainder.
fn when_it_is_read(pack: &std::path::Path) -> Timestamp {
    let name = pack.file_name().unwrap().to_str().unwrap();
    let first = i64::from(u8::from_str_radix(&name[..2], 16).unwrap());
    let now = Timestamp::now().as_second() / WEEK;
    let week = (0..SHARES).map(|back| now - back).find(|week| week % SHARES == first % SHARES).unwrap();
    Timestamp::from_second(week * WEEK).unwrap()
}

#[test]
fn once_a_week_a_share_is_read_and_nothing_more_is_sent_to_what_is_damaged() {
    let pod = filled();
    let (_running, server) = serving(&pod);
    fs::write(pod.path("/opt/dhis2/files/dataValue/large"), noise(3 << 20)).unwrap();
    backup(&pod, "set-1", "9").done();
    copied(copy(&pod, &server));
    let pack = pack(&server);
    let long_ago = "2020-01-01T00:00:00Z".parse().unwrap();
    is_of(|| restic(&pod), "set-1", long_ago);
    is_of(|| there(&pod, &server), "set-1", long_ago);
    backup(&pod, "set-2", "9").done();
    is_of(|| restic(&pod), "set-2", when_it_is_read(&pack));

    flip(&pack);
    let objects = server.objects();
    for _ in 0..2 {
        let ended = copy(&pod, &server);
        let said = ended.report.clone().unwrap().message;
        assert_eq!(ended.refused(), Refusal::RepositoryDamaged, "until somebody has mended it: {said}");
        assert!(said.starts_with("the copy is damaged"), "{said}");
    }
    assert!(server.objects() == objects, "something was sent");

    flip(&pack);
    assert_eq!(copied(copy(&pod, &server)).set, "set-2");
    flip(&pack);
    copied(copy(&pod, &server));
}

#[test]
fn a_restore_test_of_a_copy_restores_from_there_and_proves_nothing_of_the_repository() {
    let pod = filled();
    let (running, server) = serving(&pod);
    fs::write(pod.path("/opt/dhis2/files/dataValue/large"), noise(3 << 20)).unwrap();
    backup(&pod, "set-1", "9").done();
    copied(copy(&pod, &server));
    drop(running);
    // A copy has to be enough.
    fs::rename(pod.path(layout::REPOSITORY), pod.path("/backups/lost")).unwrap();
    let Report { data: Some(Data::Verify(Verified { set, .. })), .. } = verify(&pod, &server).done() else { panic!("nothing proven") };
    assert_eq!(set, "set-1");
    assert_eq!(parts(&pod, &server), [whole("set-1"), vec!["set-1 proof".to_owned()]].concat(), "it stays there as the proven one");

    flip(&pack(&server));
    let ended = verify(&pod, &server);
    let said = ended.report.clone().unwrap().message;
    assert_eq!(ended.refused(), Refusal::RepositoryDamaged, "{said}");
    fs::remove_file(pod.path(layout::COPY_PASSWORD)).unwrap();
    let ended = verify(&pod, &server);
    let said = ended.report.clone().unwrap().message;
    assert_eq!(ended.refused(), Refusal::SecretMissing, "{said}");
    assert!(said.contains("spec.backup.copies[].passwordSecretName"), "{said}");
    fs::rename(pod.path("/backups/lost"), pod.path(layout::REPOSITORY)).unwrap();
    assert_eq!(of_set(&pod, "set-1", "proof"), 0);
}
