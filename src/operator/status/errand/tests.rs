use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::*;
use crate::{
    api::{
        Dhis2Instance,
        errand::Phase,
        status::{AdminStatus, BackupStatus, CopyStatus, OperationStatus, SetStatus, VerifiedStatus},
    },
    operator::{
        desired::fixture as wanted,
        errands::under_way,
        instance::Instance,
        parse::Refusal,
        restart::Restart,
        slot::{self, Facts, Pod, Told, fixture::owned},
        trouble::Trouble,
    },
    report::{BackedUp, Outcome as Ended, Verb, Verified, fixture},
};

const ASKED: &str = "play-asked-000000000001";
const TEST: &str = "play-test-000000000002";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_796_000_000 + seconds).unwrap()
}

/// A secured instance that has a set, and what happens to it.
struct Scene {
    status: Dhis2InstanceStatus,
    outcome: Outcome,
    observed: Observed,
    now: i64,
}

impl Scene {
    fn new() -> Self {
        let set = SetStatus { set: "first".into(), ..SetStatus::default() };
        let backup = BackupStatus { last: Some(set), ..BackupStatus::default() };
        let status = Dhis2InstanceStatus { admin: Some(AdminStatus::default()), backup: Some(backup), ..Dhis2InstanceStatus::default() };
        let instance = Box::new(wanted::plain());
        let outcome = Outcome::Applied { instance, made: Vec::new(), restart: Restart::Settled, contested: Vec::new(), quiet: true };
        Self { status, outcome, observed: Observed { instance: "uid-1".into(), ..Observed::default() }, now: 0 }
    }

    /// A request, made at this second; its uid has its number.
    fn ask(&mut self, kind: Kind, number: u32, created: i64) -> String {
        let name = format!("{}-{number}", if kind == Kind::Dhis2Backup { "backup" } else { "test" });
        let metadata = json!({ "name": name, "namespace": "ns", "uid": format!("00000000-0000-{number:04}"), "generation": 1, "resourceVersion": "1", "creationTimestamp": at(created) });
        self.learn(kind, &json!({ "metadata": metadata, "spec": { "instance": "play" }, "status": { "observedGeneration": -1 } }));
        name
    }

    fn learn(&mut self, kind: Kind, object: &Value) {
        let mut object: kube::api::DynamicObject = serde_json::from_value(object.clone()).unwrap();
        object.metadata.uid = object.metadata.uid.map(|uid| uid.replace("00000000-0000-", "00000000"));
        self.observed.children.insert(kind, &object.metadata.name.clone().unwrap(), slot::reduce(kind, &object, None));
    }

    /// One pass: the news, by name, as the API server has them afterwards.
    fn pass(&mut self) -> Vec<(String, Value)> {
        self.pass_over(true)
    }

    fn pass_over(&mut self, there: bool) -> Vec<(String, Value)> {
        let instance = there.then_some((&self.status, &self.outcome));
        let view = View { namespace: "ns", name: "play", instance, observed: &self.observed, runbooks: "docs/runbooks", now: at(self.now) };
        let news = answers(&view).news;
        for answer in &news {
            let known = self.observed.slot(answer.kind, &answer.name).unwrap().clone();
            let errand = known.errand().unwrap();
            let told = match &errand.told {
                Told::Over(phase, generation) => json!({ "phase": phase.as_str(), "observedGeneration": generation }),
                Told::Open(open) => json!(open.progress),
            };
            let mut status = if answer.added { told } else { json!({}) };
            status.as_object_mut().unwrap().extend(answer.status.as_object().unwrap().clone());
            if let Some(set) = errand.set.as_deref().filter(|_| answer.added) {
                status["set"] = json!(set);
            }
            let created = errand.created;
            let metadata = json!({ "name": answer.name, "namespace": "ns", "uid": answer.uid, "generation": 1, "resourceVersion": "1", "creationTimestamp": created });
            self.learn(answer.kind, &json!({ "metadata": metadata, "spec": { "instance": "play" }, "status": status }));
        }
        news.into_iter().map(|answer| (answer.name, answer.status)).collect()
    }

    fn told(&mut self, name: &str) -> Value {
        let news = self.pass();
        news.into_iter().find(|(named, _)| named == name).unwrap_or_else(|| panic!("nothing is told of {name}")).1
    }

    fn message(&mut self, name: &str) -> String {
        self.told(name)["message"].as_str().unwrap().to_owned()
    }

