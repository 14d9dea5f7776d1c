use serde_json::json;

use super::*;
use crate::{
    api::status::SetStatus,
    operator::{
        kind::Kind,
        slot::{self, Facts, Pod, fixture::owned},
    },
    report::{Outcome, Report, Verb, fixture},
};

const NEW: &str = "play-backup-2";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// An instance whose new set is about to be recorded.
struct Scene {
    made: BackedUp,
    observed: Observed,
}

impl Scene {
    /// The new set, and these that are listed with it.
    fn new(listed: &[(&str, Option<i64>)]) -> Self {
        let listed = listed.iter().map(|(set, proven)| Listed { set: (*set).into(), time: 1000, proven: *proven, source: None });
        let made = BackedUp { listed: listed.collect(), ..fixture::set(NEW, "2026-11-29T12:00:00Z") };
        let made = BackedUp { sets_kept: made.listed.len() as u64, ..made };
        Self { made, observed: Observed { instance: "uid-1".into(), ..Observed::default() } }
    }

    fn object(&mut self, name: &str, owner: Option<&str>, spec: &Value, status: &Value) {
        let owners = owner.map(|uid| json!({ "apiVersion": "v1", "kind": "x", "name": "x", "uid": uid, "controller": true }));
        let metadata = json!({
            "name": name, "namespace": "ns", "uid": format!("uid-of-{name}"), "resourceVersion": "1", "generation": 1,
            "ownerReferences": owners.into_iter().collect::<Vec<_>>(),
        });
        let object = serde_json::from_value(json!({ "metadata": metadata, "spec": spec, "status": status })).unwrap();
        self.observed.children.insert(Kind::Dhis2Backup, name, slot::reduce(Kind::Dhis2Backup, &object, None));
    }

    /// One of the operator's own.
    fn mirror(&mut self, set: &str) {
        let spec = json!({ "instance": "play", "set": set });
        self.object(set, Some("uid-1"), &spec, &json!({ "phase": "Done", "set": set }));
    }

    /// One that a person has asked for, and that made this set.
    fn asked(&mut self, name: &str, set: &str) {
        self.object(name, None, &json!({ "instance": "play" }), &json!({ "phase": "Done", "set": set }));
    }

    fn pass(&mut self) -> Option<Mirrors> {
        self.pass_after(None)
    }

    fn pass_after(&mut self, known: Option<&str>) -> Option<Mirrors> {
        let job = NEW;
        self.observed.children.insert(Kind::Job, job, owned(job, "uid-1", Facts::Job { finished: Some(true) }));
        let data = Some(Data::Backup(Box::new(self.made.clone())));
        let report = Report { verb: Verb::Backup, outcome: Outcome::Done, reason: None, message: String::new(), data };
        let pod = Pod { component: backup::PART.into(), ended: true, reports: vec![report], ..Pod::default() };
        self.observed.children.insert(Kind::Pod, "pod", owned("pod", job, Facts::Pod(Box::new(pod))));
        let mut resource: Dhis2Instance = serde_json::from_value(json!({
            "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance",
            "metadata": { "name": "play", "namespace": "ns", "uid": "uid-1" },
            "spec": { "version": "2.42.4", "web": { "host": "play.example.org" } },
        }))
        .unwrap();
        let status = |set: &str| {
            let last = Some(SetStatus { set: set.into(), ..SetStatus::default() });
            Dhis2InstanceStatus { backup: Some(BackupStatus { last, ..BackupStatus::default() }), ..Dhis2InstanceStatus::default() }
        };
        resource.status = known.map(status);
        mirrors(&resource, &status(NEW), &self.observed, ("docs/runbooks", at(5000)))
    }
}

fn names(made: &Mirrors) -> Vec<&str> {
    made.make.iter().map(|mirror| mirror.name.as_str()).collect()
}

