use serde_json::{Value, json};

use super::*;
use crate::{
    api::status::{AdminStatus, Claims, KeptStatus, Made},
    operator::{
        instance::Instance,
        parse::Refusal,
        restart::Restart,
        settings::Settings,
        slot::{
            Pod, Request, Role,
            fixture::{claim, owned},
        },
        status,
        trouble::Trouble,
    },
    report::{Outcome as Ended, Report, Restored, Verb},
};

const REQUEST: &str = "0123456789-request";
const BUILD: &str = "play-restore-01234567";
const SAFETY: &str = "play-before-01234567";

fn now() -> Timestamp {
    "2026-11-29T12:00:00Z".parse().unwrap()
}

fn made(name: &str) -> Made {
    Made { name: name.into(), uid: format!("uid of {name}") }
}

fn claims(number: &str) -> Claims {
    Claims { database: Some(made(&format!("play-database{number}"))), files: Some(made(&format!("play-files{number}"))), backups: None }
}

/// An instance that serves, from what it was made with.
fn resource() -> Dhis2Instance {
    let mut resource: Dhis2Instance = serde_json::from_value(json!({
        "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance",
        "metadata": {"name": "play", "namespace": "ns", "uid": "uid-1", "generation": 3},
        "spec": {"version": "2.42.4", "web": {"host": "play.example.org"}}
    }))
    .unwrap();
    resource.status = Some(Dhis2InstanceStatus {
        claims: Some(Claims { backups: Some(made("play-backups")), ..claims("") }),
        admin: Some(AdminStatus::default()),
        database: Some(DatabaseStatus { system_identifier: Some("old".into()), ..DatabaseStatus::default() }),
        ..Dhis2InstanceStatus::default()
    });
    resource
}

/// What happens to an instance, as the operator sees it.
pub struct Scene {
    pub resource: Dhis2Instance,
    pub observed: Observed,
}

impl Scene {
    /// An instance that serves.
    pub fn serving() -> Self {
        let mut scene = Self { resource: resource(), observed: Observed { instance: "uid-1".into(), ..Observed::default() } };
        for claim in ["play-database", "play-files", "play-backups"] {
            scene.claim(claim, None);
        }
        scene.serves(true);
        scene
    }

    fn new() -> Self {
        let mut scene = Self::serving();
        scene.ask(REQUEST, &json!({"set": "kept"}));
        scene
    }

    pub fn claim(&mut self, name: &str, role: Option<Role>) {
        let facts = claim("20Gi", None, role);
        self.observed.children.insert(Kind::PersistentVolumeClaim, name, owned(&format!("uid of {name}"), "uid-1", facts));
    }

    pub fn serves(&mut self, ready: bool) {
        for set in ["play", "play-database"] {
            let pod = Pod { ready, ..Pod::default() };
            self.observed.children.insert(Kind::StatefulSet, set, owned(set, "uid-1", Facts::Plain));
            self.observed.children.insert(Kind::Pod, &format!("{set}-0"), owned(&format!("{set}-0"), set, Facts::Pod(Box::new(pod))));
        }
    }

    pub fn stopped(&mut self) {
        for set in ["play", "play-database"] {
            self.observed.children.remove(Kind::Pod, &format!("{set}-0"));
        }
    }

    /// A request, as far as it was told.
    fn ask(&mut self, uid: &str, more: &Value) {
        let mut spec = json!({"instance": "play"});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let name = format!("of-{uid}");
        let status = self.observed.slot(Kind::Dhis2Restore, &name).and_then(|slot| slot.request()).map(|known| known.status.clone());
        let request =
            Request { spec: serde_json::from_value(spec).unwrap(), status: status.unwrap_or_default(), generation: Some(1), created: None };
        self.observed.children.insert(Kind::Dhis2Restore, &name, owned(uid, "", Facts::Restore(Box::new(request))));
    }