    fn job(&mut self, job: &str, finished: Option<bool>) {
        self.observed.children.insert(Kind::Job, job, owned(job, "uid-1", Facts::Job { finished }));
    }

    fn pod(&mut self, job: &str, pod: Pod) {
        self.observed.children.insert(Kind::Pod, &format!("{job}-x"), owned("pod", job, Facts::Pod(Box::new(pod))));
    }

    /// The Job has done its work.
    fn works(&mut self, job: &str, verb: Verb, data: Data) {
        self.job(job, Some(true));
        let report = Report { verb, outcome: Ended::Done, reason: None, message: "all is well".into(), data: Some(data) };
        self.pod(job, Pod { ended: true, reports: vec![report], ..Pod::default() });
    }

    fn backs_up(&mut self, job: &str) {
        let set = BackedUp { postgresql: Some("17.5".into()), ..fixture::set(job, "2026-11-29T12:00:00Z") };
        self.works(job, Verb::Backup, Data::Backup(Box::new(set)));
    }

    fn fails(&mut self, job: &str, reason: Reason) {
        self.job(job, Some(false));
        let trouble = Some(Trouble { reason, message: "the volume is full".into() });
        self.pod(job, Pod { ended: true, trouble, ..Pod::default() });
    }
}

fn phase(status: &Value) -> &str {
    status["phase"].as_str().unwrap()
}

fn holds(status: &Value, kind: &str) -> bool {
    status["conditions"].as_array().unwrap().iter().any(|known| known["type"] == kind && known["status"] == "True")
}

fn reason(status: &Value) -> &str {
    status["conditions"][0]["reason"].as_str().unwrap()
}

#[test]
fn a_backup_begins_is_made_once_and_tells_what_it_made() {
    let mut scene = Scene::new();
    let name = scene.ask(Kind::Dhis2Backup, 1, 0);
    assert_eq!(under_way(&scene.observed).map(|asked| asked.name.to_owned()), None, "the intent is written before the Job is made");
    let begun = scene.told(&name);
    assert_eq!((phase(&begun), reason(&begun)), ("Running", "BackupRunning"));
    assert!(holds(&begun, "Reconciling") && begun["observedGeneration"] == 1, "{begun}");
    assert_eq!(errand::name(&under_way(&scene.observed).unwrap().to_do()), "asked-000000000001");
    scene.now = 30;
    assert_eq!(scene.pass(), [], "killed here, it goes on");
    scene.job(ASKED, None);
    assert_eq!(scene.pass(), []);
    scene.backs_up(ASKED);
    let done = scene.told(&name);
    assert_eq!((phase(&done), &done["set"], &done["postgresql"]), ("Done", &json!(ASKED), &json!("17.5")));
    assert!(holds(&done, "Complete") && !holds(&done, "Reconciling") && !holds(&done, "Stalled"));
    assert_eq!((&done["started"], &done["finished"]), (&begun["started"], &json!(at(30))));
    assert!(under_way(&scene.observed).is_none(), "its Job is wanted no more");
    assert_eq!(scene.pass(), [], "one that is over is no work");
}

#[test]
fn what_has_to_be_done_next_asks_for_a_pass_and_nothing_else_does() {
    let mut scene = Scene::new();
    scene.ask(Kind::Dhis2Backup, 1, 0);
    let again = |scene: &Scene| {
        let instance = Some((&scene.status, &scene.outcome));
        answers(&View { namespace: "ns", name: "play", instance, observed: &scene.observed, runbooks: "", now: at(scene.now) }).again
    };
    assert_eq!(again(&scene), Some(SOON));
    scene.pass();
    assert_eq!(again(&scene), None);
    scene.job(ASKED, Some(true));
    assert_eq!(again(&scene), Some(LATER), "its pod is yet to be told");
    scene.backs_up(ASKED);
    assert_eq!(again(&scene), Some(SOON));
    scene.pass();
    assert_eq!(again(&scene), None);
}

#[test]
fn a_failed_one_tells_why_and_is_not_tried_again() {
    for (kind, number, job, unnamed) in
        [(Kind::Dhis2Backup, 1, ASKED, Reason::BackupFailed), (Kind::Dhis2RestoreTest, 2, TEST, Reason::RestoreTestFailed)]
    {
        for (seen, told) in [(Reason::RepositoryFull, Reason::RepositoryFull), (Reason::Failed, unnamed)] {
            let mut scene = Scene::new();
            let name = scene.ask(kind, number, 0);
            scene.pass();
            scene.fails(job, seen);
            let failed = scene.told(&name);
            assert_eq!((phase(&failed), reason(&failed)), ("Failed", told.as_str()));
            assert!(holds(&failed, "Stalled") && failed["message"] == "The volume is full" && failed["set"].is_null(), "{failed}");
            assert!(under_way(&scene.observed).is_none());
            scene.now = 100_000;
            assert_eq!(scene.pass(), []);
        }
    }
}

