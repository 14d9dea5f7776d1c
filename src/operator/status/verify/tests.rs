use serde_json::json;

use super::*;
use crate::{
    api::status::{ScheduleStatus, SetStatus},
    operator::{
        kind::Kind,
        slot::{Facts, Pod, fixture::owned},
        trouble::Trouble,
    },
    report::{BackedUp, Outcome, Report, Verb, fixture},
};

fn resource(verify: &serde_json::Value) -> Dhis2Instance {
    let mut resource: Dhis2Instance = serde_json::from_value(json!({
        "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance",
        "metadata": {"name": "play", "namespace": "ns", "uid": "uid-1", "generation": 1},
        "spec": {"version": "2.42.4", "web": {"host": "play.example.org"}, "backup": {"verify": verify}}
    }))
    .unwrap();
    let set = SetStatus { set: "a".into(), time: Some(Time(at("2026-11-01T01:00:00Z"))), ..SetStatus::default() };
    let backup = BackupStatus { last: Some(set), ..BackupStatus::default() };
    resource.status = Some(Dhis2InstanceStatus { backup: Some(backup), ..Dhis2InstanceStatus::default() });
    resource
}

/// Saturdays at seven; November 7th, 2026 is one.
fn weekly() -> Dhis2Instance {
    resource(&json!({"schedule": "0 7 * * 6"}))
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn proof(set: &str, verified: &str) -> Verified {
    Verified {
        set: set.into(),
        created: "2026-11-01T01:00:00Z".into(),
        verified: verified.into(),
        seconds: 90,
        bytes: 5,
        start_seconds: None,
        copy: None,
    }
}

fn pod(component: &str, created: &str) -> Pod {
    Pod { component: component.into(), created: Some(at(created)), ..Pod::default() }
}

fn ended(pod: Pod, verb: Verb, data: Data) -> Pod {
    let report = Report { verb, outcome: Outcome::Done, reason: None, message: String::new(), data: Some(data) };
    Pod { ended: true, reports: vec![report], ..pod }
}

fn proven(set: &str, verified: &str) -> Pod {
    ended(pod("verify", verified), Verb::Verify, Data::Verify(proof(set, verified)))
}

fn failed(created: &str, reason: Reason) -> Pod {
    Pod { ended: true, trouble: Some(Trouble { reason, message: "it is bad".into() }), ..pod("verify", created) }
}

fn observed(pods: &[Pod]) -> Observed {
    let mut observed = Observed { instance: "uid-1".into(), ..Observed::default() };
    for part in ["backup", "verify"] {
        observed.children.insert(Kind::CronJob, &format!("play-{part}"), owned(&format!("cron-{part}"), "uid-1", Facts::Plain));
    }
    for (number, pod) in pods.iter().enumerate() {
        let (job, cron) = (format!("play-{}-{number}", pod.component), format!("cron-{}", pod.component));
        observed.children.insert(Kind::Job, &job, owned(&job, &cron, Facts::Job { finished: None }));
        observed.children.insert(Kind::Pod, &format!("{job}-x"), owned("pod", &job, Facts::Pod(Box::new(pod.clone()))));
    }
    observed
}

/// The restore tests of a resource that had these before, told at a time.
fn told(resource: &mut Dhis2Instance, pods: &[Pod], now: &str) -> (bool, Reason) {
    let (observed, now) = (observed(pods), at(now));
    let mut status = resource.status.clone().unwrap_or_default();
    let mut backup = status.backup.take().unwrap_or_default();
    record(&mut backup, resource, &observed, now);
    status.backup = Some(backup);
    let told = verified(resource, &status, &observed, now);
    resource.status = Some(status);
    (told.holds, told.reason)
}

const DONE: (bool, Reason) = (true, Reason::Done);

#[test]
fn the_first_test_is_awaited_and_told_when_it_does_not_come() {
    let mut resource = weekly();
    assert_eq!(told(&mut resource, &[], "2026-11-02T01:00:00Z"), (false, Reason::NotVerifiedYet));
    let running = [pod("verify", "2026-11-07T07:00:00Z")];
    assert_eq!(told(&mut resource, &running, "2026-11-07T07:01:00Z"), (false, Reason::NotVerifiedYet));
    let status = resource.status.clone().unwrap();
    assert_eq!(overdue_in(&status, at("2026-11-08T06:59:00Z")), Some(Duration::from_mins(1)), "a day is granted");
    assert_eq!(told(&mut resource, &[], "2026-11-08T07:00:00Z"), (false, Reason::VerifyOverdue));
}

#[test]
fn none_is_due_before_there_is_a_set() {
    let mut resource = Dhis2Instance { status: None, ..weekly() };
    assert_eq!(told(&mut resource, &[], "2026-11-02T01:00:00Z"), (false, Reason::NotVerifiedYet));
    assert_eq!(told(&mut resource, &[], "2026-12-24T01:00:00Z"), (false, Reason::NotVerifiedYet));
}

#[test]
fn an_older_set_that_is_whole_makes_no_failure_of_the_newest_good() {
    let failure = failed("2026-11-07T07:00:00Z", Reason::ContentsDiffer);
    let history = |sets: &[(&str, &str)]| -> Vec<SetStatus> {
        let set =
            |(set, started): &(&str, &str)| SetStatus { set: (*set).into(), started: Some(Time(at(started))), ..SetStatus::default() };
        sets.iter().map(set).collect()
    };
    let then = [("new", "2026-11-07T01:00:00Z"), ("old", "2026-11-06T01:00:00Z")];
    let later = [[("later", "2026-11-08T01:00:00Z")].as_slice(), &then].concat();
    let told_of = |sets: &[(&str, &str)], proven_set: &str| {
        let mut resource = weekly();
        resource.status.as_mut().unwrap().backup.as_mut().unwrap().history = history(sets);
        assert_eq!(told(&mut resource, std::slice::from_ref(&failure), "2026-11-07T08:00:00Z"), (false, Reason::ContentsDiffer));
        told(&mut resource, &[proven(proven_set, "2026-11-08T07:00:00Z")], "2026-11-08T08:00:00Z")
    };
    assert_eq!(told_of(&then, "old"), (false, Reason::ContentsDiffer));
    assert_eq!(told_of(&then, "before-all-of-them"), (false, Reason::ContentsDiffer));
    assert_eq!(told_of(&then, "new"), DONE);
    assert_eq!(told_of(&later, "later"), DONE);
    assert_eq!(told_of(&[], "of-another-instance"), DONE, "nothing is known of which is new");
}

#[test]
fn a_proof_holds_until_the_next_one_is_late() {
    let mut resource = weekly();
    assert_eq!(told(&mut resource, &[proven("a", "2026-11-07T07:10:00Z")], "2026-11-07T07:11:00Z"), DONE);
    assert_eq!(told(&mut resource, &[], "2026-11-15T06:59:00Z"), DONE, "though its pod is gone");
    let status = resource.status.clone().unwrap();
    let verified = status.backup.clone().unwrap().last_verified.unwrap();
    assert_eq!((verified.set.as_str(), verified.seconds, verified.bytes), ("a", Some(90), Some(5)));
    assert_eq!(super::super::revisit(&resource, &status, &Observed::default(), at("2026-11-15T06:59:00Z")), Duration::from_mins(1));
    assert_eq!(told(&mut resource, &[], "2026-11-15T07:00:00Z"), (false, Reason::VerifyOverdue));
    assert_eq!(told(&mut resource, &[pod("verify", "2026-11-15T07:00:00Z")], "2026-11-15T07:01:00Z"), DONE, "the next one is under way");
}

#[test]
fn a_failure_counts_until_a_newer_proof() {
    let mut resource = weekly();
    let (first, second) = (proven("a", "2026-11-07T07:10:00Z"), failed("2026-11-14T07:00:00Z", Reason::RepositoryDamaged));
    assert_eq!(told(&mut resource, &[first.clone(), second], "2026-11-14T07:10:00Z"), (false, Reason::RepositoryDamaged));
    assert_eq!(told(&mut resource, &[first], "2026-11-14T08:00:00Z"), (false, Reason::RepositoryDamaged), "though its pod is gone");
    assert_eq!(told(&mut resource, &[proven("b", "2026-11-14T09:00:00Z")], "2026-11-14T09:01:00Z"), DONE);
    assert_eq!(resource.status.unwrap().backup.unwrap().verify_failure, None);
}

#[test]
fn what_has_no_reason_says_nothing_about_the_set() {
    assert_eq!(told(&mut weekly(), &[failed("2026-11-14T07:00:00Z", Reason::Failed)], "2026-11-14T07:10:00Z").1, Reason::RestoreTestFailed);
}

#[test]
fn a_proof_that_only_the_repository_knows_is_told_by_the_next_backup() {
    let set = BackedUp { verified: Some(proof("a", "2026-11-14T07:10:00Z")), ..fixture::set("b", "2026-11-15T01:00:00Z") };
    let backup = ended(pod("backup", "2026-11-15T01:00:00Z"), Verb::Backup, Data::Backup(Box::new(set)));
    let mut resource = weekly();
    assert_eq!(told(&mut resource, std::slice::from_ref(&backup), "2026-11-15T01:05:00Z"), DONE);
    let newer = [backup, proven("b", "2026-11-15T07:10:00Z")];
    assert_eq!(told(&mut resource, &newer, "2026-11-15T07:11:00Z"), DONE);
    assert_eq!(resource.status.unwrap().backup.unwrap().last_verified.unwrap().set, "b", "the older word changes nothing");
}

#[test]
fn a_clock_that_was_wrong_hides_nothing() {
    for wrong in ["2031-01-01T00:00:00Z", "2026-11-07T19:00:00Z", "2019-01-01T00:00:00Z"] {
        let mut resource = weekly();
        let test = |created: &str, set: &str, said: &str| ended(pod("verify", created), Verb::Verify, Data::Verify(proof(set, said)));
        // The repository's word of the same proof, by every backup after it.
        let backup = |created: &str| {
            let set = BackedUp { verified: Some(proof("a", wrong)), ..fixture::set("b", created) };
            ended(pod("backup", created), Verb::Backup, Data::Backup(Box::new(set)))
        };
        let first = [test("2026-11-07T07:00:00Z", "a", wrong), backup("2026-11-08T01:00:00Z")];
        assert_eq!(told(&mut resource, &first, "2026-11-08T01:05:00Z"), DONE, "{wrong}");
        let later = [backup("2026-11-14T01:00:00Z"), failed("2026-11-14T07:00:00Z", Reason::RepositoryDamaged)];
        assert_eq!(told(&mut resource.clone(), &later, "2026-11-14T07:10:00Z"), (false, Reason::RepositoryDamaged), "{wrong}");
        assert_eq!(told(&mut resource.clone(), &later[..1], "2026-11-15T07:00:00Z"), (false, Reason::VerifyOverdue), "{wrong}");
        let second = [test("2026-11-14T07:00:00Z", "b", "2026-11-14T07:10:00Z"), backup("2026-11-15T01:00:00Z")];
        assert_eq!(told(&mut resource, &second, "2026-11-15T01:05:00Z"), DONE, "{wrong}");
        assert_eq!(resource.status.unwrap().backup.unwrap().last_verified.unwrap().set, "b", "{wrong}");
    }
}

#[test]
fn a_proof_of_a_wrong_clock_that_only_the_repository_knows_counts_from_the_backup_on() {
    let mut resource = weekly();
    let backup = |created: &str| {
        let set = BackedUp { verified: Some(proof("a", "2031-01-01T00:00:00Z")), ..fixture::set("b", created) };
        ended(pod("backup", created), Verb::Backup, Data::Backup(Box::new(set)))
    };
    for created in ["2026-11-07T08:00:00Z", "2026-11-14T08:00:00Z"] {
        assert_eq!(told(&mut resource, &[backup(created)], created), DONE);
    }
    assert_eq!(told(&mut resource, &[], "2026-11-15T07:00:00Z"), (false, Reason::VerifyOverdue));
}

#[test]
fn switched_off_tests_are_told() {
    assert_eq!(told(&mut resource(&json!({"suspend": true})), &[], "2026-12-24T01:00:00Z"), (false, Reason::VerifySuspended));
}

#[test]
fn whoever_will_not_wait_for_the_first_test_is_told_how() {
    let schedule = ScheduleStatus { cron: "30 7 * * 6".to_owned(), time_zone: Some("Africa/Kigali".to_owned()), since: None };
    let backup = BackupStatus { verify_schedule: Some(schedule), ..BackupStatus::default() };
    let told = not_yet(&backup);
    assert!(told.contains("its schedule, \"30 7 * * 6\" (Africa/Kigali). A Dhis2RestoreTest makes one now."), "{told}");
}
