use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::{
        Dhis2InstanceStatus, Reason, SET_FINALIZER,
        status::{AdminStatus, BackupStatus, SetStatus, VerifiedStatus},
    },
    operator::{
        desired::fixture,
        errands::under_way,
        observe::Observed,
        restart::Restart,
        slot::{self, Facts, Pod, fixture::owned},
        status::{Outcome, answers},
        trouble::Trouble,
    },
};

const JOB: &str = "play-remove-uidofold";

/// An instance with the sets `old`, `proven` and `newest`, and an object for one of them.
struct Scene {
    object: Value,
    status: Dhis2InstanceStatus,
    outcome: Outcome,
    observed: Observed,
    there: bool,
    now: Timestamp,
}

impl Scene {
    fn new() -> Self {
        let set = |set: &str| Some(SetStatus { set: set.into(), ..SetStatus::default() });
        let proven = Some(VerifiedStatus { set: "proven".into(), ..VerifiedStatus::default() });
        let backup = BackupStatus { last: set("newest"), last_verified: proven, ..BackupStatus::default() };
        let status = Dhis2InstanceStatus { admin: Some(AdminStatus::default()), backup: Some(backup), ..Dhis2InstanceStatus::default() };
        let metadata = json!({ "name": "old", "namespace": "ns", "uid": "uid-of-old", "generation": 2, "resourceVersion": "1" });
        let spec = json!({ "instance": "play", "set": "old", "deletionPolicy": "Delete" });
        Self {
            object: json!({ "metadata": metadata, "spec": spec, "status": { "phase": "Done", "set": "old", "observedGeneration": 2 } }),
            status,
            outcome: applied(false),
            observed: Observed { instance: "uid-1".into(), ..Observed::default() },
            there: true,
            now: "2026-11-30T12:00:00Z".parse().unwrap(),
        }
    }

    /// Deleted by a person, when the operator has set the finalizer.
    fn deleted() -> Self {
        let mut scene = Self::new();
        scene.object["metadata"]["finalizers"] = json!([SET_FINALIZER]);
        scene.object["metadata"]["deletionTimestamp"] = json!("2026-11-30T11:59:59Z");
        scene
    }

    /// One pass: what is told, and whether the finalizer is to be set or taken away.
    fn pass(&mut self) -> (Option<Value>, Option<bool>) {
        let object = serde_json::from_value(self.object.clone()).unwrap();
        self.observed.children.insert(Kind::Dhis2Backup, "old", slot::reduce(Kind::Dhis2Backup, &object, None));
        let instance = self.there.then_some((&self.status, &self.outcome));
        let answers =
            answers(&View { namespace: "ns", name: "play", instance, observed: &self.observed, runbooks: "docs/runbooks", now: self.now });
        let told = answers.news.iter().find(|answer| answer.name == "old").map(|answer| {
            assert!(answer.added && answer.kind == Kind::Dhis2Backup && answer.name == "old", "{answer:?}");
            for (key, value) in answer.status.as_object().unwrap() {
                self.object["status"][key] = value.clone();
            }
            answer.status.clone()
        });
        (told, answers.holds.first().map(|hold| hold.held))
    }

    fn told(&mut self) -> Value {
        self.pass().0.unwrap()
    }

    fn job(&mut self, finished: Option<bool>) {
        self.job_with(finished, Reason::RepositoryLocked);
    }

    fn job_with(&mut self, finished: Option<bool>, reason: Reason) {
        self.observed.children.insert(Kind::Job, JOB, owned(JOB, "uid-1", Facts::Job { finished }));
        let trouble = (finished == Some(false)).then(|| Trouble { reason, message: "it is locked".into() });
        let pod = Pod { ended: finished.is_some(), trouble, ..Pod::default() };
        self.observed.children.insert(Kind::Pod, "pod", owned("pod", JOB, Facts::Pod(Box::new(pod))));
    }

    fn no_job(&mut self) {
        self.observed.children.remove(Kind::Job, JOB);
        self.observed.children.remove(Kind::Pod, "pod");
    }

    fn after(&mut self, minutes: i64) {
        self.now = self.now.checked_add(SignedDuration::from_mins(minutes)).unwrap();
    }

    fn job_is_wanted(&self) -> bool {
        under_way(&self.observed).is_some_and(|asked| asked.task == Task::Removal)
    }
}

fn applied(append_only: bool) -> Outcome {
    let mut instance = Box::new(fixture::plain());
    instance.backup.append_only = append_only;
    Outcome::Applied { instance, made: Vec::new(), restart: Restart::Settled, contested: Vec::new(), quiet: true }
}

fn reason(told: &Value) -> (&str, bool) {
    let conditions = told["conditions"].as_array().unwrap();
    let stalled = conditions.iter().any(|condition| condition["type"] == "Stalled" && condition["status"] == "True");
    (conditions[0]["reason"].as_str().unwrap(), stalled)
}

#[test]
fn the_finalizer_is_there_as_long_as_the_policy_says_so() {
    let mut scene = Scene::new();
    assert_eq!(scene.pass(), (None, Some(true)));
    scene.object["metadata"]["finalizers"] = json!(["others.example.org/x", SET_FINALIZER]);
    assert_eq!(scene.pass(), (None, None));
    scene.object["spec"]["deletionPolicy"] = json!("Retain");
    assert_eq!(scene.pass(), (None, Some(false)));
    scene.object["metadata"]["finalizers"] = json!([]);
    assert_eq!(scene.pass(), (None, None));
    assert!(!scene.job_is_wanted(), "nothing is removed before it is deleted");
}