#[test]
fn a_try_that_failed_is_told_while_there_is_another_one() {
    let mut scene = Scene::new();
    let name = scene.ask(Kind::Dhis2Backup, 1, 0);
    scene.pass();
    scene.fails(ASKED, Reason::RepositoryFull);
    scene.job(ASKED, None);
    let told = scene.told(&name);
    assert_eq!((phase(&told), &told["message"]), ("Running", &json!("The volume is full")));
}

#[test]
fn whatever_watch_tells_first_the_end_is_the_same() {
    for good in [true, false] {
        let mut scene = Scene::new();
        let name = scene.ask(Kind::Dhis2Backup, 1, 0);
        scene.pass();
        scene.job(ASKED, Some(good));
        assert_eq!(phase(&scene.told(&name)), "Running", "no pod of it was told yet");
        scene.pod(ASKED, Pod::default());
        scene.pass();
        if good {
            scene.backs_up(ASKED);
        } else {
            scene.fails(ASKED, Reason::DiskFull);
        }
        assert_eq!(phase(&scene.told(&name)), if good { "Done" } else { "Failed" });
    }
}

#[test]
fn a_report_that_went_with_its_pod_is_not_waited_for_without_end() {
    let mut scene = Scene::new();
    let name = scene.ask(Kind::Dhis2Backup, 1, 0);
    scene.pass();
    scene.job(ASKED, Some(true));
    assert_eq!(phase(&scene.told(&name)), "Running");
    scene.now = 600;
    let failed = scene.told(&name);
    assert_eq!((phase(&failed), reason(&failed)), ("Failed", "BackupFailed"));
    assert!(failed["message"].as_str().unwrap().contains("went with its pod"), "{failed}");
}

#[test]
fn one_waits_and_says_for_what() {
    let mut scene = Scene::new();
    let name = scene.ask(Kind::Dhis2Backup, 1, 0);
    let gone = scene.pass_over(false);
    assert_eq!((phase(&gone[0].1), reason(&gone[0].1)), ("Waiting", "RequestWaiting"));
    assert!(holds(&gone[0].1, "Reconciling") && gone[0].1["message"] == "There is no Dhis2Instance play in this namespace.", "{gone:?}");
    assert_eq!(scene.pass_over(false), [], "that is told once");
    scene.status.admin = None;
    assert!(scene.message(&name).contains("until play is set up"));
    scene.status.admin = Some(AdminStatus::default());
    let applied = std::mem::replace(&mut scene.outcome, Outcome::Paused);
    assert!(scene.message(&name).contains("dhis2.hosting/paused"));
    scene.outcome = Outcome::Refused(Refusal::new(Reason::VolumeLost, "the volume is gone"));
    assert!(scene.message(&name).contains("not stalled any more: the volume is gone"));
    scene.outcome = applied;
    let operation = |kind: &str, phase: &str| {
        Some(Box::new(OperationStatus { kind: kind.into(), name: "back".into(), phase: phase.into(), ..OperationStatus::default() }))
    };
    for (kind, under_way) in [("Restore", "Building"), ("Upgrade", "Starting"), ("Moving", "Away")] {
        scene.status.operation = operation(kind, under_way);
        assert_eq!(scene.message(&name), format!("It waits for the end of {kind} back."));
    }
    scene.status.operation = operation("Upgrade", "Failed");
    assert_eq!(phase(&scene.told(&name)), "Running", "a blocked upgrade waits itself");
}

#[test]
fn a_test_waits_for_a_set_and_lets_a_backup_go_first() {
    let mut scene = Scene::new();
    scene.status.backup = None;
    let test = scene.ask(Kind::Dhis2RestoreTest, 2, 0);
    assert_eq!(scene.message(&test), "It waits until play has a backup set.");
    let backup = scene.ask(Kind::Dhis2Backup, 1, 5);
    let news = scene.pass();
    let phases: Vec<_> = news.iter().map(|(name, status)| (name.as_str(), phase(status))).collect();
    assert_eq!(phases, [(backup.as_str(), "Running")], "the older one can't begin");
}

