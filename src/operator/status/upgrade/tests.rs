use serde_json::json;

use super::*;
use crate::{
    api::{
        restore::Dhis2RestoreStatus,
        status::{AdminStatus, BackupFailure, BackupStatus, VersionStatus},
    },
    operator::{
        desired::fixture::PREPARATIONS,
        kind::Kind,
        observe::Observed,
        parse,
        restart::Restart,
        settings::Settings,
        slot::{Facts, Pod, Request, fixture::owned},
        status::operation::advance,
        trouble::Trouble,
    },
    report::{BackedUp, Checked, Outcome as Ended, Refusal, Rehearsed, Report, Verb, Verified, fixture},
};

const JOB: &str = "play-before-upgrade-3";
const CHECK: &str = "play-check-upgrade-3";
const PROOF: &str = "play-prove-upgrade-3";

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

/// An instance that runs one version and asks for another.
fn resource(runs: &str, asks: &str) -> Dhis2Instance {
    let mut resource: Dhis2Instance = serde_json::from_value(json!({
        "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance",
        "metadata": {"name": "play", "namespace": "ns", "uid": "uid-1", "generation": 3},
        "spec": {"version": asks, "web": {"host": "play.example.org"}}
    }))
    .unwrap();
    let version = VersionStatus { running: Some(runs.into()), ..VersionStatus::default() };
    resource.status =
        Some(Dhis2InstanceStatus { admin: Some(AdminStatus::default()), version: Some(version), ..Dhis2InstanceStatus::default() });
    resource
}

fn observed() -> Observed {
    let mut observed = Observed { instance: "uid-1".into(), ..Observed::default() };
    let pod = Pod { ready: true, ..Pod::default() };
    observed.children.insert(Kind::StatefulSet, "play", owned("play", "uid-1", Facts::Plain));
    observed.children.insert(Kind::Pod, "play-0", owned("play-0", "play", Facts::Pod(Box::new(pod))));
    observed
}

fn ended(observed: &mut Observed, set: Option<BackedUp>) {
    let finished = Some(set.is_some());
    observed.children.insert(Kind::Job, JOB, owned(JOB, "uid-1", Facts::Job { finished }));
    let trouble = set.is_none().then(|| Trouble { reason: Reason::RepositoryFull, message: "the repository is full.".into() });
    let data = set.map(|set| Data::Backup(Box::new(set)));
    let report = Report { verb: Verb::Backup, outcome: Ended::Done, reason: None, message: String::new(), data };
    let pod = Pod { ended: true, trouble, reports: vec![report], ..Pod::default() };
    observed.children.insert(Kind::Pod, "x", owned("x", JOB, Facts::Pod(Box::new(pod))));
}

/// The new image is the right one.
fn looked_at(observed: &mut Observed) {
    observed.children.insert(Kind::Job, CHECK, owned(CHECK, "uid-1", Facts::Job { finished: Some(true) }));
    let data = Some(Data::Check(Checked { version: "2.43.0".parse().unwrap(), last_started: None, schema: None }));
    let report = Report { verb: Verb::Check, outcome: Ended::Done, reason: None, message: String::new(), data };
    let pod = Pod { ended: true, reports: vec![report], ..Pod::default() };
    observed.children.insert(Kind::Pod, "c", owned("c", CHECK, Facts::Pod(Box::new(pod))));
}

/// The new image can't be looked at.
fn hindered(observed: &mut Observed, finished: Option<bool>, reason: Reason) {
    observed.children.insert(Kind::Job, CHECK, owned(CHECK, "uid-1", Facts::Job { finished }));
    let pod = Pod { trouble: Some(Trouble { reason, message: "it is not as it should be.".into() }), ..Pod::default() };
    observed.children.insert(Kind::Pod, "c", owned("c", CHECK, Facts::Pod(Box::new(pod))));
}

fn is_held(resource: &Dhis2Instance, observed: &Observed) -> bool {
    parse::assume(resource, observed, &Settings::default()).unwrap().stage.held
}

