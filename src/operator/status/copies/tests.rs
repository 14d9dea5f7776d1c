use serde_json::{Value, json};

use super::*;
use crate::{
    api::status::SetStatus,
    operator::{
        slot::{Facts, fixture::owned},
        trouble::Trouble,
    },
    report::{Outcome, Report, Verb, Verified},
};

const PLACE: &str = "s3:https://s3.example.org/sets/ns/play";

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

/// Copied to one place every day at six.
fn resource(endpoint: &str) -> Dhis2Instance {
    let s3 = json!({ "bucket": "sets", "endpoint": endpoint, "credentials": { "secretName": "s3" } });
    let copy = json!({ "name": "away", "passwordSecretName": "key", "schedule": "0 6 * * *", "s3": s3 });
    let mut resource: Dhis2Instance = serde_json::from_value(json!({
        "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance",
        "metadata": {"name": "play", "namespace": "ns", "uid": "uid-1", "generation": 1},
        "spec": {"version": "2.42.4", "web": {"host": "play.example.org"}, "backup": {"copies": [copy]}}
    }))
    .unwrap();
    let set = |name: &str, day: u32| SetStatus {
        set: name.into(),
        time: Some(Time(at(&format!("2026-11-{day:02}T01:00:00Z")))),
        ..SetStatus::default()
    };
    let history = vec![set("c", 12), set("b", 11), set("a", 10)];
    let backup = BackupStatus { last: history.first().cloned(), history, ..BackupStatus::default() };
    resource.status = Some(Dhis2InstanceStatus { backup: Some(backup), ..Dhis2InstanceStatus::default() });
    resource
}

fn daily() -> Dhis2Instance {
    resource("https://s3.example.org")
}

fn report(set: &str, day: u32) -> Copied {
    Copied {
        copy: "away".into(),
        repository: PLACE.into(),
        set: set.into(),
        created: format!("2026-11-{day:02}T01:00:00Z"),
        copied: format!("2026-11-{day:02}T06:30:00Z"),
        sets: 2,
        missing: 0,
        bytes: Some(7),
        seconds: 1800,
        retention: Retention::Done,
        key: "0123456789abcdef".into(),
    }
}

fn pod(day: u32) -> Pod {
    Pod { component: "copy".into(), created: Some(at(&format!("2026-11-{day:02}T06:00:00Z"))), ..Pod::default() }
}

fn done(copied: Copied, day: u32) -> Pod {
    let report = Report { verb: Verb::Copy, outcome: Outcome::Done, reason: None, message: String::new(), data: Some(Data::Copy(copied)) };
    Pod { ended: true, reports: vec![report], ..pod(day) }
}

fn failed(day: u32, reason: Reason) -> Pod {
    Pod { ended: true, trouble: Some(Trouble { reason, message: "it is bad".into() }), ..pod(day) }
}

fn observed(pods: &[Pod]) -> Observed {
    let mut observed = Observed { instance: "uid-1".into(), ..Observed::default() };
    observed.children.insert(Kind::CronJob, "play-copy-away", owned("cron", "uid-1", Facts::Plain));
    for (number, pod) in pods.iter().enumerate() {
        let job = format!("play-copy-away-{number}");
        observed.children.insert(Kind::Job, &job, owned(&job, "cron", Facts::Job { finished: None }));
        observed.children.insert(Kind::Pod, &format!("{job}-x"), owned("pod", &job, Facts::Pod(Box::new(pod.clone()))));
    }
    observed
}

fn told_of(resource: &mut Dhis2Instance, observed: &Observed, now: &str) -> (bool, Reason, String) {
    let now = at(now);
    let mut status = resource.status.clone().unwrap_or_default();
    let mut backup = status.backup.take().unwrap_or_default();
    record(&mut backup, resource, observed, now);
    status.backup = Some(backup);
    let told = copied(resource, &status, observed, now).unwrap();
    resource.status = Some(status);
    (told.holds, told.reason, told.message)
}

fn told(resource: &mut Dhis2Instance, pods: &[Pod], now: &str) -> (bool, Reason) {
    let (holds, reason, _) = told_of(resource, &observed(pods), now);
    (holds, reason)
}

fn known(resource: &Dhis2Instance) -> CopyStatus {
    resource.status.clone().unwrap().backup.unwrap().copies.remove(0)
}

