use serde_json::json;

use super::*;
use crate::{
    operator::{
        slot::{Facts, fixture::owned},
        trouble::Trouble,
    },
    report::fixture::set,
};

fn resource(backup: &serde_json::Value) -> Dhis2Instance {
    serde_json::from_value(json!({
        "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance",
        "metadata": {"name": "play", "namespace": "ns", "uid": "uid-1", "generation": 1},
        "spec": {"version": "2.42.4", "web": {"host": "play.example.org"}, "backup": backup}
    }))
    .unwrap()
}

fn daily() -> Dhis2Instance {
    resource(&json!({"schedule": "0 1 * * *"}))
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn made(created: &str, set: BackedUp) -> Pod {
    let report = crate::report::Report {
        verb: crate::report::Verb::Backup,
        outcome: crate::report::Outcome::Done,
        reason: None,
        message: String::new(),
        data: Some(Data::Backup(Box::new(set))),
    };
    Pod { component: "backup".into(), ended: true, created: Some(at(created)), reports: vec![report], ..Pod::default() }
}

fn failed(created: &str) -> Pod {
    let trouble = Some(Trouble { reason: Reason::DumpFailed, message: "broke off".into() });
    Pod { component: "backup".into(), ended: true, created: Some(at(created)), trouble, ..Pod::default() }
}

fn running(created: &str) -> Pod {
    Pod { component: "backup".into(), created: Some(at(created)), ..Pod::default() }
}

fn observed(pods: &[Pod]) -> Observed {
    let mut observed = Observed { instance: "uid-1".into(), ..Observed::default() };
    observed.children.insert(Kind::CronJob, "play-backup", owned("cron", "uid-1", Facts::Plain));
    for (number, pod) in pods.iter().enumerate() {
        let job = format!("play-backup-{number}");
        observed.children.insert(Kind::Job, &job, owned(&job, "cron", Facts::Job { finished: None }));
        observed.children.insert(Kind::Pod, &format!("{job}-x"), owned("pod", &job, Facts::Pod(Box::new(pod.clone()))));
    }
    observed
}

/// The backups of a resource that had these before, told at a time.
fn told(resource: &mut Dhis2Instance, pods: &[Pod], now: &str) -> (bool, Reason) {
    let (observed, now) = (observed(pods), at(now));
    let mut status = resource.status.clone().unwrap_or_default();
    status.backup = recorded(status.backup.take(), resource, &observed, now);
    let told = healthy(resource, &status, &Outcome::Paused, &observed, now);
    resource.status = Some(status);
    (told.holds, told.reason)
}

const DONE: (bool, Reason) = (true, Reason::Done);

#[test]
fn a_set_that_has_much_less_is_told_until_it_is_accepted_or_a_newer_one_has_not() {
    let mut resource = daily();
    let small = |name: &str, time: &str| BackedUp { shrunk: Some("2 users of 12 in set a".into()), ..set(name, time) };
    let second = made("2026-11-25T01:00:00Z", small("b", "2026-11-25T01:01:00Z"));
    let of = |resource: &Dhis2Instance| {
        let told = sane(resource, resource.status.as_ref().unwrap());
        (told.holds, told.reason, told.message)
    };
    told(&mut resource, &[made("2026-11-24T01:00:00Z", set("a", "2026-11-24T01:01:00Z"))], "2026-11-24T01:02:00Z");
    assert!(of(&resource).0);
    told(&mut resource, std::slice::from_ref(&second), "2026-11-25T01:02:00Z");
    let (holds, reason, message) = of(&resource);
    assert_eq!((holds, reason), (false, Reason::ContentShrunk));
    assert!(message.contains("2 users of 12 in set a") && message.contains("dhis2.hosting/accepted-set=b"), "{message}");
    resource.metadata.annotations = Some([(ACCEPTED_SET.to_owned(), "b".to_owned())].into());
    assert!(of(&resource).0, "accepted");
    let third = made("2026-11-26T01:00:00Z", small("c", "2026-11-26T01:01:00Z"));
    told(&mut resource, &[second.clone(), third], "2026-11-26T01:02:00Z");
    assert!(!of(&resource).0, "another one than that which was accepted");
    told(&mut resource, &[second, made("2026-11-27T01:00:00Z", set("d", "2026-11-27T01:01:00Z"))], "2026-11-27T01:02:00Z");
    assert!(of(&resource).0);
}

/// The status that is read again has whole seconds.
#[test]
fn a_set_is_told_once() {
    let mut resource = daily();
    let pods = [made("2026-11-24T01:00:00Z", set("a", "2026-11-24T01:01:00.7Z"))];
    for _ in 0..3 {
        told(&mut resource, &pods, "2026-11-24T01:02:00Z");
        resource.status = resource.status.map(|status| serde_json::from_value(json!(status)).unwrap());
    }
    assert_eq!(resource.status.unwrap().backup.unwrap().history.len(), 1);
}

/// A node's clock is set, and put right after the first set; the API server's goes on.
#[test]
fn a_clock_that_was_wrong_hides_nothing() {
    for wrong in ["2031-01-01T00:00:00Z", "2026-11-24T12:00:00Z", "2019-01-01T00:00:00Z"] {
        let mut resource = daily();
        let names = |resource: &Dhis2Instance| {
            let backup = resource.status.as_ref().unwrap().backup.clone().unwrap();
            (backup.last.unwrap().set, backup.history.into_iter().map(|set| set.set).collect::<Vec<_>>().concat())
        };
        let first = made("2026-11-24T01:00:00Z", set("a", wrong));
        assert_eq!(told(&mut resource, std::slice::from_ref(&first), "2026-11-24T01:05:00Z"), DONE, "{wrong}");
        assert_eq!(told(&mut resource.clone(), &[], "2026-11-25T03:00:00Z"), (false, Reason::BackupOverdue), "{wrong}");
        let second = failed("2026-11-25T01:00:00Z");
        assert_eq!(told(&mut resource, &[first.clone(), second], "2026-11-25T01:05:00Z"), (false, Reason::DumpFailed), "{wrong}");
        let third = made("2026-11-26T01:00:00Z", set("b", "2026-11-26T01:01:00Z"));
        for pods in [[third.clone(), first.clone()], [first, third]] {
            assert_eq!(told(&mut resource, &pods, "2026-11-26T01:05:00Z"), DONE, "{wrong}");
            assert_eq!(names(&resource), ("b".to_owned(), "ba".to_owned()), "{wrong}");
        }
        assert_eq!(told(&mut resource, &[], "2026-11-27T03:00:00Z"), (false, Reason::BackupOverdue), "{wrong}");
    }
}

/// The pod that made it tells of it still.
#[test]
fn a_set_that_was_removed_is_not_told_any_more() {
    let mut resource = daily();
    let (first, second) = (made("2026-11-24T01:00:00Z", set("a", "2026-11-24T01:01:00Z")), set("b", "2026-11-25T01:01:00Z"));
    let pods = [made("2026-11-25T01:00:00Z", BackedUp { sets_kept: 2, ..second }), first];
    told(&mut resource, &pods, "2026-11-25T01:02:00Z");
    let sets = |resource: &Dhis2Instance| {
        let backup = resource.status.as_ref().unwrap().backup.clone().unwrap();
        (backup.history.into_iter().map(|set| set.set).collect::<Vec<_>>(), backup.sets)
    };
    assert_eq!(sets(&resource), (vec!["b".to_owned(), "a".to_owned()], Some(2)), "in whichever order they are seen");
    let mut seen = observed(&pods);
    let removing = json!({
        "metadata": { "name": "a", "namespace": "ns", "uid": "uid-2", "deletionTimestamp": "2026-11-25T02:00:00Z", "finalizers": ["dhis2.hosting/set"] },
        "spec": { "instance": "play", "set": "a", "deletionPolicy": "Delete" },
        "status": { "phase": "Removing", "started": "2026-11-25T02:00:00Z" },
    });
    let removing = crate::operator::slot::reduce(Kind::Dhis2Backup, &serde_json::from_value(removing).unwrap(), None);
    seen.children.insert(Kind::Dhis2Backup, "a", removing);
    let told_of = |finished, resource: &mut Dhis2Instance, seen: &mut Observed| {
        seen.children.insert(Kind::Job, "play-remove-uid2", owned("job", "uid-1", Facts::Job { finished }));
        let mut status = resource.status.clone().unwrap();
        status.backup = recorded(status.backup.take(), resource, seen, at("2026-11-25T02:01:00Z"));
        resource.status = Some(status);
    };
    told_of(None, &mut resource, &mut seen);
    assert_eq!(sets(&resource).0.len(), 2);
    for _ in 0..2 {
        told_of(Some(true), &mut resource, &mut seen);
        assert_eq!(sets(&resource), (vec!["b".to_owned()], Some(1)));
    }
    told(&mut resource, &pods, "2026-11-25T02:02:00Z");
    assert_eq!(sets(&resource), (vec!["b".to_owned()], Some(1)));
}

#[test]
fn a_secret_without_which_no_backup_is_made_is_told_with_its_field() {
    let mut resource = daily();
    let mut observed = observed(&[failed("2026-11-24T01:00:00Z")]);
    for field in [observe::S3_CA, observe::S3_CREDENTIALS] {
        observed.missing.insert(field.to_owned(), "of-theirs".into());
        let now = at("2026-11-24T01:02:00Z");
        let status = Dhis2InstanceStatus { backup: recorded(None, &resource, &observed, now), ..Dhis2InstanceStatus::default() };
        let told = [healthy(&resource, &status, &Outcome::Paused, &observed, now), verify::verified(&resource, &status, &observed, now)];
        for told in told {
            assert_eq!((told.holds, told.reason), (false, Reason::SecretMissing));
            assert!(told.message.starts_with(&format!("Secret of-theirs of {field} does not exist")), "{}", told.message);
        }
    }
    observed.missing.clear();
    assert_eq!(told(&mut resource, &[failed("2026-11-24T01:00:00Z")], "2026-11-24T01:02:00Z"), (false, Reason::DumpFailed));
}

#[test]
fn the_first_backup_is_awaited() {
    assert_eq!(told(&mut daily(), &[], "2026-11-24T01:00:00Z"), (false, Reason::NoBackupYet));
    assert_eq!(told(&mut daily(), &[running("2026-11-24T01:00:00Z")], "2026-11-24T01:01:00Z"), (false, Reason::BackupRunning));
}

#[test]
fn a_backup_that_is_overdue_is_told_once_and_asks_for_no_pass() {
    let mut resource = daily();
    assert_eq!(told(&mut resource, &[made("2026-11-24T01:00:00Z", set("a", "2026-11-24T01:01:00Z"))], "2026-11-24T01:02:00Z"), DONE);
    let status = || resource.status.clone().unwrap();
    assert_eq!(super::super::revisit(&resource, &status(), &Observed::default(), at("2026-11-25T02:59:00Z")), Duration::from_mins(1));
    assert_eq!(super::super::revisit(&resource, &status(), &Observed::default(), at("2026-11-25T03:00:00Z")), Duration::from_hours(24));
    assert_eq!(told(&mut resource, &[], "2026-11-25T03:00:00Z"), (false, Reason::BackupOverdue));
}

#[test]
fn a_failure_counts_until_a_newer_set_exists_and_no_longer() {
    let mut resource = daily();
    let first = made("2026-11-23T01:00:00Z", set("a", "2026-11-23T01:01:00Z"));
    let second = failed("2026-11-24T01:00:00Z");
    assert_eq!(told(&mut resource, &[first.clone(), second.clone()], "2026-11-24T01:05:00Z"), (false, Reason::DumpFailed));
    assert_eq!(told(&mut resource, &[first], "2026-11-24T01:06:00Z"), (false, Reason::DumpFailed), "though its pod is gone");
    let third = made("2026-11-25T01:00:00Z", set("b", "2026-11-25T01:01:00Z"));
    assert_eq!(told(&mut resource, &[second, third], "2026-11-25T01:05:00Z"), DONE, "though its pod is there");
    assert_eq!(resource.status.unwrap().backup.unwrap().failure, None);
}

#[test]
fn a_pod_that_waited_is_no_failure_once_it_runs_and_its_last_word_holds() {
    let mut resource = daily();
    told(&mut resource, &[made("2026-11-23T01:00:00Z", set("a", "2026-11-23T01:01:00Z"))], "2026-11-23T01:02:00Z");
    let trouble = Some(Trouble { reason: Reason::Unschedulable, message: "no memory".into() });
    let waits = Pod { trouble, ..running("2026-11-24T01:00:00Z") };
    assert_eq!(told(&mut resource, &[waits], "2026-11-24T01:00:10Z"), (false, Reason::Unschedulable));
    assert_eq!(told(&mut resource.clone(), &[failed("2026-11-24T01:00:00Z")], "2026-11-24T01:05:00Z"), (false, Reason::DumpFailed));
    assert_eq!(told(&mut resource, &[running("2026-11-24T01:00:00Z")], "2026-11-24T01:01:00Z"), DONE);
}

#[test]
fn a_set_with_a_shortcoming_is_told_until_the_next() {
    for wrong in [
        BackedUp { files_incomplete: true, ..set("a", "2026-11-24T01:01:00Z") },
        BackedUp { retention: Retention::Failed, ..set("a", "2026-11-24T01:01:00Z") },
    ] {
        let mut resource = daily();
        assert_eq!(told(&mut resource, &[made("2026-11-24T01:00:00Z", wrong)], "2026-11-24T01:05:00Z"), (false, Reason::BackupFailed));
        let next = made("2026-11-25T01:00:00Z", set("b", "2026-11-25T01:01:00Z"));
        assert_eq!(told(&mut resource, &[next], "2026-11-25T01:05:00Z"), DONE);
    }
}

#[test]
fn what_was_due_before_the_schedule_came_into_force_was_never_promised() {
    let mut resource = resource(&json!({"schedule": "0 1 * * 0"}));
    let last = [made("2026-11-22T01:00:00Z", set("a", "2026-11-22T01:01:00Z"))];
    assert_eq!(told(&mut resource, &last, "2026-11-22T01:05:00Z"), DONE);
    resource.spec.backup.schedule = Some("0 1 * * *".into());
    assert_eq!(told(&mut resource, &last, "2026-11-25T12:00:00Z"), DONE);
    assert_eq!(told(&mut resource, &last, "2026-11-26T02:59:00Z"), DONE);
    assert_eq!(told(&mut resource, &last, "2026-11-26T03:00:00Z"), (false, Reason::BackupOverdue));
    resource.spec.backup.suspend = true;
    assert_eq!(told(&mut resource, &last, "2026-11-26T04:00:00Z"), (false, Reason::BackupSuspended));
    resource.spec.backup.suspend = false;
    assert_eq!(told(&mut resource, &last, "2026-11-26T05:00:00Z"), DONE);
}

#[test]
fn a_long_backup_is_not_overdue_unless_it_never_ends() {
    let mut resource = daily();
    let last = made("2026-11-24T01:00:00Z", set("a", "2026-11-24T01:01:00Z"));
    assert_eq!(told(&mut resource, std::slice::from_ref(&last), "2026-11-24T01:05:00Z"), DONE);
    let pods = [last, running("2026-11-25T01:00:00Z")];
    assert_eq!(told(&mut resource, &pods, "2026-11-25T05:00:00Z"), (true, Reason::BackupRunning));
    assert_eq!(told(&mut resource, &pods, "2026-11-26T02:00:00Z"), (false, Reason::BackupOverdue));
}

#[test]
fn without_its_volume_or_key_no_backup_is_healthy() {
    let mut resource = daily();
    told(&mut resource, &[made("2026-11-24T01:00:00Z", set("a", "2026-11-24T01:01:00Z"))], "2026-11-24T01:02:00Z");
    let status = resource.status.clone().unwrap();
    for reason in [Reason::SecretLost, Reason::VolumeLost] {
        let refused = Outcome::Refused(Refusal::new(reason, "gone"));
        let told = healthy(&resource, &status, &refused, &observed(&[]), at("2026-11-24T02:00:00Z"));
        assert_eq!((told.holds, told.reason), (false, reason));
    }
}