/// One pass at this time; the phase after it.
fn pass(resource: &mut Dhis2Instance, observed: &Observed, now: &str) -> Option<String> {
    let instance = Box::new(parse::assume(resource, observed, &Settings::default()).unwrap());
    let outcome = Outcome::Applied { instance, made: Vec::new(), restart: Restart::Settled, contested: Vec::new(), quiet: true };
    let before = resource.clone();
    let status = resource.status.get_or_insert_default();
    advance(status, &before, observed, &outcome, at(now));
    status.operation.as_ref().map(|operation| operation.phase.clone())
}

/// One whose new image is the right one, at 12:00:30.
fn backing_up() -> (Dhis2Instance, Observed) {
    let (mut resource, mut observed) = (resource("2.42.4", "2.43.0"), observed());
    pass(&mut resource, &observed, "2026-11-29T12:00:00Z");
    looked_at(&mut observed);
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:00:30Z").as_deref(), Some("BackingUp"));
    (resource, observed)
}

fn runs(resource: &mut Dhis2Instance, version: &str) {
    resource.status.as_mut().unwrap().version.as_mut().unwrap().running = Some(version.into());
}

#[test]
fn another_version_waits_until_what_was_before_it_is_in_a_set() {
    let (mut resource, mut observed) = (resource("2.42.4.1", "2.43.0"), observed());
    assert!(is_held(&resource, &observed), "before anything was decided");
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:00:00Z").as_deref(), Some("Checking"));
    assert!(is_held(&resource, &observed));
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:00:30Z").as_deref(), Some("Checking"));
    looked_at(&mut observed);
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:01:00Z").as_deref(), Some("BackingUp"));
    assert!(is_held(&resource, &observed));
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:01:30Z").as_deref(), Some("BackingUp"));
    ended(&mut observed, Some(fixture::set("play-before-upgrade-3", "2026-11-29T12:02:00Z")));
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:03:00Z").as_deref(), Some("Starting"));
    assert!(!is_held(&resource, &observed));
    let operation = resource.status.as_ref().unwrap().operation.as_ref().unwrap();
    assert_eq!((operation.name.as_str(), operation.safety_backup.as_deref()), ("2.43.0", Some("play-before-upgrade-3")));
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:04:00Z").as_deref(), Some("Starting"), "the old one still serves");
    runs(&mut resource, "2.43.0");
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:05:00Z"), None);
    assert!(!is_held(&resource, &observed));
}

#[test]
fn hotfixes_first_starts_and_those_who_want_none_go_without() {
    for (runs, asks) in [("2.42.4", "2.42.4.1"), ("2.42.4.2", "2.42.4.1"), ("2.42.4.1", "2.42.4.1")] {
        let (mut resource, observed) = (resource(runs, asks), observed());
        assert!(!is_held(&resource, &observed), "{runs} to {asks}");
        assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:00:00Z"), None);
    }
    let mut never_ran = resource("2.42.4", "2.43.0");
    never_ran.status.as_mut().unwrap().version = None;
    assert!(!is_held(&never_ran, &observed()));
    let mut without = resource("2.42.4", "2.43.0");
    without.spec.upgrade.backup = false;
    assert!(!is_held(&without, &observed()));
}

#[test]
fn a_set_that_no_restore_would_take_is_no_way_back() {
    let (mut resource, mut observed) = backing_up();
    let set = fixture::set("play-before-upgrade-3", "2026-11-29T12:00:40Z");
    ended(&mut observed, Some(BackedUp { files_incomplete: true, ..set }));
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:01:00Z").as_deref(), Some("Failed"));
    let operation = resource.status.as_ref().unwrap().operation.clone().unwrap();
    assert_eq!((operation.reason.as_deref(), operation.safety_backup), (Some("BackupFailed"), None));
    assert!(operation.message.unwrap().contains("there were no way back"));
    // It would fail again each ten minutes, with a dump each time.
    let failing = json!({ "failure": { "pod": "x", "reason": "BackupFailed", "message": "it lacks files" } });
    let backup = |resource: &mut Dhis2Instance, backup| resource.status.as_mut().unwrap().backup = serde_json::from_value(backup).unwrap();
    backup(&mut resource, failing);
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T13:01:00Z").as_deref(), Some("Failed"));
    backup(&mut resource, json!({}));
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T13:02:00Z").as_deref(), Some("Checking"), "another backup has all files");
    assert!(parse::upgrade::is_under_way(&resource), "as the first time");
}