#[test]
fn what_a_copy_holds_stays_told_when_its_pod_is_gone() {
    let mut play = daily();
    assert_eq!(told(&mut play, &[], "2026-11-11T02:00:00Z"), (false, Reason::NotCopiedYet));
    assert_eq!(told(&mut play, &[pod(11)], "2026-11-11T06:10:00Z"), (false, Reason::NotCopiedYet));
    assert_eq!(told(&mut play, &[done(report("b", 11), 11)], "2026-11-11T07:00:00Z"), (true, Reason::Done));
    assert_eq!(told(&mut play, &[], "2026-11-12T05:00:00Z"), (true, Reason::Done));
    let seen = known(&play);
    assert_eq!((seen.set.as_deref(), seen.behind, seen.bytes, seen.repository.as_str()), (Some("b"), Some(1), Some(7), PLACE));
    let nothing_new = Copied { bytes: None, missing: 3, ..report("c", 12) };
    let (holds, _, message) = told_of(&mut play, &observed(&[done(nothing_new, 12)]), "2026-11-12T07:00:00Z");
    assert!(holds && message == "Copy away has set c; 3 older ones are to follow.", "{message}");
    assert_eq!((known(&play).bytes, known(&play).behind), (Some(7), Some(0)));
}

#[test]
fn the_order_in_which_pods_are_seen_does_not_matter() {
    let pods = [done(report("b", 11), 11), done(Copied { bytes: None, ..report("c", 12) }, 12), failed(11, Reason::Killed)];
    let (mut one, mut two, mut all) = (daily(), daily(), daily());
    told(&mut one, &pods[..1], "2026-11-12T07:00:00Z");
    told(&mut one, &pods, "2026-11-12T07:00:00Z");
    told(&mut two, &pods[1..], "2026-11-12T07:00:00Z");
    told(&mut two, &pods, "2026-11-12T07:00:00Z");
    told(&mut all, &pods, "2026-11-12T07:00:00Z");
    assert_eq!(known(&one), known(&all));
    assert_eq!(known(&two), known(&all));
}

#[test]
fn a_failure_is_told_until_a_run_succeeds() {
    let mut play = daily();
    assert_eq!(
        told(&mut play, &[failed(11, Reason::RepositoryUnreachable)], "2026-11-11T07:00:00Z"),
        (false, Reason::RepositoryUnreachable)
    );
    assert_eq!(told(&mut play, &[], "2026-11-11T08:00:00Z"), (false, Reason::RepositoryUnreachable));
    assert_eq!(told(&mut play, &[failed(11, Reason::Failed)], "2026-11-11T08:00:00Z"), (false, Reason::CopyFailed));
    assert_eq!(told(&mut play, &[done(report("c", 12), 12)], "2026-11-12T07:00:00Z"), (true, Reason::Done));
    let grows = Copied { retention: Retention::Failed, ..report("c", 13) };
    assert_eq!(told(&mut play, &[done(grows, 13)], "2026-11-13T07:00:00Z"), (false, Reason::CopyFailed));
}

#[test]
fn a_clock_that_was_wrong_hides_nothing() {
    for wrong in ["2031-01-01T00:00:00Z", "2026-11-11T19:00:00Z", "2019-01-01T00:00:00Z"] {
        let mut play = daily();
        let copied = |set: &str, said: &str, day| done(Copied { copied: said.into(), created: said.into(), ..report(set, day) }, day);
        assert_eq!(told(&mut play, &[copied("b", wrong, 11)], "2026-11-11T07:00:00Z"), (true, Reason::Done), "{wrong}");
        assert_eq!(known(&play).behind, Some(1), "{wrong}");
        assert_eq!(told(&mut play.clone(), &[failed(12, Reason::Killed)], "2026-11-12T07:00:00Z"), (false, Reason::Killed), "{wrong}");
        let pods = [copied("b", wrong, 11), copied("c", "2026-11-12T06:30:00Z", 12)];
        assert_eq!(told(&mut play, &pods, "2026-11-12T07:00:00Z"), (true, Reason::Done), "{wrong}");
        assert_eq!(known(&play).set.as_deref(), Some("c"), "{wrong}");
        assert_eq!(told(&mut play, &[], "2026-11-14T06:00:00Z"), (false, Reason::CopyOverdue), "{wrong}");
    }
}

#[test]
fn one_that_is_not_made_is_overdue_a_day_after_its_time() {
    let mut play = daily();
    told(&mut play, &[done(report("b", 11), 11)], "2026-11-11T07:00:00Z");
    assert_eq!(told(&mut play, &[], "2026-11-13T05:59:00Z"), (true, Reason::Done));
    assert_eq!(overdue_in(play.status.as_ref().unwrap(), at("2026-11-13T05:59:00Z")), Some(Duration::from_mins(1)));
    assert_eq!(told(&mut play, &[], "2026-11-13T06:00:00Z"), (false, Reason::CopyOverdue));
    assert_eq!(told(&mut play, &[pod(13)], "2026-11-13T06:00:00Z"), (true, Reason::Done), "it is being made");
    let mut never = daily();
    told(&mut never, &[], "2026-11-11T05:00:00Z");
    assert_eq!(told(&mut never, &[], "2026-11-12T06:00:00Z"), (false, Reason::CopyOverdue));
}

