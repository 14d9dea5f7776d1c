use super::*;
use crate::{
    api::{status::VersionStatus, upgrade::OnFailure},
    operator::{
        kind::Kind,
        parse,
        settings::Settings,
        slot::{Facts, Pod, Role, fixture::owned},
        status::operation::tests::{Scene, report},
        trouble::Trouble,
    },
    report::{Checked, Data, Outcome as Ended, Report, Verb},
};

const BUILD: &str = "play-restore-00000003";

/// An upgrade whose new version is being started, at 12:00.
fn starting(on_failure: OnFailure) -> Scene {
    let mut scene = Scene::serving();
    scene.resource.spec.version = "2.43.0".into();
    scene.resource.spec.upgrade.on_failure = on_failure;
    let status = scene.resource.status.as_mut().unwrap();
    status.version = Some(VersionStatus { running: Some("2.42.5".into()), ..VersionStatus::default() });
    let mut upgrade = OperationStatus {
        kind: "Upgrade".into(),
        name: "2.43.0".into(),
        number: 3,
        safety_backup: Some("play-before-upgrade-3".into()),
        ..OperationStatus::default()
    };
    enter(&mut upgrade, Phase::Starting, "2026-11-29T12:00:00Z".parse().unwrap());
    status.operation = Some(Box::new(upgrade));
    dhis2(&mut scene, Pod::default());
    scene
}

fn dhis2(scene: &mut Scene, pod: Pod) {
    scene.observed.children.insert(Kind::Pod, "play-0", owned("play-0", "play", Facts::Pod(Box::new(pod))));
}

/// The new version was let onto the database and ended so often.
fn let_in(starts: u32) -> Pod {
    let data = Some(Data::Check(Checked { version: "2.43.0".parse().unwrap(), last_started: None, schema: None }));
    let report = Report { verb: Verb::Check, outcome: Ended::Done, reason: None, message: String::new(), data };
    let trouble = (starts > 0).then(|| Trouble { reason: Reason::StartFailed, message: "it answers 404".into() });
    Pod { reports: vec![report], trouble, starts, ..Pod::default() }
}

fn instance(scene: &Scene) -> crate::operator::instance::Instance {
    parse::assume(&scene.resource, &scene.observed, &Settings::default()).unwrap()
}

fn operation(scene: &Scene) -> &OperationStatus {
    scene.status().operation.as_ref().unwrap()
}

fn told(scene: &Scene) -> (bool, Reason, String) {
    let mut conditions = vec![Told::new("Stalled", false, Reason::Unobstructed, "")];
    crate::operator::status::operation::tell(&mut conditions, scene.status());
    tell_done(&mut conditions, &scene.resource, scene.status());
    let stalled = conditions.remove(0);
    (stalled.holds, stalled.reason, stalled.message)
}

/// The set of before is on new volumes, and everything is stopped.
fn switching(scene: &mut Scene) {
    dhis2(scene, let_in(2));
    assert_eq!(scene.pass_then("2026-11-29T12:05:00Z"), Some("Building"));
    scene.built_by(BUILD);
    assert_eq!(scene.pass_then("2026-11-29T12:06:00Z"), Some("Stopping"), "of what does not start no backup is made");
    scene.stopped();
    for part in ["database", "files"] {
        scene.claim(&format!("play-{part}"), Some(Role::Replaced));
        scene.claim(&format!("play-{part}-2"), None);
    }
}