    pub fn step(&mut self, job: &str, finished: bool, report: Report) {
        let trouble = (!finished).then(|| Trouble { reason: Reason::SetIncomplete, message: report.message.clone() });
        self.observed.children.insert(Kind::Job, job, owned(job, "uid-1", Facts::Job { finished: Some(finished) }));
        let pod = Pod { ended: true, trouble, reports: vec![report], ..Pod::default() };
        self.observed.children.insert(Kind::Pod, &format!("{job}-x"), owned(&format!("{job}-x"), job, Facts::Pod(Box::new(pod))));
    }

    fn built(&mut self) {
        self.built_by(BUILD);
    }

    pub fn built_by(&mut self, job: &str) {
        for part in ["database", "files"] {
            self.claim(&format!("play-{part}-2"), Some(Role::Building));
        }
        let restored = Restored {
            set: "kept".into(),
            created: "2026-11-28T01:00:00Z".into(),
            dhis2: "2.42.4".parse().unwrap(),
            instance: "uid-1".into(),
            postgresql: 17,
            system_identifier: "new".into(),
            built_at: "2026-11-29T11:00:00Z".into(),
            seconds: 60,
            database_bytes: 5,
            rows: 4,
            files: 3,
            file_bytes: 2,
        };
        self.step(job, true, report(Ended::Done, Some(Data::Restore(restored))));
    }

    fn pass_with(&mut self, outcome: &Outcome) -> Option<&str> {
        self.pass_at(outcome, now())
    }

    fn pass_at(&mut self, outcome: &Outcome, now: Timestamp) -> Option<&str> {
        let resource = self.resource.clone();
        let status = self.resource.status.get_or_insert_default();
        advance(status, &resource, &self.observed, outcome, now);
        for news in status::news(Some(status), &self.observed, "docs/runbooks", now) {
            let slot = self.observed.children.get_mut(Kind::Dhis2Restore, &news.name).unwrap();
            let Facts::Restore(request) = &mut slot.facts else { panic!("no request") };
            request.status = news.status;
        }
        self.resource.status.as_ref()?.operation.as_ref().map(|operation| operation.phase.as_str())
    }

    /// One pass that had nothing to write; the phase after it.
    pub fn pass(&mut self) -> Option<&str> {
        self.pass_that(true)
    }

    pub fn pass_that(&mut self, quiet: bool) -> Option<&str> {
        let outcome = self.applied(quiet);
        self.pass_with(&outcome)
    }

    /// One pass at this time.
    pub fn pass_then(&mut self, time: &str) -> Option<&str> {
        let outcome = self.applied(true);
        self.pass_at(&outcome, time.parse().unwrap())
    }

    fn applied(&self, quiet: bool) -> Outcome {
        let instance: Instance = crate::operator::parse::assume(&self.resource, &self.observed, &Settings::default()).unwrap();
        let instance = Box::new(instance);
        Outcome::Applied { instance, made: Vec::new(), restart: Restart::Settled, contested: Vec::new(), quiet }
    }

    pub fn status(&self) -> &Dhis2InstanceStatus {
        self.resource.status.as_ref().unwrap()
    }

    fn told(&self, uid: &str) -> (&str, &str) {
        let slot = self.observed.slot(Kind::Dhis2Restore, &format!("of-{uid}")).unwrap();
        let status = &slot.request().unwrap().status;
        (status.phase.as_deref().unwrap_or_default(), status.message.as_deref().unwrap_or_default())
    }

    /// Why it is not complete.
    fn reason(&self, uid: &str) -> Reason {
        let slot = self.observed.slot(Kind::Dhis2Restore, &format!("of-{uid}")).unwrap();
        let conditions = &slot.request().unwrap().status.conditions;
        let complete = conditions.iter().find(|condition| condition.type_ == "Complete").unwrap();
        assert_eq!(complete.status, "False");
        complete.reason.parse().unwrap()
    }

    pub fn superseded(&self) -> Vec<String> {
        let claims = volumes::superseded(self.status(), &self.resource, &self.observed);
        claims.into_iter().map(|claim| claim.name).collect()
    }
}

pub fn report(outcome: Ended, data: Option<Data>) -> Report {
    Report { verb: Verb::Restore, outcome, reason: None, message: "it is not whole".into(), data }
}

