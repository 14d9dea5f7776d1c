use serde_json::json;

use super::*;
use crate::{
    operator::slot::{
        Facts, Pod,
        fixture::{claim, owned},
    },
    report::{Capacity, Outcome, Report, Verb, fixture},
};

const GIB: i64 = 1 << 30;

fn resource() -> Dhis2Instance {
    serde_json::from_value(json!({
        "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance",
        "metadata": {"name": "play", "namespace": "ns", "uid": "uid-1", "generation": 1},
        "spec": {"version": "2.42.4", "web": {"host": "play.example.org"}}
    }))
    .unwrap()
}

/// Backups with these capacities, and claims of this size.
fn observed(sets: &[BackedUp], size: &str) -> Observed {
    let mut observed = Observed { instance: "uid-1".into(), ..Observed::default() };
    observed.children.insert(Kind::CronJob, "play-backup", owned("cron", "uid-1", Facts::Plain));
    for set in sets {
        let data = Some(Data::Backup(Box::new(set.clone())));
        let report = Report { verb: Verb::Backup, outcome: Outcome::Done, reason: None, message: String::new(), data };
        // The node's clock has fractions of a second, the API server's has none.
        let created = set.created.parse::<Timestamp>().ok().and_then(|said| Timestamp::from_second(said.as_second()).ok());
        let pod = Pod { component: "backup".into(), ended: true, created, reports: vec![report], ..Pod::default() };
        observed.children.insert(Kind::Job, &set.set, owned(&set.set, "cron", Facts::Job { finished: Some(true) }));
        observed.children.insert(Kind::Pod, &format!("{}-x", set.set), owned("pod", &set.set, Facts::Pod(Box::new(pod))));
    }
    for part in ["database", "files", "backups"] {
        let claim = claim(size, Some(size), None);
        observed.children.insert(Kind::PersistentVolumeClaim, &format!("play-{part}"), owned(part, "uid-1", claim));
    }
    observed
}

/// A database of so many Gi, which grows by so many MiB a day, and volumes for files and backups of which this is free.
fn set(name: &str, created: &str, used: i64, per_day: i64, free: i64) -> BackedUp {
    let bytes = |gib: i64| u64::try_from(gib * GIB).unwrap();
    let database = Filling { used: bytes(used), free: None, per_day: Some(per_day << 20) };
    let volume = Filling { used: bytes(1), free: Some(bytes(free)), per_day: Some(100 << 20) };
    let capacity = Capacity { database: Some(database), files: Some(volume), repository: Some(volume) };
    BackedUp { capacity, ..fixture::set(name, created) }
}

const FIRST: &str = "2026-11-24T01:00:00Z";
const SECOND: &str = "2026-11-25T01:00:00Z";

#[test]
fn the_newest_backup_says_how_full_the_volumes_are() {
    let sets = [set("b", SECOND, 4, 512, 8), set("a", FIRST, 3, 0, 9)];
    let told = recorded(None, &resource(), &observed(&sets, "10Gi")).unwrap();
    assert_eq!(told.time.as_ref().map(|time| time.0.to_string()).as_deref(), Some(SECOND));
    let database = told.database.clone().unwrap();
    assert_eq!((database.size, database.free, database.days_to_full), (Some(10 * GIB), Some(6 * GIB), Some(12)));
    assert_eq!(told.files.as_ref().and_then(|files| files.free), Some(8 * GIB), "as the file system says");
    // Its pod is gone, an older one is there still.
    assert_eq!(recorded(Some(&told), &resource(), &observed(&sets[1..], "10Gi")), Some(told));
    assert_eq!(recorded(None, &resource(), &observed(&[], "10Gi")), None);
}

#[test]
fn a_volume_that_fills_up_is_told_with_what_to_write() {
    let told = recorded(None, &resource(), &observed(&[set("a", FIRST, 4, 512, 9)], "10Gi")).unwrap();
    let told = sufficient(&told);
    assert_eq!((told.holds, told.reason), (false, Reason::CapacityShort));
    let words = "The volume of the database has 6Gi free and grows by 512Mi a day: it is full in about 12 days. Set spec.database.bundled.storage.size to 100Gi.";
    assert_eq!(told.message, words);
}

#[test]
fn each_volume_names_its_own_field() {
    let told = sufficient(&recorded(None, &resource(), &observed(&[set("a", FIRST, 10, 1, 1)], "10Gi")).unwrap()).message;
    for field in ["spec.database.bundled.storage.size", "spec.files.volume.size to 28Gi", "spec.backup.repository.volume.size to 28Gi"] {
        assert!(told.contains(field), "{told}");
    }
}

#[test]
fn of_a_bucket_only_what_is_in_use_is_told() {
    let mut in_bucket = resource();
    let s3 = serde_json::from_value(serde_json::json!({"bucket": "sets", "credentials": {"secretName": "s3"}})).unwrap();
    in_bucket.spec.backup.repository.s3 = Some(s3);
    let mut set = set("a", FIRST, 4, 1, 9);
    let used = Filling { used: 5 << 30, free: None, per_day: Some(1 << 30) };
    set.capacity.repository = Some(used);
    // The claim of before is there still.
    let told = recorded(None, &in_bucket, &observed(&[set], "10Gi")).unwrap();
    let repository = told.repository.clone().unwrap();
    assert_eq!((repository.used, repository.free, repository.size, repository.days_to_full), (5 * GIB, None, None, None));
    assert!(!sufficient(&told).message.contains("repository"), "{:?}", sufficient(&told));
}

#[test]
fn thirty_days_are_enough_and_what_does_not_grow_never_fills() {
    // 3000 MiB at 100 MiB a day.
    let volume = |free: i64, per_day: i64| {
        let mut volume = VolumeCapacity { free: Some(free << 20), per_day: Some(per_day << 20), ..VolumeCapacity::default() };
        resize(&mut volume, 10 * GIB);
        sufficient(&CapacityStatus { files: Some(volume), ..CapacityStatus::default() }).holds
    };
    assert!(volume(3000, 100));
    assert!(!volume(2999, 100));
    assert!(volume(0, 0) && volume(0, -5));
}

#[test]
fn a_larger_volume_ends_it_before_the_next_backup() {
    let sets = [set("a", FIRST, 4, 512, 1)];
    let short = recorded(None, &resource(), &observed(&sets, "10Gi")).unwrap();
    assert!(!sufficient(&short).holds);
    let grown = recorded(Some(&short), &resource(), &observed(&sets, "100Gi")).unwrap();
    let free = |volume: &Option<VolumeCapacity>| volume.as_ref().and_then(|volume| volume.free);
    assert_eq!((free(&grown.database), free(&grown.files)), (Some(96 * GIB), Some(91 * GIB)));
    assert!(sufficient(&grown).holds, "{:?}", sufficient(&grown));
    assert_eq!(recorded(Some(&grown), &resource(), &observed(&sets, "100Gi")), Some(grown), "once");
}

#[test]
fn what_is_not_known_yet_is_not_promised() {
    let mut set = set("a", FIRST, 4, 512, 1);
    for volume in [&mut set.capacity.database, &mut set.capacity.files, &mut set.capacity.repository].into_iter().flatten() {
        volume.per_day = None;
    }
    let told = sufficient(&recorded(None, &resource(), &observed(&[set.clone()], "10Gi")).unwrap());
    assert!(told.holds && told.message.contains("three days"), "{told:?}");
    set.capacity = Capacity::default();
    assert_eq!(recorded(None, &resource(), &observed(&[set], "10Gi")), None, "an agent that does not tell");
}