#[test]
fn a_backup_that_cannot_begin_is_waited_for_and_told() {
    let (mut resource, mut observed) = backing_up();
    let pod = |trouble| Facts::Pod(Box::new(Pod { trouble, ..Pod::default() }));
    let trouble = Some(Trouble { reason: Reason::Unschedulable, message: "no node has room.".into() });
    observed.children.insert(Kind::Job, JOB, owned(JOB, "uid-1", Facts::Job { finished: None }));
    observed.children.insert(Kind::Pod, "x", owned("x", JOB, pod(trouble)));
    assert_eq!(
        pass(&mut resource, &observed, "2026-11-29T12:10:00Z").as_deref(),
        Some("BackingUp"),
        "what came before may have taken hours"
    );
    let told = |resource: &Dhis2Instance| {
        let mut conditions = vec![Told::new("Reconciling", true, Reason::Upgrading, "")];
        crate::operator::status::operation::tell(&mut conditions, resource.status.as_ref().unwrap());
        conditions.remove(0).message
    };
    assert!(told(&resource).ends_with("no node has room."), "{}", told(&resource));
    observed.children.insert(Kind::Pod, "x", owned("x", JOB, pod(None)));
    pass(&mut resource, &observed, "2026-11-29T12:11:00Z");
    assert!(told(&resource).ends_with("goes on meanwhile."), "{}", told(&resource));
}

#[test]
fn a_backup_that_fails_holds_the_upgrade_and_is_tried_again() {
    let (mut resource, mut observed) = backing_up();
    ended(&mut observed, None);
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:01:00Z").as_deref(), Some("Failed"));
    assert!(is_held(&resource, &observed), "the old version goes on");
    let operation = resource.status.as_ref().unwrap().operation.clone().unwrap();
    let mut told = [("Stalled", false), ("Reconciling", true)].map(|(kind, holds)| Told::new(kind, holds, Reason::Settled, ""));
    tell(&mut told, &operation, Phase::Failed);
    assert_eq!((told[0].holds, told[0].reason), (true, Reason::UpgradeBlocked));
    assert!(told[0].message.contains("the repository is full") && told[0].message.contains("spec.upgrade.backup"), "{}", told[0].message);
    assert!(!told[1].holds);
    observed.children.remove(Kind::Job, JOB);
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:10:59Z").as_deref(), Some("Failed"));
    let mut changed = resource.clone();
    changed.metadata.generation = Some(4);
    assert_eq!(pass(&mut changed, &observed, "2026-11-29T12:01:01Z").as_deref(), Some("Checking"), "somebody has done something");
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:11:00Z").as_deref(), Some("Checking"));
}

#[test]
fn an_image_that_is_not_there_or_not_the_right_one_stops_nothing() {
    for (finished, reason, soon) in [
        (Some(false), Reason::ImageVersionMismatch, "Failed"),
        (None, Reason::ImageUnavailable, "Checking"),
        (None, Reason::Unschedulable, "Checking"),
    ] {
        let (mut resource, mut observed) = (resource("2.42.4", "2.43.0"), observed());
        pass(&mut resource, &observed, "2026-11-29T12:00:00Z");
        hindered(&mut observed, finished, reason);
        assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:00:19Z").as_deref(), Some(soon), "it may be a moment's");
        assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:00:20Z").as_deref(), Some("Failed"));
        assert!(is_held(&resource, &observed), "the old version goes on");
        let operation = resource.status.as_ref().unwrap().operation.as_ref().unwrap();
        assert_eq!(operation.reason.as_deref(), Some(reason.as_str()));
    }
}