/// Up to the moment when the servers are to stop.
fn stopping() -> Scene {
    let mut scene = Scene::new();
    assert_eq!(scene.pass(), Some("Building"));
    scene.built();
    assert_eq!(scene.pass(), Some("BackingUp"));
    let set = crate::report::fixture::set("before", "2026-11-29T11:30:00Z");
    scene.step(SAFETY, true, report(Ended::Done, Some(Data::Backup(Box::new(set)))));
    assert_eq!(scene.pass(), Some("Stopping"));
    scene
}

/// Up to where it serves from the new volumes, and everything is told.
fn done() -> Scene {
    let mut scene = stopping();
    scene.stopped();
    for part in ["database", "files"] {
        scene.claim(&format!("play-{part}"), Some(Role::Replaced));
        scene.claim(&format!("play-{part}-2"), None);
    }
    assert_eq!(scene.pass(), Some("Starting"));
    scene.serves(true);
    assert_eq!(scene.pass(), Some("Done"));
    assert_eq!(scene.pass(), None, "it was told");
    scene
}

#[test]
fn how_much_there_is_to_restore_and_where_it_is_followed_is_told() {
    let mut scene = Scene::new();
    let status = scene.resource.status.as_mut().unwrap();
    status.capacity = Some(serde_json::from_value(json!({"database": {"used": 3_i64 << 30}, "files": {"used": 1_i64 << 30}})).unwrap());
    status.backup = Some(serde_json::from_value(json!({"lastVerified": {"set": "kept", "seconds": 77}})).unwrap());
    scene.pass();
    let message = scene.told(REQUEST).1;
    assert!(message.contains("have about 4Gi. The last restore test took 77 s."), "{message}");
    assert!(message.ends_with("kubectl logs --follow job/play-restore-01234567 -c restore"), "{message}");
}

#[test]
fn nothing_switches_before_nothing_runs_and_nothing_is_to_be_written() {
    let mut scene = stopping();
    assert_eq!(scene.pass(), Some("Stopping"), "both servers run");
    scene.stopped();
    assert_eq!(scene.pass_that(false), Some("Stopping"), "what the claims are for was only just written");
    assert_eq!(scene.status().claims.as_ref().unwrap().database, Some(made("play-database")));
    assert_eq!(scene.pass(), Some("Starting"));
    let status = scene.status();
    assert_eq!(status.claims, Some(Claims { backups: Some(made("play-backups")), ..claims("-2") }));
    assert_eq!(status.database.as_ref().unwrap().system_identifier.as_deref(), Some("new"));
    let kept = &status.kept[0];
    assert_eq!((&kept.database, &kept.files), (&Some(made("play-database")), &Some(made("play-files"))));
    assert_eq!(kept.system_identifier.as_deref(), Some("old"));
    scene.serves(false);
    assert_eq!(scene.pass(), Some("Starting"), "it does not serve yet");
}

#[test]
fn what_is_done_is_told_and_never_done_again() {
    let mut scene = done();
    let (phase, message) = scene.told(REQUEST);
    assert_eq!(phase, "Done");
    assert!(message.contains("play-database-2") && message.ends_with(derived(&scene.resource)), "{message}");
    let before = scene.status().clone();
    assert_eq!(scene.pass(), None);
    assert_eq!(*scene.status(), before);
}

#[test]
fn until_the_switch_a_failure_leaves_everything_and_what_was_built_goes() {
    let mut scene = Scene::new();
    scene.pass();
    scene.built();
    scene.step(BUILD, false, report(Ended::Refused, None));
    let before = scene.status().claims.clone();
    assert_eq!(scene.pass(), Some("Failed"));
    assert_eq!(scene.told(REQUEST), ("Failed", "it is not whole"));
    assert_eq!(scene.superseded(), ["play-database-2", "play-files-2"]);
    assert_eq!(scene.pass(), Some("Failed"), "they are still there");
    for part in ["database", "files"] {
        scene.observed.children.remove(Kind::PersistentVolumeClaim, &format!("play-{part}-2"));
    }
    assert_eq!(scene.pass(), None);
    assert_eq!(scene.status().claims, before);
    assert_eq!(scene.pass(), None, "it is not tried again");
}