#[test]
fn every_set_gets_an_object_and_the_new_one_tells_all() {
    let made = Scene::new(&[(NEW, None), ("play-backup-1", Some(2000)), ("Old.set", None)]).pass().unwrap();
    assert_eq!(names(&made)[..2], [NEW, "play-backup-1"]);
    assert!(made.make[2].name.starts_with("play-set-") && made.make[2].name.len() == 25, "{}", made.make[2].name);
    let [new, older, _] = made.make.as_slice() else { panic!("{made:?}") };
    assert_eq!(
        (&new.status["seconds"], &new.status["source"], &new.status["setTime"]),
        (&json!(1), &json!("ns/play"), &json!("2026-11-29T12:00:00Z"))
    );
    assert_eq!((&older.status["proven"], &older.status["setTime"]), (&json!(at(2000)), &json!(at(1000))));
    for mirror in &made.make {
        assert_eq!((&mirror.status["phase"], &mirror.status["set"]), (&json!("Done"), &json!(mirror.set)));
        let complete = mirror.status["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == "Complete");
        assert_eq!(complete.unwrap()["status"], "True");
    }
    assert_eq!((made.tell.as_slice(), made.gone.as_slice()), ([].as_slice(), [].as_slice()));
}

#[test]
fn what_is_recorded_is_followed_no_more() {
    let mut scene = Scene::new(&[(NEW, None)]);
    scene.made.listed.push(Listed { set: "play-backup-1".into(), time: 1, proven: None, source: None });
    assert_eq!(scene.pass_after(Some("play-backup-1")).unwrap().make.len(), 2);
    assert!(scene.pass_after(Some(NEW)).is_some(), "it could not be made before, or was deleted");
    scene.mirror(NEW);
    assert_eq!(scene.pass_after(Some(NEW)), None, "another one that was deleted comes back with the next set");
    scene.mirror("play-backup-0");
    assert_eq!(scene.pass_after(Some(NEW)).unwrap().gone.len(), 1, "it could not be deleted before");
}

#[test]
fn a_set_that_somebody_asked_for_has_its_object() {
    let mut scene = Scene::new(&[(NEW, None), ("play-asked-1", Some(7))]);
    scene.asked("mine", "play-asked-1");
    let made = scene.pass().unwrap();
    assert_eq!(names(&made), [NEW]);
    let [told] = made.tell.as_slice() else { panic!("{made:?}") };
    assert_eq!((told.name.as_str(), &told.status, told.added), ("mine", &json!({ "proven": at(7) }), true));

    // The new set is that of a request which is told in a moment.
    let mut scene = Scene::new(&[]);
    scene.made.set = "play-asked-uidofnow".into();
    scene.object("now", None, &json!({ "instance": "play" }), &json!({ "phase": "Running" }));
    let job = format!("play-{}", job::name(&asked(&scene.observed).next().unwrap().to_do()));
    for (set, made) in [(job.clone(), 0), (format!("{job}-11111111"), 0), (format!("{job}2"), 1)] {
        let view = |set: &str| BackedUp { set: set.to_owned(), ..scene.made.clone() };
        let resource = serde_json::from_value(json!({ "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance", "metadata": { "name": "play", "namespace": "ns" }, "spec": { "version": "2.42.4", "web": { "host": "a.b" } } })).unwrap();
        let told = Dhis2InstanceStatus::default();
        let view = View { resource: &resource, told: &told, observed: &scene.observed, made: &view(&set), runbooks: "", now: at(1) };
        assert_eq!(view.of_those_that_are_there().make.len(), made, "{set}");
    }
}

#[test]
fn what_is_gone_goes_if_it_is_ours_and_is_told_where_somebody_made_it() {
    let mut scene = Scene::new(&[(NEW, None)]);
    scene.mirror("play-backup-0");
    scene.asked("mine", "play-asked-0");
    scene.object("theirs", None, &json!({ "instance": "play", "set": "play-backup-00" }), &json!({ "phase": "Done" }));
    let made = scene.pass().unwrap();
    assert_eq!(made.gone, [Gone { name: "play-backup-0".into(), uid: "uid-of-play-backup-0".into(), version: 1 }]);
    let told: Vec<_> = made.tell.iter().map(|told| (told.name.as_str(), &told.status, told.added)).collect();
    let removed = json!({ "removed": at(5000) });
    assert_eq!(told, [("mine", &removed, true), ("theirs", &removed, true)]);

    // Told once.
    scene.object("mine", None, &json!({ "instance": "play" }), &json!({ "phase": "Done", "set": "play-asked-0", "removed": at(1) }));
    assert_eq!(scene.pass().unwrap().tell.len(), 1);

    // There never was one.
    scene.object("theirs", None, &json!({ "instance": "play", "set": "no-such-set" }), &json!({ "observedGeneration": -1 }));
    let told = scene.pass().unwrap().tell.remove(0);
    let reason = &told.status["conditions"][0]["reason"];
    assert_eq!((&told.status["phase"], reason, told.added), (&json!("Failed"), &json!("SetUnknown"), false));
    scene.object("theirs", None, &json!({ "instance": "play", "set": "no-such-set" }), &told.status);
    assert!(scene.pass().unwrap().tell.is_empty());

    // Of a list that is not all nobody knows what is gone; only as many objects are kept.
    scene.made.sets_kept = 1000;
    let made = scene.pass().unwrap();
    assert_eq!((made.gone.len(), made.tell.len()), (1, 0));

    // An agent of a former release lists nothing.
    scene.made.listed.clear();
    let made = scene.pass().unwrap();
    assert_eq!((made.gone.len(), made.tell.len()), (0, 0));
}

#[test]
fn no_object_goes_that_would_take_a_set_with_it_which_may_be_there() {
    let mut scene = Scene::new(&[(NEW, None)]);
    let spec = json!({ "instance": "play", "set": "play-backup-0", "deletionPolicy": "Delete" });
    scene.object("play-backup-0", Some("uid-1"), &spec, &json!({ "phase": "Done", "set": "play-backup-0" }));
    assert_eq!(scene.pass().unwrap().gone.len(), 1, "the list is all: the set is gone");
    scene.made.sets_kept = 1000;
    assert!(scene.pass().unwrap().gone.is_empty());
}

#[test]
fn a_kill_between_making_and_telling_leaves_nothing_untold() {
    let mut scene = Scene::new(&[(NEW, None), ("play-backup-1", None)]);
    scene.object(NEW, Some("uid-1"), &json!({ "instance": "play", "set": NEW }), &json!({ "observedGeneration": -1 }));
    let made = scene.pass().unwrap();
    assert_eq!(names(&made), ["play-backup-1"]);
    let [told] = made.tell.as_slice() else { panic!("{made:?}") };
    assert_eq!((told.name.as_str(), &told.status["phase"], told.added), (NEW, &json!("Done"), false));
}

#[test]
fn what_has_the_name_already_or_is_going_is_left_alone() {
    let mut scene = Scene::new(&[(NEW, None), ("play-backup-1", None)]);
    scene.object(NEW, None, &json!({ "instance": "play" }), &json!({ "phase": "Failed" }));
    assert_eq!(names(&scene.pass().unwrap()), ["play-backup-1"]);
    assert_eq!(object_name("play", "playground-backup-1"), object_name("play", "playground-backup-1"));
    assert!(object_name("play", "playground-backup-1").starts_with("play-set-"), "it may be of an instance beside it");
    assert!(object_name(&"a".repeat(40), &format!("{}-backup-29410560-12345678", "a".repeat(40))).len() <= LONGEST);
}