#[test]
fn what_is_told_of_one_place_counts_for_no_other() {
    let mut play = daily();
    let pods = [done(report("b", 11), 11)];
    told(&mut play, &pods, "2026-11-11T07:00:00Z");
    let mut moved = Dhis2Instance { status: play.status, ..resource("https://other.example.org") };
    assert_eq!(told(&mut moved, &pods, "2026-11-11T08:00:00Z"), (false, Reason::NotCopiedYet));
    moved.spec.backup.copies.clear();
    let mut backup = moved.status.clone().unwrap().backup.unwrap();
    record(&mut backup, &moved, &observed(&[]), at("2026-11-11T08:00:00Z"));
    assert!(backup.copies.is_empty());
    assert!(copied(&moved, &moved.status.clone().unwrap(), &observed(&[]), at("2026-11-11T08:00:00Z")).is_none());
}

#[test]
fn a_secret_that_is_missing_is_told_with_its_field() {
    let mut play = daily();
    let mut without = observed(&[done(report("b", 11), 11)]);
    without.missing.insert("spec.backup.copies[away].passwordSecretName".into(), "key".into());
    let (holds, reason, message) = told_of(&mut play, &without, "2026-11-11T07:00:00Z");
    assert_eq!((holds, reason), (false, Reason::SecretMissing));
    assert!(message.starts_with("Secret key of spec.backup.copies[away].passwordSecretName does not exist"), "{message}");
}

#[test]
fn a_resource_without_copies_has_no_word_about_them() {
    let mut plain = daily();
    plain.spec.backup.copies.clear();
    let status = serde_json::to_value(plain.status.unwrap()).unwrap();
    assert_eq!(status["backup"].get("copies"), None::<&Value>);
}

/// What is known, and pods of restore tests that people asked for.
fn with_tests(copied: &[Pod], tests: &[Pod]) -> Observed {
    with_tests_of("uid-1", copied, tests)
}

fn with_tests_of(owner: &str, copied: &[Pod], tests: &[Pod]) -> Observed {
    let mut observed = observed(copied);
    observed.children.insert(Kind::CronJob, "play-test-away", owned("cron-of-tests", "uid-1", Facts::Plain));
    for (number, pod) in tests.iter().enumerate() {
        let job = format!("play-test-{number}");
        observed.children.insert(Kind::Job, &job, owned(&job, owner, Facts::Job { finished: None }));
        observed.children.insert(Kind::Pod, &format!("{job}-x"), owned("pod", &job, Facts::Pod(Box::new(pod.clone()))));
    }
    observed
}

fn of_copy(copy: &str, pod: Pod) -> Pod {
    Pod { copy: Some(copy.into()), ..pod }
}

fn proven_in(place: &str, set: &str, day: u32) -> Pod {
    let proof = Verified {
        set: set.into(),
        created: format!("2026-11-{day:02}T01:00:00Z"),
        verified: format!("2026-11-{day:02}T09:00:00Z"),
        seconds: 40,
        bytes: 50,
        start_seconds: None,
        copy: Some(place.into()),
    };
    let report =
        Report { verb: Verb::Verify, outcome: Outcome::Done, reason: None, message: String::new(), data: Some(Data::Verify(proof)) };
    of_copy("away", Pod { ended: true, reports: vec![report], ..pod(day) })
}

#[test]
fn a_set_that_was_restored_from_a_copy_is_told_and_is_no_run_of_the_copy() {
    let mut play = daily();
    let copied = done(report("b", 11), 11);
    let running = with_tests(std::slice::from_ref(&copied), &[of_copy("away", pod(12))]);
    assert!(told_of(&mut play, &running, "2026-11-11T07:00:00Z").0);
    assert_eq!(told_of(&mut play, &running, "2026-11-13T07:00:00Z").1, Reason::CopyOverdue, "a test is no run");
    let (holds, _, message) = told_of(&mut play, &with_tests(&[copied], &[proven_in(PLACE, "b", 11)]), "2026-11-11T09:00:00Z");
    assert!(holds && message == "Copy away has set b; set b was restored from it.", "{message}");
    let (_, _, message) = told_of(&mut play, &observed(&[]), "2026-11-11T10:00:00Z");
    assert!(message.ends_with("set b was restored from it."), "its pod is gone: {message}");
    let elsewhere = with_tests(&[], &[proven_in("s3:https://other.example.org/sets/ns/play", "c", 12)]);
    told_of(&mut play, &elsewhere, "2026-11-11T11:00:00Z");
    assert_eq!(known(&play).last_verified.unwrap().set, "b", "another place");
}