/// Whoever waits for the object to be as asked for waits no longer, and hears of a proof at once.
#[test]
fn another_wish_is_seen() {
    let mut scene = Scene::new();
    scene.object["metadata"]["finalizers"] = json!([SET_FINALIZER]);
    scene.object["status"]["observedGeneration"] = json!(1);
    assert_eq!(scene.pass(), (Some(json!({ "observedGeneration": 2 })), None));
    assert_eq!(scene.pass(), (None, None));
    let time = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(scene.now));
    let proven = VerifiedStatus { set: "old".into(), time: time.clone(), ..VerifiedStatus::default() };
    scene.status.backup.as_mut().unwrap().last_verified = Some(proven);
    assert_eq!(scene.pass(), (Some(json!({ "proven": time })), None));
    assert_eq!(scene.pass(), (None, None));
}

#[test]
fn its_set_goes_and_then_the_object() {
    let mut scene = Scene::deleted();
    assert!(!scene.job_is_wanted(), "the intent is written before the Job is made");
    let begun = scene.told();
    assert_eq!((begun["phase"].as_str(), reason(&begun)), (Some("Removing"), ("RemovingSet", false)));
    assert_eq!((scene.pass(), scene.job_is_wanted()), ((None, None), true), "killed here, it goes on");
    scene.job(None);
    assert_eq!(scene.pass(), (None, None));
    scene.job(Some(true));
    assert_eq!(scene.pass(), (None, Some(false)));
    assert!(scene.job_is_wanted(), "the record stays until the object is gone");
}

#[test]
fn a_removal_that_fails_is_told_and_tried_again_after_an_hour() {
    let mut scene = Scene::deleted();
    scene.pass();
    scene.job(Some(false));
    scene.pass();
    let failed = scene.object["status"].clone();
    assert_eq!((failed["phase"].as_str(), reason(&failed)), (Some("Removing"), ("RepositoryLocked", true)));
    assert_eq!((failed["message"].as_str(), failed["finished"].is_null()), (Some("It is locked"), false));
    assert_eq!((scene.pass(), scene.job_is_wanted()), ((None, None), false));
    scene.no_job();
    scene.after(59);
    assert_eq!(scene.pass(), (None, None));
    scene.after(1);
    let again = scene.told();
    assert_eq!((reason(&again), again["finished"].is_null(), again["started"].is_null()), (("RemovingSet", false), true, false));
    scene.pass();
    assert!(scene.job_is_wanted());
    scene.job_with(Some(false), Reason::Failed);
    assert_eq!(reason(&scene.told()), (Reason::RemovalFailed.as_str(), true), "a failure without a name of its own");
}

#[test]
fn what_is_needed_stays_and_says_so_until_it_is_needed_no_more() {
    for set in ["newest", "proven"] {
        let mut scene = Scene::deleted();
        scene.object["status"]["set"] = json!(set);
        let told = scene.told();
        assert_eq!((told["phase"].as_str(), reason(&told)), (Some("Removing"), ("SetNeeded", true)));
        let message = told["message"].as_str().unwrap();
        assert!(message.contains(set) && message.contains("deletionPolicy to Retain"), "{message}");
        assert_eq!(scene.pass(), (None, None));
        scene.status.backup = Some(BackupStatus::default());
        assert_eq!(reason(&scene.told()), ("RemovingSet", false));
    }
    let mut scene = Scene { outcome: applied(true), ..Scene::deleted() };
    let told = scene.told();
    assert!(reason(&told).1 && told["message"].as_str().unwrap().contains("appendOnly"), "{told}");
}

#[test]
fn it_waits_for_its_turn() {
    let mut scene = Scene::deleted();
    let metadata = json!({ "name": "other", "namespace": "ns", "uid": "uid-2", "resourceVersion": "1" });
    let running = json!({ "metadata": metadata, "spec": { "instance": "play" }, "status": { "phase": "Running" } });
    let running = slot::reduce(Kind::Dhis2Backup, &serde_json::from_value(running).unwrap(), None);
    scene.observed.children.insert(Kind::Dhis2Backup, "other", running);
    let told = scene.told();
    assert_eq!(reason(&told), ("RequestWaiting", false));
    assert!(told["message"].as_str().unwrap().contains("Dhis2Backup other"), "{told}");
    assert!(told["started"].is_null() && !scene.job_is_wanted());
    scene.observed.children.remove(Kind::Dhis2Backup, "other");
    assert_eq!(reason(&scene.told()), ("RemovingSet", false));
}

#[test]
fn without_the_instance_or_the_will_the_object_goes_and_the_set_stays() {
    let mut scene = Scene { there: false, ..Scene::deleted() };
    assert_eq!(scene.pass().1, Some(false));
    let mut scene = Scene::deleted();
    scene.pass();
    scene.object["spec"]["deletionPolicy"] = json!("Retain");
    assert_eq!((scene.pass(), scene.job_is_wanted()), ((None, Some(false)), false), "while its Job is at work");
    let mut scene = Scene::deleted();
    scene.object["spec"] = json!({ "instance": "play", "deletionPolicy": "Delete" });
    scene.object["status"] = json!({ "phase": "Failed" });
    assert_eq!(scene.pass(), (None, Some(false)), "there is no set");
}