#[test]
fn a_release_that_damages_data_is_not_started() {
    let (mut resource, observed) = (resource("2.42.3", "2.42.4"), observed());
    assert!(is_held(&resource, &observed));
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:00:00Z"), None);
    let stalled = stalled(&resource, &observed);
    assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", "UpgradeBlocked"));
    assert!(stalled.message.contains("DHIS2-21427") && stalled.message.contains("2.42.4.1"), "{}", stalled.message);
    resource.spec.version = "2.42.4.1".into();
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:00:00Z").as_deref(), Some("Checking"));
    runs(&mut resource, "2.42.4");
    resource.spec.version = "2.42.4".into();
    assert!(!is_held(&resource, &observed), "what runs is not stopped for it");
}

fn stalled(resource: &Dhis2Instance, observed: &Observed) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition {
    let instance = Box::new(parse::assume(resource, observed, &Settings::default()).unwrap());
    let outcome = Outcome::Applied { instance, made: Vec::new(), restart: Restart::Settled, contested: Vec::new(), quiet: true };
    let status = crate::operator::status::status(resource, observed, &outcome, at("2026-11-29T12:00:00Z"));
    status.conditions.into_iter().find(|condition| condition.type_ == "Stalled").unwrap()
}

#[test]
fn who_thinks_better_of_it_has_nothing_left_of_it() {
    for phase in ["Checking", "Proving", "Rehearsing", "BackingUp", "Failed", "Starting"] {
        let (mut resource, observed) = (resource("2.42.4", "2.43.0"), observed());
        pass(&mut resource, &observed, "2026-11-29T12:00:00Z");
        resource.status.as_mut().unwrap().operation.as_mut().unwrap().phase = phase.into();
        resource.spec.version = "2.42.4".into();
        assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:01:00Z"), None, "{phase}");
    }
    let (mut resource, observed) = (resource("2.42.4", "2.43.0"), observed());
    pass(&mut resource, &observed, "2026-11-29T12:00:00Z");
    resource.spec.version = "2.44.0".into();
    pass(&mut resource, &observed, "2026-11-29T12:01:00Z");
    assert_eq!(resource.status.as_ref().unwrap().operation.as_ref().unwrap().name, "2.44.0", "it is told of what is asked for");
}

#[test]
fn a_version_below_is_refused_before_anything_is_stopped_unless_a_restore_gives_it_its_database() {
    let (mut resource, mut observed) = (resource("2.43.0", "2.42.4"), observed());
    for backup in [true, false] {
        resource.spec.upgrade.backup = backup;
        assert!(is_held(&resource, &observed));
        assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:00:00Z"), None);
    }
    let stalled = stalled(&resource, &observed);
    assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", "DowngradeRefused"));
    assert!(stalled.message.contains("2.42.4 is below 2.43.0"), "{}", stalled.message);
    let spec = serde_json::from_value(json!({"instance": "play"})).unwrap();
    let request = Request { spec, status: Dhis2RestoreStatus::default(), generation: Some(1), created: None };
    observed.children.insert(Kind::Dhis2Restore, "back", owned("request", "", Facts::Restore(Box::new(request))));
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:01:00Z").as_deref(), Some("Building"));
    assert!(is_held(&resource, &observed), "the newer version serves on");
    for (phase, held) in [("BackingUp", true), ("Stopping", false), ("Starting", false), ("Failed", true)] {
        resource.status.as_mut().unwrap().operation.as_mut().unwrap().phase = phase.into();
        assert_eq!(is_held(&resource, &observed), held, "{phase}");
    }
}