#[test]
fn a_step_whose_report_went_with_its_pod_is_waited_for_a_while_and_came_to_nothing_then() {
    let mut scene = Scene::new();
    assert_eq!(scene.pass_then("2026-11-29T12:00:00Z"), Some("Building"));
    scene.observed.children.insert(Kind::Job, BUILD, owned(BUILD, "uid-1", Facts::Job { finished: Some(true) }));
    assert_eq!(scene.pass_then("2026-11-29T12:09:59Z"), Some("Building"), "its pod may not be told of yet");
    let pod = |ended| Facts::Pod(Box::new(Pod { ended, ..Pod::default() }));
    scene.observed.children.insert(Kind::Pod, "x", owned("x", BUILD, pod(false)));
    assert_eq!(scene.pass_then("2026-11-29T14:00:00Z"), Some("Building"), "it may have more to tell");
    scene.observed.children.remove(Kind::Pod, "x");
    assert_eq!(scene.pass_then("2026-11-29T14:00:01Z"), Some("Failed"));
    assert!(scene.status().operation.as_ref().unwrap().message.as_ref().unwrap().contains("went with its pod"));
}

#[test]
fn a_step_that_cannot_begin_is_waited_for_and_told() {
    let mut scene = Scene::new();
    assert_eq!(scene.pass_then("2026-11-29T12:00:00Z"), Some("Building"));
    let trouble = Some(Trouble { reason: Reason::Unschedulable, message: "no node has room.".into() });
    let pod = |trouble| Facts::Pod(Box::new(Pod { trouble, ..Pod::default() }));
    scene.observed.children.insert(Kind::Job, BUILD, owned(BUILD, "uid-1", Facts::Job { finished: None }));
    scene.observed.children.insert(Kind::Pod, "x", owned("x", BUILD, pod(trouble)));
    assert_eq!(scene.pass_then("2026-11-29T12:00:10Z"), Some("Building"));
    assert!(scene.told(REQUEST).1.starts_with("The set is restored to new volumes"), "it may be a moment's");
    assert_eq!(scene.pass_then("2026-11-29T12:01:00Z"), Some("Building"), "nothing of the instance is touched meanwhile");
    assert_eq!(scene.told(REQUEST).1, format!("Job {BUILD} can't begin, and is waited for: no node has room."));
    let mut conditions = vec![Told::new("Reconciling", true, Reason::Restoring, "")];
    tell(&mut conditions, scene.status());
    assert!(conditions[0].message.ends_with("no node has room."), "{}", conditions[0].message);
    scene.observed.children.insert(Kind::Pod, "x", owned("x", BUILD, pod(None)));
    scene.pass_then("2026-11-29T12:02:00Z");
    assert!(scene.told(REQUEST).1.starts_with("The set is restored to new volumes"));
    scene.observed.children.remove(Kind::Pod, "x");
    scene.built();
    assert_eq!(scene.pass_then("2026-11-29T12:03:00Z"), Some("BackingUp"));
    assert_eq!(scene.status().operation.as_ref().unwrap().reason, None);
}

#[test]
fn a_claim_that_was_made_and_not_recorded_is_cleared_away_too() {
    let mut scene = Scene::new();
    scene.pass();
    scene.claim("play-database-2", Some(Role::Building));
    scene.ask(REQUEST, &json!({"set": "kept", "revert": true}));
    assert_eq!(scene.pass(), Some("Canceled"));
    assert_eq!(scene.reason(REQUEST), Reason::RestoreCanceled);
    assert_eq!(scene.superseded(), ["play-database-2"]);
}