#[test]
fn a_version_that_ends_twice_gives_way_to_the_old_one_with_the_set_of_before() {
    let mut scene = starting(OnFailure::Rollback);
    assert_eq!(scene.pass_then("2026-11-29T12:01:00Z"), Some("Starting"));
    dhis2(&mut scene, let_in(1));
    assert_eq!(scene.pass_then("2026-11-29T12:02:00Z"), Some("Starting"), "it may have been a moment's");
    assert!(operation(&scene).migrating);
    switching(&mut scene);
    let restoring = instance(&scene).restoring.unwrap();
    assert_eq!((restoring.set.as_deref(), restoring.database.as_str()), (Some("play-before-upgrade-3"), "play-database-2"));
    assert_eq!(instance(&scene).version.to_string(), "2.43.0");
    assert_eq!(scene.pass_then("2026-11-29T12:07:00Z"), Some("Starting"));
    let status = scene.status();
    let rolled_back = status.version.as_ref().unwrap().rolled_back.clone().unwrap();
    assert_eq!((rolled_back.version.as_str(), rolled_back.to.as_str(), rolled_back.set.as_deref()), ("2.43.0", "2.42.5", Some("kept")));
    assert_eq!(status.claims.as_ref().unwrap().database.as_ref().unwrap().name, "play-database-2");
    assert_eq!(status.kept[0].database.as_ref().unwrap().name, "play-database", "what was entered meanwhile is there only");
    assert_eq!(instance(&scene).version.to_string(), "2.42.5");
    scene.serves(true);
    assert_eq!(scene.pass_then("2026-11-29T12:08:00Z"), None);
    let (holds, reason, message) = told(&scene);
    assert_eq!((holds, reason), (true, Reason::UpgradeRolledBack));
    assert!(message.contains("it answers 404") && message.contains("status.kept"), "{message}");
    assert_eq!(scene.pass_then("2026-11-29T13:08:00Z"), None, "it is not tried again");
    assert!(!instance(&scene).stage.held && !instance(&scene).stage.upgrading);
}

#[test]
fn a_rollback_that_cannot_begin_says_so() {
    let mut scene = starting(OnFailure::Rollback);
    dhis2(&mut scene, let_in(2));
    assert_eq!(scene.pass_then("2026-11-29T12:05:00Z"), Some("Building"));
    let trouble = Some(Trouble { reason: Reason::Unschedulable, message: "no node has room.".into() });
    scene.observed.children.insert(Kind::Job, BUILD, owned(BUILD, "uid-1", Facts::Job { finished: None }));
    scene.observed.children.insert(Kind::Pod, "x", owned("x", BUILD, Facts::Pod(Box::new(Pod { trouble, ..Pod::default() }))));
    assert_eq!(scene.pass_then("2026-11-29T12:06:00Z"), Some("Building"));
    let (holds, reason, message) = told(&scene);
    assert_eq!((holds, reason), (true, Reason::Unschedulable), "nobody is served");
    assert!(message.contains("no node has room") && message.contains("The upgrade to 2.43.0 failed"), "{message}");
    scene.observed.children.remove(Kind::Pod, "x");
    scene.pass_then("2026-11-29T12:07:00Z");
    assert!(!told(&scene).0);
}

#[test]
fn another_version_is_a_new_upgrade_and_so_is_the_same_one_after_the_old_one() {
    let mut scene = starting(OnFailure::Rollback);
    switching(&mut scene);
    scene.pass_then("2026-11-29T12:07:00Z");
    scene.serves(true);
    scene.pass_then("2026-11-29T12:08:00Z");
    let mut fixed = Scene { resource: scene.resource.clone(), observed: scene.observed.clone() };
    fixed.resource.spec.version = "2.43.1".into();
    assert_eq!(instance(&fixed).version.to_string(), "2.43.1");
    assert_eq!(fixed.pass_then("2026-11-29T12:09:00Z"), Some("Checking"));
    scene.resource.spec.version = "2.42.5".into();
    assert_eq!(scene.pass_then("2026-11-29T12:09:00Z"), None);
    assert_eq!(told(&scene).1, Reason::Unobstructed);
}

