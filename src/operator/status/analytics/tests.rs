use serde_json::{Value, json};

use super::*;
use crate::{
    operator::{
        slot::{Facts, Pod},
        status::operation::tests::Scene,
        trouble::Trouble,
    },
    report::{Generated, Outcome, Report, Verb},
};

fn at(hour: u8) -> Timestamp {
    format!("2026-11-29T{hour:02}:00:00Z").parse().unwrap()
}

fn status(of: &Value) -> Dhis2InstanceStatus {
    serde_json::from_value(of.clone()).unwrap()
}

fn operation(kind: &str, phase: Phase, revert: bool) -> Value {
    json!({"operation": {"kind": kind, "name": "x", "uid": "u", "phase": phase.as_str(), "revert": revert}})
}

#[test]
fn tables_are_lost_by_other_data_and_by_another_line_and_by_nothing_else() {
    let resource = Scene::serving().resource;
    let lost = |before: &Value, after: &Value| lost(&status(before), &status(after), &resource);
    let starting = |kind| operation(kind, Phase::Starting, false);
    assert_eq!(lost(&starting("Restore"), &operation("Restore", Phase::Done, false)), Some((Loss::Restore, false)));
    assert_eq!(lost(&starting("Rollback"), &json!({})), Some((Loss::Rollback, false)));
    let runs = |version: &str| json!({"version": {"running": version}});
    assert_eq!(lost(&runs("2.42.5"), &runs("2.43.0")), Some((Loss::Upgrade, true)));
    let loaded = |schema: Value| json!({"bootstrap": {"schema": schema, "seconds": 1, "databaseBytes": 1, "files": 1, "fileBytes": 1}});
    assert_eq!(lost(&json!({}), &loaded(Value::Null)), Some((Loss::Bootstrap, false)), "a set has none");
    assert_eq!(lost(&json!({}), &loaded(json!("2.42.7"))), Some((Loss::Bootstrap, false)));
    assert_eq!(lost(&json!({}), &loaded(json!("2.41.7"))), Some((Loss::Bootstrap, true)), "those of another line are of no use");
    let older = json!({"version": {"running": "2.43.0"}, "operation": starting("Restore")["operation"]});
    let back = json!({"version": {"running": "2.42.5"}, "operation": operation("Restore", Phase::Done, false)["operation"]});
    assert_eq!(lost(&older, &back), Some((Loss::Restore, false)), "back to the old version with its set");
    let none = [
        (starting("Restore"), starting("Restore")),
        (operation("Restore", Phase::Building, false), operation("Restore", Phase::Failed, false)),
        (operation("Restore", Phase::Starting, true), operation("Restore", Phase::Reverted, true)),
        (operation("Restore", Phase::Done, false), json!({})),
        (starting("Upgrade"), json!({})),
        (operation("Rollback", Phase::Canceled, false), json!({})),
        (runs("2.42.5"), runs("2.42.6")),
        (json!({}), runs("2.42.5")),
        (loaded(Value::Null), loaded(Value::Null)),
    ];
    for (before, after) in none {
        assert_eq!(lost(&before, &after), None, "{before} to {after}");
    }
}

/// An instance whose restore has just ended.
fn after_a_restore() -> Scene {
    let mut scene = Scene::serving();
    let before = status(&operation("Restore", Phase::Starting, false));
    let mut after = status(&operation("Restore", Phase::Done, false));
    advance(&before, &mut after, &scene.resource, &scene.observed, at(1));
    after.operation = None;
    scene.resource.status = Some(after);
    scene
}

fn pass(scene: &mut Scene, hour: u8) {
    let before = scene.resource.status.clone().unwrap();
    let mut after = before.clone();
    advance(&before, &mut after, &scene.resource, &scene.observed, at(hour));
    scene.resource.status = Some(after);
}

fn analytics(scene: &Scene) -> AnalyticsStatus {
    *scene.status().analytics.clone().unwrap()
}

fn told(scene: &Scene) -> (bool, Reason, String) {
    fresh(&scene.resource, scene.status(), &scene.observed).map(|told| (told.holds, told.reason, told.message)).unwrap()
}

fn ends(scene: &mut Scene, outcome: Generation, message: &str) {
    let job = format!("play-{}", job_name(analytics(scene).run));
    let data = Some(Data::Analytics(Generated { outcome, seconds: 70 }));
    scene.step(&job, true, Report { verb: Verb::Analytics, outcome: Outcome::Done, reason: None, message: message.into(), data });
}

