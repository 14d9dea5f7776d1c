//! What the cluster does with the objects: controllers make pods, nodes run them, agents report, owners take what they own with them.

use serde_json::{Value, json};

use super::server::{NAMESPACE, State};
use crate::{
    dhis2::version::Version,
    operator::kind::Kind,
    report::{AdminPassword, Bootstrapped, Built, Checked, Data, Outcome, Report, Verb, fixture},
};

/// Something that can happen now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// A StatefulSet makes its pod.
    Start(String),
    /// The server in a pod serves.
    Serve(String),
    /// A Job makes its pod, which does what it is for.
    Finish(String),
    /// The pod of a Job that is gone goes.
    Collect(String),
    /// A claim is bound, or grown.
    Provide(String),
}

/// Everything that can happen now.
pub fn possible(state: &State) -> Vec<Action> {
    let mut all = Vec::new();
    for ((kind, name), object) in &state.objects {
        match kind {
            Kind::StatefulSet if !state.objects.contains_key(&(Kind::Pod, pod_name(name))) => all.push(Action::Start(name.clone())),
            Kind::Job if object["status"].is_null() && can_finish(state, name) => all.push(Action::Finish(name.clone())),
            Kind::Pod if owner_is_gone(state, object) => all.push(Action::Collect(name.clone())),
            Kind::Pod if can_serve(state, name, object) => all.push(Action::Serve(name.clone())),
            Kind::PersistentVolumeClaim if capacity(object) != asked(object) => all.push(Action::Provide(name.clone())),
            _ => {}
        }
    }
    all
}

pub fn carry_out(state: &mut State, action: &Action) {
    match action {
        Action::Start(set) => {
            let owner = state.objects[&(Kind::StatefulSet, set.clone())].clone();
            let pod = pod(&pod_name(set), "StatefulSet", &owner);
            state.create(Kind::Pod, pod, "statefulset-controller");
        }
        Action::Serve(pod) => {
            let mut object = state.objects[&(Kind::Pod, pod.clone())].clone();
            object["status"] = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
            if let Some(version) = version(&object) {
                object["status"]["initContainerStatuses"] =
                    json!([ended(Verb::Check, Data::Check(Checked { version, last_started: None, schema: None }))]);
            }
            state.change(Kind::Pod, object);
        }
        Action::Finish(job) => {
            let mut owner = state.objects[&(Kind::Job, job.clone())].clone();
            let mut pod = pod(&format!("{job}-{}", owner["metadata"]["uid"].as_str().unwrap().to_lowercase()), "Job", &owner);
            pod["status"] = json!({ "phase": "Succeeded", "containerStatuses": [report(job, &owner)] });
            state.create(Kind::Pod, pod, "job-controller");
            owner["status"] = json!({ "conditions": [{ "type": "Complete", "status": "True" }] });
            state.change(Kind::Job, owner);
        }
        Action::Collect(pod) => state.remove(Kind::Pod, pod),
        Action::Provide(claim) => {
            let mut object = state.objects[&(Kind::PersistentVolumeClaim, claim.clone())].clone();
            object["status"] = json!({ "phase": "Bound", "capacity": { "storage": asked(&object) } });
            state.change(Kind::PersistentVolumeClaim, object);
        }
    }
}

fn pod_name(set: &str) -> String {
    format!("{set}-0")
}

fn asked(claim: &Value) -> &Value {
    &claim["spec"]["resources"]["requests"]["storage"]
}

fn capacity(claim: &Value) -> &Value {
    &claim["status"]["capacity"]["storage"]
}

fn owner_is_gone(state: &State, object: &Value) -> bool {
    let owner = &object["metadata"]["ownerReferences"][0]["uid"];
    !state.objects.values().any(|other| other["metadata"]["uid"] == *owner)
}

/// Does the server of this set serve?
pub fn serves(state: &State, set: &str) -> bool {
    state.objects.get(&(Kind::Pod, pod_name(set))).is_some_and(|pod| pod["status"]["phase"] == "Running")
}

/// Agents wait for the servers that they need.
fn can_finish(state: &State, job: &str) -> bool {
    job.ends_with("-database-build") || serves(state, if job.ends_with("-bootstrap") { "play" } else { "play-database" })
}

/// DHIS2 serves only with its database.
fn can_serve(state: &State, name: &str, pod: &Value) -> bool {
    let starts = pod["status"].is_null();
    starts && (name.ends_with("-database-0") || serves(state, "play-database"))
}

fn pod(name: &str, kind: &str, owner: &Value) -> Value {
    let template = &owner["spec"]["template"];
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": NAMESPACE,
            "labels": template["metadata"]["labels"], "annotations": template["metadata"]["annotations"],
            "ownerReferences": [{ "apiVersion": "v1", "kind": kind, "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "controller": true }],
        },
        "spec": template["spec"],
    })
}

/// The version in DHIS2's image, where a pod runs it.
fn version(pod: &Value) -> Option<Version> {
    let containers = pod["spec"]["containers"].as_array()?;
    let dhis2 = containers.iter().find(|container| container["name"] == "dhis2")?;
    dhis2["image"].as_str()?.rsplit_once(':')?.1.parse().ok()
}

fn ended(verb: Verb, data: Data) -> Value {
    let report = Report { verb, outcome: Outcome::Done, reason: None, message: String::new(), data: Some(data) };
    json!({ "name": "step", "state": { "terminated": { "exitCode": 0, "message": report.to_json() } } })
}

/// What the agent of a step leaves.
fn report(job: &str, owner: &Value) -> Value {
    let time = "2026-01-01T00:00:00Z".to_owned();
    if job.ends_with("-database-build") {
        let instance = owner["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap().to_owned();
        return ended(
            Verb::DatabaseBuild,
            Data::DatabaseBuild(Built { instance, postgresql: 16, system_identifier: "7".into(), built_at: time }),
        );
    }
    if job.ends_with("-bootstrap") {
        let version = "2.42.4".parse().unwrap();
        let done = Bootstrapped { version, admin_password: AdminPassword::Generated, district_refused: true };
        return ended(Verb::Bootstrap, Data::Bootstrap(done));
    }
    let set = fixture::set("a", &time);
    ended(Verb::Backup, Data::Backup(Box::new(set)))
}