#[test]
fn a_version_that_hangs_has_its_time() {
    let mut scene = starting(OnFailure::Rollback);
    scene.resource.spec.upgrade.timeout = "90m".into();
    dhis2(&mut scene, let_in(0));
    assert_eq!(scene.pass_then("2026-11-29T13:29:59Z"), Some("Starting"));
    let mut without_database = Scene { resource: scene.resource.clone(), observed: scene.observed.clone() };
    without_database.observed.children.remove(Kind::Pod, "play-database-0");
    for time in ["2026-11-29T13:30:00Z", "2026-11-29T13:40:00Z"] {
        assert_eq!(without_database.pass_then(time), Some("Starting"), "that is not its fault");
    }
    assert_eq!(scene.pass_then("2026-11-29T13:30:00Z"), Some("Starting"), "what is known may be of before a power cut");
    assert_eq!(scene.pass_then("2026-11-29T13:34:59Z"), Some("Starting"));
    assert_eq!(scene.pass_then("2026-11-29T13:35:00Z"), Some("Building"));
    let (holds, reason, message) = told(&scene);
    assert_eq!((holds, reason), (false, Reason::RollingBack));
    assert!(message.contains("90m"), "{message}");
}

#[test]
fn a_start_that_a_power_cut_ended_has_its_time_anew() {
    let mut scene = starting(OnFailure::Rollback);
    scene.resource.spec.upgrade.timeout = "90m".into();
    let since = |time: &str| Pod { started: Some(time.parse().unwrap()), ..let_in(0) };
    dhis2(&mut scene, since("2026-11-29T12:01:00Z"));
    assert_eq!(scene.pass_then("2026-11-29T12:02:00Z"), Some("Starting"));
    // The power is away for three hours. Then the first look is at what was before.
    assert_eq!(scene.pass_then("2026-11-29T15:00:00Z"), Some("Starting"));
    assert!(operation(&scene).overdue.is_some());
    let starts = Pod { starts: 1, ..since("2026-11-29T15:00:30Z") };
    dhis2(&mut scene, Pod { trouble: None, ..starts });
    assert_eq!(scene.pass_then("2026-11-29T15:01:00Z"), Some("Starting"));
    assert_eq!(operation(&scene).overdue, None);
    assert_eq!(scene.pass_then("2026-11-29T16:30:29Z"), Some("Starting"));
    assert_eq!(scene.pass_then("2026-11-29T16:30:30Z"), Some("Starting"));
    assert_eq!(scene.pass_then("2026-11-29T16:35:30Z"), Some("Building"), "it has hung since the power was back");
}

#[test]
fn what_was_never_let_onto_the_database_is_taken_back_without_a_restore() {
    let mut scene = starting(OnFailure::Rollback);
    let trouble = Some(Trouble { reason: Reason::Unschedulable, message: "0/3 nodes".into() });
    dhis2(&mut scene, Pod { trouble, ..Pod::default() });
    assert_eq!(scene.pass_then("2026-11-29T14:00:00Z"), Some("Starting"));
    assert_eq!(scene.pass_then("2026-11-29T14:05:00Z"), None);
    assert_eq!(instance(&scene).version.to_string(), "2.42.5");
    assert_eq!(scene.status().version.as_ref().unwrap().rolled_back.as_ref().unwrap().set, None);
    assert_eq!(scene.status().claims.as_ref().unwrap().database.as_ref().unwrap().name, "play-database");
}

#[test]
fn who_holds_is_told_and_decides() {
    let mut scene = starting(OnFailure::Hold);
    dhis2(&mut scene, let_in(2));
    assert_eq!(scene.pass_then("2026-11-29T12:05:00Z"), Some("Starting"));
    let (holds, reason, message) = told(&scene);
    assert_eq!((holds, reason), (true, Reason::UpgradeFailed));
    assert!(message.contains("play-before-upgrade-3") && message.contains("it answers 404"), "{message}");
    dhis2(&mut scene, let_in(0));
    scene.pass_then("2026-11-29T12:06:00Z");
    assert_eq!(told(&scene).1, Reason::Unobstructed, "another pod has not failed yet");
    scene.resource.spec.upgrade.on_failure = OnFailure::Rollback;
    dhis2(&mut scene, let_in(2));
    assert_eq!(scene.pass_then("2026-11-29T12:07:00Z"), Some("Building"), "who thinks better of it");
}