#[test]
fn a_version_that_does_not_start_does_not_hold_up_a_restore() {
    let (mut resource, mut observed) = (resource("2.42.4", "2.43.0"), observed());
    pass(&mut resource, &observed, "2026-11-29T12:00:00Z");
    let spec = serde_json::from_value(json!({"instance": "play"})).unwrap();
    let request = Request { spec, status: Dhis2RestoreStatus::default(), generation: Some(1), created: None };
    observed.children.insert(Kind::Dhis2Restore, "back", owned("request", "", Facts::Restore(Box::new(request))));
    for phase in PREPARATIONS.map(Phase::as_str) {
        resource.status.as_mut().unwrap().operation.as_mut().unwrap().phase = phase.into();
        assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:01:00Z").as_deref(), Some(phase), "one after the other");
    }
    resource.status.as_mut().unwrap().operation.as_mut().unwrap().phase = "Starting".into();
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:02:00Z").as_deref(), Some("Building"));
    assert!(resource.status.as_ref().unwrap().operation.as_ref().unwrap().restores());
}

/// What the rehearsal came to; the servers beside are killed with it.
fn rehearsed(observed: &mut Observed, refused: Option<&str>) {
    const JOB: &str = "play-rehearse-upgrade-3";
    let finished = Some(refused.is_none());
    observed.children.insert(Kind::Job, JOB, owned(JOB, "uid-1", Facts::Job { finished }));
    let (outcome, reason) = if refused.is_some() { (Ended::Refused, Some(Refusal::RehearsalFailed)) } else { (Ended::Done, None) };
    let data = refused.is_none().then(|| Data::Rehearse(Rehearsed { version: "2.43.0".parse().unwrap(), seconds: 77 }));
    let report = Report { verb: Verb::Rehearse, outcome, reason, message: refused.unwrap_or_default().into(), data };
    let trouble = Some(Trouble { reason: Reason::Killed, message: "killed".into() });
    let restored = Report {
        verb: Verb::Check,
        outcome: Ended::Done,
        reason: None,
        message: String::new(),
        data: Some(Data::Check(Checked { version: "2.42.4".parse().unwrap(), last_started: None, schema: None })),
    };
    let pod = Pod { ended: true, trouble, reports: vec![restored, report], ..Pod::default() };
    observed.children.insert(Kind::Pod, "r", owned("r", JOB, Facts::Pod(Box::new(pod))));
}

fn rehearsing() -> (Dhis2Instance, Observed) {
    let (mut resource, mut observed) = (resource("2.42.4", "2.43.0"), observed());
    resource.spec.upgrade.rehearse = true;
    pass(&mut resource, &observed, "2026-11-29T12:00:00Z");
    resource.status.as_mut().unwrap().backup = backed_up("kept", Some("kept"));
    looked_at(&mut observed);
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:01:00Z").as_deref(), Some("Rehearsing"), "the newest set is proven already");
    assert!(is_held(&resource, &observed), "the old version goes on");
    (resource, observed)
}

/// Two sets, the older one named so; and the one that is proven.
fn backed_up(newest: &str, proven: Option<&str>) -> Option<BackupStatus> {
    let mut status = json!({ "history": [
        { "set": newest, "started": "2026-11-29T02:00:00Z" }, { "set": "older", "started": "2026-11-28T02:00:00Z" },
    ] });
    if let Some(proven) = proven {
        status["lastVerified"] = json!({ "set": proven, "time": "2026-11-29T03:00:00Z" });
    }
    serde_json::from_value(status).unwrap()
}