#[test]
fn a_run_is_asked_for_and_its_end_is_told() {
    let mut scene = after_a_restore();
    let run = analytics(&scene).run;
    assert_eq!(run, 1);
    let waits = told(&scene);
    assert!(!waits.0 && waits.1 == Reason::GeneratingAnalytics && waits.2.contains("dashboards are empty until then."), "{waits:?}");
    pass(&mut scene, 2);
    assert_eq!(analytics(&scene).run, run, "it stays the same one");
    ends(&mut scene, Generation::Generated, "");
    pass(&mut scene, 3);
    assert_eq!(told(&scene), (true, Reason::Done, "DHIS2 generated its analytics tables after a restore, in 70 s.".into()));
    let ended = scene.status().clone();
    pass(&mut scene, 23);
    assert_eq!((scene.status(), again_in(&ended, at(4))), (&ended, None));
}

#[test]
fn where_nothing_had_to_be_generated_that_is_told() {
    let mut scene = after_a_restore();
    ends(&mut scene, Generation::NotNeeded, "analytics tables have never been generated in this database");
    pass(&mut scene, 2);
    let (holds, _, message) = told(&scene);
    assert!(holds && message.ends_with("after a restore: analytics tables have never been generated in this database."), "{message}");
}

#[test]
fn what_failed_is_told_and_tried_again_after_six_hours_as_a_whole() {
    let mut scene = after_a_restore();
    let first = analytics(&scene).run;
    ends(&mut scene, Generation::Failed, "Populating analytics tables: no space left on device");
    pass(&mut scene, 2);
    let (holds, reason, message) = told(&scene);
    assert!(!holds && reason == Reason::AnalyticsFailed && message.contains("no space left on device. It is tried again"), "{message}");
    assert_eq!(again_in(scene.status(), at(3)), Some(Duration::from_hours(5)));
    pass(&mut scene, 7);
    assert_eq!(analytics(&scene).run, first);
    pass(&mut scene, 8);
    let again = analytics(&scene);
    assert!(again.run == first + 1 && again.all && again.finished.is_none(), "{again:?}");
    assert!(told(&scene).2.contains("The last run failed: Populating"), "{:?}", told(&scene));
    ends(&mut scene, Generation::Generated, "");
    pass(&mut scene, 9);
    assert!(told(&scene).0);
}

#[test]
fn a_report_that_went_with_its_pod_is_no_success_and_no_wait_without_end() {
    let mut scene = after_a_restore();
    let job = format!("play-{}", job_name(analytics(&scene).run));
    let slot = |facts| crate::operator::slot::fixture::owned(&job, "uid-1", facts);
    scene.observed.children.insert(Kind::Job, &job, slot(Facts::Job { finished: Some(true) }));
    let pod = |pod: Pod| crate::operator::slot::fixture::owned("pod", &job, Facts::Pod(Box::new(pod)));
    scene.observed.children.insert(Kind::Pod, "pod", pod(Pod::default()));
    pass(&mut scene, 2);
    assert!(analytics(&scene).finished.is_none(), "its pod may have more to tell");
    scene.observed.children.remove(Kind::Pod, "pod");
    pass(&mut scene, 3);
    assert_eq!(told(&scene).1, Reason::AnalyticsFailed);
}

#[test]
fn what_keeps_its_pod_from_starting_is_told() {
    let mut scene = after_a_restore();
    let job = format!("play-{}", job_name(analytics(&scene).run));
    let slot = |name: &str, owner: &str, facts| crate::operator::slot::fixture::owned(name, owner, facts);
    scene.observed.children.insert(Kind::Job, &job, slot(&job, "uid-1", Facts::Job { finished: None }));
    let trouble = Some(Trouble { reason: Reason::ImageUnavailable, message: "it is not there".into() });
    let pod = Facts::Pod(Box::new(Pod { trouble, ..Pod::default() }));
    scene.observed.children.insert(Kind::Pod, "pod", slot("pod", &job, pod));
    assert_eq!(told(&scene), (false, Reason::ImageUnavailable, "it is not there".into()));
}

#[test]
fn who_wants_none_is_left_alone() {
    let mut scene = after_a_restore();
    scene.resource.spec.analytics.generate = Generate::Never;
    assert!(derived(&scene.resource).contains("(app Data Administration)"));
    pass(&mut scene, 2);
    assert!(analytics(&scene).finished.is_some(), "nobody is asked any more");
    assert_eq!(fresh(&scene.resource, scene.status(), &scene.observed), None);
    let before = status(&operation("Restore", Phase::Starting, false));
    let mut after = status(&operation("Restore", Phase::Done, false));
    advance(&before, &mut after, &scene.resource, &scene.observed, at(3));
    assert_eq!(after.analytics, None);
}