#[test]
fn a_version_that_serves_while_its_end_is_prepared_stays() {
    let mut scene = starting(OnFailure::Rollback);
    dhis2(&mut scene, let_in(2));
    scene.pass_then("2026-11-29T12:05:00Z");
    for part in ["database", "files"] {
        scene.claim(&format!("play-{part}-2"), Some(Role::Building));
    }
    scene.serves(true);
    scene.resource.status.as_mut().unwrap().version.as_mut().unwrap().running = Some("2.43.0".into());
    assert_eq!(scene.pass_then("2026-11-29T12:06:00Z"), Some("Canceled"));
    assert_eq!(scene.superseded(), ["play-database-2", "play-files-2"]);
    for part in ["database", "files"] {
        scene.observed.children.remove(Kind::PersistentVolumeClaim, &format!("play-{part}-2"));
    }
    assert_eq!(scene.pass_then("2026-11-29T12:07:00Z"), None);
    assert_eq!(instance(&scene).version.to_string(), "2.43.0");
}

#[test]
fn a_set_that_can_not_be_restored_is_tried_again_and_the_volumes_stay() {
    let mut scene = starting(OnFailure::Rollback);
    dhis2(&mut scene, let_in(2));
    scene.pass_then("2026-11-29T12:05:00Z");
    scene.step(BUILD, false, report(Ended::Refused, None));
    assert_eq!(scene.pass_then("2026-11-29T12:06:00Z"), Some("Failed"));
    let (holds, reason, message) = told(&scene);
    assert_eq!((holds, reason), (true, Reason::RollbackFailed));
    assert!(message.contains("it is not whole"), "{message}");
    assert_eq!(scene.status().claims.as_ref().unwrap().database.as_ref().unwrap().name, "play-database");
    scene.observed.children.remove(Kind::Job, BUILD);
    assert_eq!(scene.pass_then("2026-11-29T12:15:59Z"), Some("Failed"));
    assert_eq!(scene.pass_then("2026-11-29T12:16:00Z"), Some("Building"));
    let (holds, reason, message) = told(&scene);
    assert_eq!((holds, reason), (false, Reason::RollingBack));
    assert!(message.contains("it answers 404"), "what it is rolled back for: {message}");
}

#[test]
fn the_digest_of_an_image_goes_back_with_its_version() {
    let mut scene = starting(OnFailure::Rollback);
    let [old, new] = ["a", "b"].map(|digit| format!("sha256:{}", digit.repeat(64)));
    scene.resource.spec.image = Some(serde_json::from_value(serde_json::json!({ "digest": new })).unwrap());
    let version = scene.resource.status.as_mut().unwrap().version.as_mut().unwrap();
    version.image_id = Some(format!("docker.io/dhis2/core@{old}"));
    assert!(instance(&scene).images.dhis2.ends_with(&new));
    switching(&mut scene);
    scene.pass_then("2026-11-29T12:07:00Z");
    assert!(instance(&scene).images.dhis2.ends_with(&old), "{}", instance(&scene).images.dhis2);
}

#[test]
fn a_version_that_serves_for_a_moment_while_it_is_being_stopped_is_not_what_is_gone_back_to() {
    let mut scene = starting(OnFailure::Rollback);
    switching(&mut scene);
    scene.resource.status.as_mut().unwrap().version.as_mut().unwrap().running = Some("2.43.0".into());
    assert_eq!(scene.pass_then("2026-11-29T12:07:00Z"), Some("Starting"));
    assert_eq!(scene.status().version.as_ref().unwrap().rolled_back.as_ref().unwrap().to, "2.42.5");
    assert_eq!(instance(&scene).version.to_string(), "2.42.5");
    assert!(!instance(&scene).stage.downgrade, "its database is on its way");
}