/// What the restore test came to.
fn tested(observed: &mut Observed, failed: Option<Reason>) {
    observed.children.insert(Kind::Job, PROOF, owned(PROOF, "uid-1", Facts::Job { finished: Some(failed.is_none()) }));
    let trouble = failed.map(|reason| Trouble { reason, message: "table organisationunit has 3 rows of 4.".into() });
    let data = trouble.is_none().then(|| {
        Data::Verify(Verified {
            set: "kept".into(),
            created: "2026-11-29T02:00:00Z".into(),
            verified: "2026-11-29T12:02:00Z".into(),
            seconds: 9,
            bytes: 1,
            start_seconds: None,
            copy: None,
        })
    });
    let outcome = if data.is_some() { Ended::Done } else { Ended::Refused };
    let report = Report { verb: Verb::Verify, outcome, reason: None, message: String::new(), data };
    let pod = Pod { ended: true, trouble, reports: vec![report], ..Pod::default() };
    observed.children.insert(Kind::Pod, "p", owned("p", PROOF, Facts::Pod(Box::new(pod))));
}

/// One whose newest set nobody has proven, at 12:01.
fn proving(backup: Option<BackupStatus>) -> (Dhis2Instance, Observed) {
    let (mut resource, mut observed) = (resource("2.42.4", "2.43.0"), observed());
    resource.spec.upgrade.rehearse = true;
    pass(&mut resource, &observed, "2026-11-29T12:00:00Z");
    resource.status.as_mut().unwrap().backup = backup;
    looked_at(&mut observed);
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:01:00Z").as_deref(), Some("Proving"));
    assert!(is_held(&resource, &observed), "the old version goes on");
    (resource, observed)
}

/// A rehearsal reads the database only: whether the files of the way back are there it does not see.
#[test]
fn a_set_is_proven_before_an_upgrade_is_tried_on_it() {
    let failed_since = backed_up("kept", Some("kept")).map(|backup| {
        let failure = BackupFailure { reason: "ContentsDiffer".into(), ..BackupFailure::default() };
        BackupStatus { verify_failure: Some(failure), ..backup }
    });
    for backup in [None, backed_up("kept", None), backed_up("kept", Some("older")), failed_since] {
        let (mut resource, mut observed) = proving(backup);
        assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:01:30Z").as_deref(), Some("Proving"));
        tested(&mut observed, None);
        assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:02:00Z").as_deref(), Some("Rehearsing"));
        assert!(is_held(&resource, &observed));
    }
}

#[test]
fn a_set_that_is_not_whole_blocks_the_upgrade_until_a_test_finds_one_that_is() {
    for (reason, told_as) in [(Reason::ContentsDiffer, "ContentsDiffer"), (Reason::Failed, "RestoreTestFailed")] {
        let (mut resource, mut observed) = proving(backed_up("kept", None));
        tested(&mut observed, Some(reason));
        assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:02:00Z").as_deref(), Some("Failed"));
        let operation = resource.status.as_ref().unwrap().operation.clone().unwrap();
        assert_eq!(operation.reason.as_deref(), Some(told_as));
        let mut told = [Told::new("Stalled", false, Reason::Settled, "")];
        tell(&mut told, &operation, Phase::Failed);
        assert_eq!((told[0].holds, told[0].reason), (true, Reason::UpgradeBlocked));
        for words in ["3 rows of 4", "a restore test finds the newest set whole", "a Dhis2RestoreTest"] {
            assert!(told[0].message.contains(words), "{}", told[0].message);
        }
        assert!(!told[0].message.contains("spec.upgrade"), "nobody is sent on without a way back: {}", told[0].message);
        observed.children.remove(Kind::Job, PROOF);
        let failure = BackupFailure { reason: told_as.into(), ..BackupFailure::default() };
        resource.status.as_mut().unwrap().backup.as_mut().unwrap().verify_failure = Some(failure);
        assert_eq!(pass(&mut resource, &observed, "2026-11-30T12:02:00Z").as_deref(), Some("Failed"), "a set does not mend itself");
        let mut changed = resource.clone();
        changed.metadata.generation = Some(4);
        assert_eq!(pass(&mut changed, &observed, "2026-11-30T12:03:00Z").as_deref(), Some("Checking"), "somebody has done something");
        resource.status.as_mut().unwrap().backup = backed_up("another", Some("another"));
        assert_eq!(pass(&mut resource, &observed, "2026-11-30T12:04:00Z").as_deref(), Some("Checking"), "another set is whole");
    }
}