#[test]
fn a_test_of_a_copy_waits_for_the_copy_and_its_first_set_and_ends_with_the_copy() {
    let mut scene = Scene::new();
    let asked = json!({
        "metadata": {"name": "test", "namespace": "ns", "uid": "00000000-0000-0002", "generation": 1, "resourceVersion": "1"},
        "spec": {"instance": "play", "copy": "away"},
    });
    scene.learn(Kind::Dhis2RestoreTest, &asked);
    let said = scene.message("test");
    assert_eq!(said, "spec.copy: play has no copy \"away\" in spec.backup.copies: add it there, or name one of those.");
    scene.learn(Kind::Dhis2RestoreTest, &asked);
    let copying = |scene: &mut Scene, instance: Instance| {
        let Outcome::Applied { instance: known, .. } = &mut scene.outcome else { panic!("not applied") };
        **known = instance;
    };
    copying(&mut scene, wanted::copying(&wanted::plain()));
    assert_eq!(scene.message("test"), "It waits until copy away of play has a backup set.");
    let copy = CopyStatus { name: "away".into(), set: Some("first".into()), ..CopyStatus::default() };
    scene.status.backup.as_mut().unwrap().copies.push(copy);
    scene.learn(Kind::Dhis2RestoreTest, &asked);
    assert_eq!(phase(&scene.told("test")), "Running");
    let mut running = asked.clone();
    running["status"] = json!({"phase": "Running", "started": at(0)});
    scene.learn(Kind::Dhis2RestoreTest, &running);
    scene.job(TEST, None);
    assert_eq!(scene.observed.slot(Kind::Dhis2RestoreTest, "test").unwrap().errand().unwrap().copy(), Some("away"));
    copying(&mut scene, wanted::plain());
    let told = scene.told("test");
    assert_eq!((phase(&told), reason(&told)), ("Failed", Reason::InvalidSpec.as_str()), "{told}");
}

#[test]
fn dhis2_is_started_on_a_copy_only_where_that_is_cut_off() {
    let mut scene = Scene::new();
    let asked = |level: &str| {
        json!({
            "metadata": {"name": "test", "namespace": "ns", "uid": "00000000-0000-0001", "generation": 1, "resourceVersion": "1"},
            "spec": {"instance": "play", "level": level},
        })
    };
    let Outcome::Applied { instance, .. } = &mut scene.outcome else { panic!("not applied") };
    instance.policies = false;
    scene.learn(Kind::Dhis2RestoreTest, &asked("Application"));
    assert!(scene.message("test").contains("spec.network.policies of play"));
    scene.learn(Kind::Dhis2RestoreTest, &asked("Data"));
    assert_eq!(phase(&scene.told("test")), "Running");
}

#[test]
fn one_is_carried_out_at_a_time_the_oldest_first() {
    let mut scene = Scene::new();
    let late = scene.ask(Kind::Dhis2Backup, 1, 9);
    let early = scene.ask(Kind::Dhis2RestoreTest, 2, 3);
    scene.ask(Kind::Dhis2RestoreTest, 3, 12);
    let news = scene.pass();
    let running: Vec<_> = news.iter().filter(|(_, status)| phase(status) == "Running").map(|(name, _)| name).collect();
    assert_eq!(running, [&early]);
    let begun = &news.iter().find(|(name, _)| *name == early).unwrap().1;
    assert_eq!(reason(begun), Reason::RestoreTestRunning.as_str());
    assert!(news.iter().all(|(name, status)| *name == early || phase(status) == "Waiting"));
    assert_eq!(scene.message(&late), "It waits for the end of Dhis2RestoreTest test-2.");
    let proof = Verified {
        set: "first".into(),
        created: "2026-11-29T12:00:00Z".into(),
        verified: "2026-11-29T13:00:00Z".into(),
        seconds: 4,
        bytes: 5,
        start_seconds: Some(6),
        copy: None,
    };
    scene.works(TEST, Verb::Verify, Data::Verify(proof));
    let done = scene.told(&early);
    assert_eq!((phase(&done), &done["set"], &done["seconds"], &done["bytes"]), ("Done", &json!("first"), &json!(4), &json!(5)));
    assert_eq!(done["startSeconds"], 6);
    let news = scene.pass();
    let running: Vec<_> = news.iter().filter(|(_, status)| phase(status) == "Running").map(|(name, _)| name).collect();
    assert_eq!(running, [&late], "then the next one");
}