#[test]
fn what_is_served_or_says_nothing_of_itself_is_never_deleted() {
    let mut scene = done();
    // The node's clock says of both that they are of after the restore.
    let set = |set: &str, started: &str| json!({ "set": set, "time": "2026-11-29T13:00:00Z", "started": started });
    let history = [set("of-after", "2026-11-29T13:00:00Z"), set("of-before", "2026-11-29T11:59:59Z")];
    let verified = json!({"set": "of-after", "setTime": "2026-11-29T13:00:00Z", "time": "2026-11-29T14:00:00Z"});
    let status = scene.resource.status.as_mut().unwrap();
    status.backup = Some(serde_json::from_value(json!({ "lastVerified": verified, "history": history })).unwrap());
    assert_eq!(scene.superseded(), ["play-database", "play-files"]);
    let mut later = Scene { resource: scene.resource.clone(), observed: scene.observed.clone() };
    later.observed.children.get_mut(Kind::PersistentVolumeClaim, "play-files").unwrap().version = 7;
    let versions: Vec<u64> =
        volumes::superseded(later.status(), &later.resource, &later.observed).into_iter().map(|claim| claim.version).collect();
    assert_eq!(versions, [1, 7], "each only as it was seen: a list of the past tells of the past");
    let mut doubtful = Scene { resource: scene.resource.clone(), observed: scene.observed.clone() };
    let shrunk = json!({ "set": "of-after", "message": "1 data values of 1000" });
    doubtful.resource.status.as_mut().unwrap().backup.as_mut().unwrap().shrunk = serde_json::from_value(shrunk).unwrap();
    assert!(doubtful.superseded().is_empty(), "what is missing may be there only");
    doubtful.resource.metadata.annotations = Some([(crate::api::ACCEPTED_SET.to_owned(), "of-after".to_owned())].into());
    assert_eq!(doubtful.superseded().len(), 2, "it is meant so");
    let mut unmarked = Scene { resource: scene.resource.clone(), observed: scene.observed.clone() };
    unmarked.claim("play-database", None);
    assert_eq!(unmarked.superseded(), ["play-files"], "somebody took the label away");
    let mut proven = |set: &str, tested: &str| {
        let proven = scene.resource.status.as_mut().unwrap().backup.as_mut().unwrap().last_verified.as_mut().unwrap();
        (proven.set, proven.time) = (set.to_owned(), Some(Time(tested.parse().unwrap())));
        scene.superseded().len()
    };
    assert_eq!(proven("of-before", "2026-11-29T14:00:00Z"), 0, "the proven set is of before the restore");
    assert_eq!(proven("out-of-the-history", "2026-11-29T13:30:00Z"), 2);
    assert_eq!(proven("out-of-the-history", "2026-11-29T12:30:00Z"), 0, "it was tested before it says that it was made");
}

#[test]
fn it_is_taken_back_before_the_stop_by_nothing_and_after_it_by_another() {
    for taken_back in [json!({"set": "kept", "revert": true}), json!({"deleted": true})] {
        let mut scene = stopping();
        if taken_back.get("deleted").is_some() {
            scene.observed.children.remove(Kind::Dhis2Restore, &format!("of-{REQUEST}"));
        } else {
            scene.ask(REQUEST, &taken_back);
        }
        assert_eq!(scene.pass(), Some("Canceled"));
        assert_eq!(scene.status().claims.as_ref().unwrap().database, Some(made("play-database")));
    }
    let mut scene = done();
    scene.ask(REQUEST, &json!({"set": "kept", "revert": true}));
    assert_eq!(scene.pass(), Some("Stopping"));
    scene.stopped();
    assert_eq!(scene.pass(), Some("Starting"));
    let status = scene.status();
    assert_eq!(status.claims.as_ref().unwrap().database, Some(made("play-database")));
    assert_eq!(status.database.as_ref().unwrap().system_identifier.as_deref(), Some("old"));
    assert_eq!(status.kept.iter().map(|kept| kept.database.clone()).collect::<Vec<_>>(), [Some(made("play-database-2"))]);
    scene.serves(true);
    assert_eq!(scene.pass(), Some("Reverted"));
    assert_eq!(scene.pass(), None);
    assert_eq!(scene.told(REQUEST).0, "Reverted");
    let slot = scene.observed.slot(Kind::Dhis2Restore, &format!("of-{REQUEST}")).unwrap();
    assert_eq!(slot.request().unwrap().status.set.as_deref(), Some("kept"), "what it had restored stays told");
    assert_eq!(scene.pass(), None, "it is not taken back twice");
}