#[test]
fn a_restore_test_that_something_passing_kept_from_its_end_is_tried_again() {
    let (mut resource, mut observed) = proving(backed_up("kept", None));
    tested(&mut observed, Some(Reason::RepositoryUnreachable));
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:02:00Z").as_deref(), Some("Failed"));
    let operation = resource.status.as_ref().unwrap().operation.clone().unwrap();
    assert!(operation.message.unwrap().ends_with("(spec.upgrade.rehearse: false goes without the rehearsal)"));
    let failure = BackupFailure { reason: "RepositoryUnreachable".into(), ..BackupFailure::default() };
    resource.status.as_mut().unwrap().backup.as_mut().unwrap().verify_failure = Some(failure);
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:11:59Z").as_deref(), Some("Failed"));
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:12:00Z").as_deref(), Some("Checking"));
}

#[test]
fn a_rehearsal_comes_before_the_backup_and_gives_the_forecast() {
    let (mut resource, mut observed) = rehearsing();
    rehearsed(&mut observed, None);
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:02:00Z").as_deref(), Some("BackingUp"));
    let operation = resource.status.as_ref().unwrap().operation.clone().unwrap();
    assert_eq!(operation.forecast_seconds, Some(77));
    let mut told = [Told::new("Reconciling", true, Reason::Settled, "")];
    tell(&mut told, &operation, Phase::Starting);
    assert!(told[0].message.contains("took 77 s"), "{}", told[0].message);
}

#[test]
fn what_does_not_serve_on_a_copy_is_not_started_and_not_tried_in_a_loop() {
    let (mut resource, mut observed) = rehearsing();
    rehearsed(&mut observed, Some("DHIS2 2.43.0 does not start on a copy of the database: ERROR: x"));
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:02:00Z").as_deref(), Some("Failed"));
    let operation = resource.status.as_ref().unwrap().operation.clone().unwrap();
    let mut told = [Told::new("Stalled", false, Reason::Settled, "")];
    tell(&mut told, &operation, Phase::Failed);
    assert_eq!((told[0].holds, told[0].reason), (true, Reason::RehearsalFailed));
    assert!(told[0].message.contains("ERROR: x") && told[0].message.contains("spec.upgrade.rehearse: false"), "{}", told[0].message);
    assert!(is_held(&resource, &observed));
    assert_eq!(pass(&mut resource, &observed, "2026-11-30T12:02:00Z").as_deref(), Some("Failed"), "data does not mend itself");
    resource.metadata.generation = Some(4);
    assert_eq!(pass(&mut resource, &observed, "2026-11-30T12:03:00Z").as_deref(), Some("Checking"));
    assert_eq!(resource.status.as_ref().unwrap().operation.as_ref().unwrap().number, 4, "its steps have names of their own");
}

#[test]
fn a_rehearsal_that_finds_no_room_is_told_with_the_way_around_it_and_tried_again() {
    const JOB: &str = "play-rehearse-upgrade-3";
    let (mut resource, mut observed) = rehearsing();
    observed.children.insert(Kind::Job, JOB, owned(JOB, "uid-1", Facts::Job { finished: None }));
    let trouble = Some(Trouble { reason: Reason::Unschedulable, message: "0/1 nodes are available.".into() });
    observed.children.insert(Kind::Pod, "r", owned("r", JOB, Facts::Pod(Box::new(Pod { trouble, ..Pod::default() }))));
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:01:20Z").as_deref(), Some("Failed"));
    let message = resource.status.as_ref().unwrap().operation.as_ref().unwrap().message.clone().unwrap();
    assert_eq!(message, "0/1 nodes are available (spec.upgrade.rehearse: false goes without the rehearsal)");
    assert_eq!(pass(&mut resource, &observed, "2026-11-29T12:11:20Z").as_deref(), Some("Checking"));
}