#[test]
fn one_that_is_deleted_frees_the_way() {
    let mut scene = Scene::new();
    let first = scene.ask(Kind::Dhis2Backup, 1, 0);
    let second = scene.ask(Kind::Dhis2Backup, 4, 1);
    scene.pass();
    assert_eq!(under_way(&scene.observed).unwrap().name, first);
    scene.observed.children.get_mut(Kind::Dhis2Backup, &first).unwrap().deleting = true;
    assert!(under_way(&scene.observed).is_none(), "its Job goes");
    assert_eq!(phase(&scene.told(&second)), "Running");
}

#[test]
fn what_was_begun_goes_on_while_the_instance_waits_and_anew_with_another_one() {
    let mut scene = Scene::new();
    let name = scene.ask(Kind::Dhis2Backup, 1, 0);
    scene.pass();
    scene.outcome = Outcome::Paused;
    scene.backs_up(ASKED);
    let (kept, observed) = (scene.observed.clone(), scene.observed.clone());
    assert_eq!(phase(&scene.told(&name)), "Done", "telling is no work on the instance");
    scene.observed = kept;
    scene.observed.children.remove(Kind::Job, ASKED);
    let gone = scene.pass_over(false);
    assert_eq!((phase(&gone[0].1), gone[0].1["started"].is_null()), ("Waiting", true));
    // Nobody saw that there was none between the two.
    scene.observed = observed;
    scene.status.admin = None;
    assert_eq!(phase(&scene.told(&name)), "Waiting");
}

#[test]
fn when_a_set_is_proven_its_backup_tells_and_says_so_from_then_on() {
    let mut scene = Scene::new();
    let name = scene.ask(Kind::Dhis2Backup, 1, 0);
    scene.pass();
    scene.backs_up(ASKED);
    scene.pass();
    let proof = |set: &str| Some(VerifiedStatus { set: set.into(), time: Some(Time(at(7))), ..VerifiedStatus::default() });
    let backup = scene.status.backup.as_mut().unwrap();
    backup.last_verified = proof("other");
    assert_eq!(scene.pass(), []);
    scene.status.backup.as_mut().unwrap().last_verified = proof(ASKED);
    assert_eq!(scene.pass(), [(name, json!({ "proven": at(7) }))]);
    assert_eq!(scene.pass(), [], "it is told once");
    scene.status.backup.as_mut().unwrap().last_verified = proof("other");
    assert_eq!(scene.pass(), [], "once told it stays");
}

#[test]
fn of_one_that_is_over_little_is_kept_and_a_phase_of_a_later_release_is_left_alone() {
    let mut scene = Scene::new();
    scene.ask(Kind::Dhis2Backup, 1, 0);
    scene.pass();
    scene.backs_up(ASKED);
    scene.pass();
    let slot = scene.observed.slots(Kind::Dhis2Backup).next().unwrap().1;
    let kept = slot.errand().unwrap();
    assert_eq!(kept.told, Told::Over(Phase::Done, Some(1)));
    assert_eq!(kept.set.as_deref(), Some(ASKED));
    let metadata = json!({ "name": "later", "uid": "9", "resourceVersion": "1" });
    scene.learn(Kind::Dhis2Backup, &json!({ "metadata": metadata, "spec": { "instance": "play" }, "status": { "phase": "Moving" } }));
    assert_eq!(scene.pass(), []);
}

#[test]
fn a_set_that_is_not_there_says_nothing_of_those_that_are() {
    let resource: Dhis2Instance = serde_json::from_value(json!({
        "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance", "metadata": { "name": "play", "namespace": "ns", "uid": "uid-1" },
        "spec": { "version": "2.42.4", "web": { "host": "play.example.org" } }
    }))
    .unwrap();
    for (reason, counts) in [(Reason::SetUnknown, false), (Reason::ContentsDiffer, true)] {
        let mut scene = Scene::new();
        scene.fails(TEST, reason);
        let Facts::Pod(pod) = &mut scene.observed.children.get_mut(Kind::Pod, &format!("{TEST}-x")).unwrap().facts else {
            panic!("no pod")
        };
        pod.component = "verify".into();
        let mut status = BackupStatus::default();
        super::super::verify::record(&mut status, &resource, &scene.observed, at(0));
        assert_eq!(status.verify_failure.is_some(), counts, "{reason:?}");
    }
}