#[test]
fn a_copy_that_gave_nothing_back_is_told_until_a_set_as_new_was_restored_from_it() {
    let mut play = daily();
    told(&mut play, &[done(report("b", 11), 11)], "2026-11-11T07:00:00Z");
    let other = with_tests(&[], &[of_copy("other", failed(11, Reason::RepositoryDamaged))]);
    assert!(told_of(&mut play, &other, "2026-11-11T08:00:00Z").0, "that is another copy's");
    let bad = with_tests(&[], &[of_copy("away", failed(11, Reason::RepositoryDamaged))]);
    let (holds, reason, message) = told_of(&mut play, &bad, "2026-11-11T08:00:00Z");
    assert_eq!((holds, reason), (false, Reason::RepositoryDamaged));
    assert_eq!(message, "A restore test from copy away, play-test-0-x: it is bad");
    assert_eq!(told(&mut play, &[done(report("c", 12), 12)], "2026-11-12T07:00:00Z").1, Reason::RepositoryDamaged, "more was sent to it");
    let old = Pod { created: Some(at("2026-11-12T08:00:00Z")), ..proven_in(PLACE, "b", 11) };
    assert!(!told_of(&mut play, &with_tests(&[], &[old]), "2026-11-12T09:00:00Z").0, "an older set may need nothing of it");
    let new = Pod { created: Some(at("2026-11-12T10:00:00Z")), ..proven_in(PLACE, "c", 12) };
    assert!(told_of(&mut play, &with_tests(&[], &[new]), "2026-11-12T11:00:00Z").0);
    let unnamed = with_tests(&[], &[of_copy("away", failed(13, Reason::Failed))]);
    assert_eq!(told_of(&mut play, &unnamed, "2026-11-13T06:30:00Z").1, Reason::RestoreTestFailed);
}

/// With a restore test at noon of the first of each month.
fn tested() -> Dhis2Instance {
    let mut play = daily();
    play.spec.backup.copies[0].verify = Some(serde_json::from_value(json!({ "schedule": "0 12 1 * *" })).unwrap());
    play
}

#[test]
fn a_scheduled_test_counts_as_one_that_was_asked_for() {
    let mut play = tested();
    let copied = done(report("b", 11), 11);
    let seen = |pod: Pod| with_tests_of("cron-of-tests", std::slice::from_ref(&copied), &[pod]);
    let (_, reason, message) = told_of(&mut play, &seen(of_copy("away", failed(11, Reason::RepositoryDamaged))), "2026-11-11T08:00:00Z");
    assert_eq!((reason, message.as_str()), (Reason::RepositoryDamaged, "A restore test from copy away, play-test-0-x: it is bad"));
    let good = Pod { created: Some(at("2026-11-11T09:00:00Z")), ..proven_in(PLACE, "b", 11) };
    assert!(told_of(&mut play, &seen(good), "2026-11-11T10:00:00Z").0);
}

#[test]
fn a_test_that_does_not_come_is_told_a_day_after_its_time() {
    let mut play = tested();
    told(&mut play, &[], "2026-11-11T05:00:00Z");
    assert_eq!(known(&play).verify_schedule, None, "there is nothing to restore yet");
    let now = |day: u32| format!("2026-12-{day:02}T11:00:00Z");
    told(&mut play, &[done(report("b", 11), 11)], "2026-11-11T07:00:00Z");
    let copied = |day| Pod { created: Some(at(&format!("2026-12-{day:02}T06:00:00Z"))), ..done(report("c", 12), 12) };
    assert_eq!(told(&mut play, &[copied(2)], &now(2)), (true, Reason::Done));
    let (_, reason, message) = told_of(&mut play, &observed(&[copied(3)]), &now(3));
    assert_eq!(reason, Reason::VerifyOverdue);
    assert!(message.starts_with("Copy away: no set was restored from it yet; the next"), "{message}");
    let running = with_tests_of("cron-of-tests", &[copied(3)], &[of_copy("away", Pod { created: Some(at(&now(3))), ..pod(11) })]);
    assert!(told_of(&mut play, &running, &now(3)).0, "it is being made");
    let good = with_tests_of("cron-of-tests", &[copied(3)], &[Pod { created: Some(at(&now(3))), ..proven_in(PLACE, "c", 12) }]);
    assert!(told_of(&mut play, &good, &now(3)).0);
    let soon = overdue_in(play.status.as_ref().unwrap(), at("2027-01-02T11:59:00Z"));
    assert_eq!(soon, Some(Duration::from_mins(1)), "a pass is made when it is late");
    play.spec.backup.copies[0].verify = None;
    assert_eq!(told(&mut play, &[copied(28)], "2026-12-28T07:00:00Z"), (true, Reason::Done));
    assert_eq!(known(&play).verify_schedule, None, "nothing is due any more");
}