#[test]
fn one_that_does_not_start_goes_back_without_waiting_for_it() {
    let mut scene = stopping();
    scene.stopped();
    scene.pass();
    scene.serves(false);
    scene.ask(REQUEST, &json!({"set": "kept", "revert": true}));
    assert_eq!(scene.pass(), Some("Stopping"));
    assert!(scene.status().operation.as_ref().unwrap().revert);
    scene.stopped();
    assert_eq!(scene.pass(), Some("Starting"));
    assert_eq!(scene.status().claims.as_ref().unwrap().files, Some(made("play-files")));
}

#[test]
fn one_after_the_other_and_the_older_first() {
    let mut scene = Scene::new();
    scene.ask("1-later", &json!({}));
    assert_eq!(scene.pass(), Some("Building"));
    assert_eq!(scene.status().operation.as_ref().unwrap().uid, REQUEST);
    assert_eq!((scene.reason(REQUEST), scene.reason("1-later")), (Reason::Restoring, Reason::RestoreWaiting));
    assert_eq!(scene.told("1-later"), ("Waiting", format!("It waits for the end of Restore of-{REQUEST}.").as_str()));
}

#[test]
fn a_lost_volume_is_a_reason_to_begin_and_another_refusal_is_not() {
    for (reason, phase) in [(Reason::VolumeLost, Some("Building")), (Reason::SecretLost, None)] {
        let mut scene = Scene::new();
        assert_eq!(scene.pass_with(&Outcome::Refused(Refusal::new(reason, ""))), phase);
    }
    let mut scene = Scene::new();
    scene.resource.status.as_mut().unwrap().admin = None;
    assert_eq!(scene.pass(), None, "it is not set up");
}

#[test]
fn a_backup_that_fails_holds_up_nothing_and_is_told() {
    let mut scene = Scene::new();
    scene.pass();
    scene.built();
    scene.pass();
    scene.step(SAFETY, false, report(Ended::Failed, None));
    assert_eq!(scene.pass(), Some("Stopping"));
    assert_eq!(
        scene.status().operation.as_ref().unwrap().safety_backup.as_deref(),
        Some("none, but the volumes are kept: it is not whole")
    );
}

#[test]
fn without_what_it_would_serve_from_nothing_is_switched() {
    let mut scene = stopping();
    scene.stopped();
    scene.observed.children.remove(Kind::PersistentVolumeClaim, "play-files-2");
    assert_eq!(scene.pass(), Some("Failed"));
    assert_eq!(scene.status().claims.as_ref().unwrap().database, Some(made("play-database")));
}

#[test]
fn what_can_not_be_taken_back_any_more_is_told() {
    let mut scene = done();
    scene.resource.status.as_mut().unwrap().kept = Vec::<KeptStatus>::new();
    scene.ask(REQUEST, &json!({"set": "kept", "revert": true}));
    assert_eq!(scene.pass(), None);
    assert!(scene.told(REQUEST).1.contains("Restore a set instead"), "{}", scene.told(REQUEST).1);
}

#[test]
fn a_copy_that_the_instance_does_not_have_is_told_and_nothing_is_begun() {
    let mut scene = Scene::serving();
    scene.ask(REQUEST, &json!({"from": {"copy": "away"}}));
    assert_eq!(scene.pass(), Some("Failed"));
    assert_eq!(scene.reason(REQUEST), Reason::InvalidSpec);
    assert!(scene.told(REQUEST).1.starts_with("spec.from.copy: the instance has no copy \"away\""), "{}", scene.told(REQUEST).1);
    assert_eq!(scene.pass(), None);
    assert!(scene.superseded().is_empty());
}

#[test]
fn who_waits_for_an_instance_that_is_not_there_is_told() {
    let scene = Scene::new();
    let news = status::news(None, &scene.observed, "docs/runbooks", now());
    assert_eq!(news[0].status.message.as_deref(), Some("There is no Dhis2Instance play in this namespace."));
}
