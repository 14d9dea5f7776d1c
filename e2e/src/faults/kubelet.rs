//! Plays what a cluster's nodes and controllers would do for an instance: pods that start at once and leave the reports that the
//! agent leaves, Jobs that finish, claims that are bound and grow.

mod reports;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dhis2_operator::api::Dhis2Instance;
use dhis2_operator::report::{Outcome as Ending, Refusal, Report, Verb};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Container, PersistentVolumeClaim, Pod, PodTemplateSpec};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::flow::{BROKEN, FAILING, STUCK};
use super::ledger::{Change, Record};
use crate::site::{Outcome, wait};
use reports::{Held, report};

/// Plays for all namespaces until the sender of the records is gone. `sets`: so many a repository holds.
pub async fn play(client: Client, mut records: mpsc::UnboundedReceiver<Record>, sets: usize) {
    while let Some(record) = records.recv().await {
        let client = client.clone();
        tokio::spawn(async move { Box::pin(insist(&client, &record, sets)).await });
    }
}

/// Acts until it works, as a controller does. An object that is gone, or another one of its name, needs nothing any more.
async fn insist(client: &Client, record: &Record, sets: usize) {
    const TRIES: u32 = 40;
    for attempt in 1.. {
        let Err(error) = Box::pin(act(client, record, sets)).await else { return };
        if let Some(kube::Error::Api(status)) = error.downcast_ref()
            && (status.is_not_found() || status.is_conflict())
        {
            return;
        }
        if attempt == TRIES {
            let name = record.object.name_any();
            eprintln!("play {} {name} in {}: {}", record.kind, record.object.namespace().unwrap_or_default(), crate::site::chain(&*error));
            return;
        }
        tokio::time::sleep(Duration::from_millis(100) * attempt).await;
    }
}

/// Makes the storage classes that claims get, whose volumes can grow, and the priority that an example names.
///
/// # Errors
/// What the API server says.
pub async fn furnish(client: &Client) -> Outcome {
    for (name, default) in [("played", "true"), ("standard", "false")] {
        let class: StorageClass = serde_json::from_value(json!({
            "metadata": { "name": name, "annotations": { "storageclass.kubernetes.io/is-default-class": default } },
            "provisioner": "dhis2.hosting/played",
            "allowVolumeExpansion": true,
        }))?;
        Api::all(client.clone()).create(&PostParams::default(), &class).await?;
    }
    let priority: PriorityClass = serde_json::from_value(json!({ "metadata": { "name": "dhis2" }, "value": 1000 }))?;
    Api::all(client.clone()).create(&PostParams::default(), &priority).await?;
    Ok(())
}

/// Waits until garbage is collected: what collects it needs a while to know of everything.
///
/// # Errors
/// When it is not in time.
pub async fn collects(client: &Client) -> Outcome {
    const LIMIT: Duration = Duration::from_mins(2);
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let instances: Api<Dhis2Instance> = Api::namespaced(client.clone(), "default");
    let spec = serde_json::from_value(json!({ "version": "2.42.4.1", "web": { "host": "nobody.example.org" } }))?;
    let instance = instances.create(&PostParams::default(), &Dhis2Instance::new("nobody", spec)).await?;
    let metadata = json!({ "name": "of-nobody", "ownerReferences": [instance.owner_ref(&())] });
    maps.create(&PostParams::default(), &serde_json::from_value(json!({ "metadata": metadata }))?).await?;
    instances.delete("nobody", &DeleteParams::background()).await?;
    Ok(wait::gone(&maps, "of-nobody", LIMIT).await?)
}

async fn act(client: &Client, record: &Record, sets: usize) -> Outcome {
    let namespace = record.object.namespace().unwrap_or_default();
    let gone = record.change == Change::Gone;
    match record.kind {
        "StatefulSet" if !gone => server(client, &namespace, &record.object.name_any()).await,
        "Job" if record.change == Change::Made => step(client, &read(&record.object)?, sets).await,
        "PersistentVolumeClaim" if !gone => bind(client, &read(&record.object)?).await,
        "Pod" if gone => again(client, &read(&record.object)?).await,
        "Pod" if record.change == Change::Made => serve(client, &read(&record.object)?).await,
        _ => Ok(()),
    }
}

fn read<K: DeserializeOwned>(object: &Arc<DynamicObject>) -> Result<K, serde_json::Error> {
    serde_json::from_value(serde_json::to_value(object.as_ref())?)
}

/// The one pod of a StatefulSet, unless it is there.
async fn server(client: &Client, namespace: &str, name: &str) -> Outcome {
    let pod = format!("{name}-0");
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    if is_stopped(client, namespace, name).await? {
        return match pods.delete(&pod, &DeleteParams::default().grace_period(0)).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            answer => answer.map(drop).map_err(Into::into),
        };
    }
    // Before the set: with a pod there, the set may change and the pod go before one is made of what the set was.
    if pods.get_metadata_opt(&pod).await?.is_some() {
        return Ok(());
    }
    // Asked for, since another watch may not have told yet that it is gone.
    let Some(set) = Api::<StatefulSet>::namespaced(client.clone(), namespace).get_opt(name).await? else { return Ok(()) };
    let Some(owner) = set.controller_owner_ref(&()).filter(|_| set.metadata.deletion_timestamp.is_none()) else { return Ok(()) };
    if replicas(&set) == Some(0) {
        return Ok(());
    }
    let template = set.spec.map(|spec| spec.template).unwrap_or_default();
    make_pod(client, namespace, &pod, owner, template).await
}

fn replicas(set: &StatefulSet) -> Option<i32> {
    set.spec.as_ref()?.replicas
}

/// Is the set to have no pod?
async fn is_stopped(client: &Client, namespace: &str, name: &str) -> Outcome<bool> {
    let set = Api::<StatefulSet>::namespaced(client.clone(), namespace).get_opt(name).await?;
    Ok(set.as_ref().and_then(replicas) == Some(0))
}

async fn make_pod(client: &Client, namespace: &str, name: &str, owner: OwnerReference, template: PodTemplateSpec) -> Outcome {
    let given = template.metadata.unwrap_or_default();
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        labels: given.labels,
        annotations: given.annotations,
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    };
    let pod = Pod { metadata, spec: template.spec, status: None };
    match Api::<Pod>::namespaced(client.clone(), namespace).create(&PostParams::default(), &pod).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        answer => answer.map(|_| ()).map_err(Into::into),
    }
}

/// A server's pod that is gone is made again.
async fn again(client: &Client, pod: &Pod) -> Outcome {
    let sets = pod.owner_references().iter().filter(|owner| owner.kind == "StatefulSet");
    for set in sets {
        server(client, &pod.namespace().unwrap_or_default(), &set.name).await?;
    }
    Ok(())
}

/// A server's pod starts and is ready.
async fn serve(client: &Client, pod: &Pod) -> Outcome {
    if pod.owner_references().iter().all(|owner| owner.kind != "StatefulSet") {
        return Ok(());
    }
    let spec = pod.spec.clone().unwrap_or_default();
    let now = Timestamp::now();
    let runs = |container| state(container, &json!({ "running": { "startedAt": now } }));
    let running: Vec<Value> =
        spec.containers.iter().map(|container| if fails(container) { failing(runs(container)) } else { runs(container) }).collect();
    let started: Vec<Value> = spec.init_containers.iter().flatten().map(|container| ended(container, pod, &Held::default())).collect();
    let mut conditions: Vec<Value> = ["PodScheduled", "Initialized"].map(condition).into();
    if !spec.containers.iter().any(fails) {
        conditions.extend(["ContainersReady", "Ready"].map(condition));
    }
    let status = json!({ "phase": "Running", "startTime": now, "conditions": conditions, "containerStatuses": running, "initContainerStatuses": started });
    patch_status::<Pod>(client, pod, &status).await
}

/// Is it a DHIS2 that does not start?
fn fails(container: &Container) -> bool {
    container.name == "dhis2" && container.image.as_ref().is_some_and(|image| image.ends_with(&format!(":{FAILING}")))
}

/// As it is while it is tried for the third time.
fn failing(mut running: Value) -> Value {
    let (outcome, reason, message) = (Ending::Failed, Some(Refusal::StartFailed), "played".to_owned());
    let report = Report { verb: Verb::Startup, outcome, reason, message, data: None };
    let end = json!({ "exitCode": 143, "reason": "Error", "message": report.to_json() });
    let more = json!({ "ready": false, "started": false, "restartCount": 2, "lastState": { "terminated": end } });
    crate::site::instance::merge(&mut running, &more);
    running
}

/// A Job's pod does its work, and the Job is complete.
async fn step(client: &Client, job: &Job, sets: usize) -> Outcome {
    let namespace = job.namespace().unwrap_or_default();
    // A second attempt may come when all is done and gone.
    let there = Api::<Job>::namespaced(client.clone(), &namespace).get_opt(&job.name_any()).await?;
    if there.is_none_or(|there| there.metadata.uid != job.metadata.uid) {
        return Ok(());
    }
    let owner = job.controller_owner_ref(&()).ok_or("a Job without an identity")?;
    let name = format!("{}-0", job.name_any());
    let template = job.spec.clone().map(|spec| spec.template).unwrap_or_default();
    make_pod(client, &namespace, &name, owner, template).await?;
    if job
        .spec
        .iter()
        .filter_map(|spec| spec.template.spec.as_ref())
        .flat_map(|pod| &pod.containers)
        .any(|container| asks_for(container, STUCK))
    {
        return Ok(());
    }
    let pod = Api::<Pod>::namespaced(client.clone(), &namespace).get(&name).await?;
    let spec = pod.spec.clone().unwrap_or_default();
    let now = Timestamp::now();
    let tests = spec.containers.iter().any(|container| container.name == "verify");
    let held = Held { newest: if tests { newest(client, &pod).await? } else { String::new() }, sets };
    let main: Vec<Value> = spec.containers.iter().map(|container| ended(container, &pod, &held)).collect();
    let before: Vec<Value> = spec.init_containers.iter().flatten().map(|container| ended(container, &pod, &held)).collect();
    let refused = spec.containers.iter().any(is_broken);
    let phase = if refused { "Failed" } else { "Succeeded" };
    let status = json!({ "phase": phase, "startTime": now, "containerStatuses": main, "initContainerStatuses": before });
    patch_status::<Pod>(client, &pod, &status).await?;
    let status = if refused {
        let conditions: Vec<Value> = ["FailureTarget", "Failed"].map(condition).into();
        json!({ "startTime": now, "failed": 1, "ready": 0, "conditions": conditions })
    } else {
        let conditions: Vec<Value> = ["SuccessCriteriaMet", "Complete"].map(condition).into();
        json!({ "startTime": now, "completionTime": now, "succeeded": 1, "ready": 0, "conditions": conditions })
    };
    patch_status::<Job>(client, job, &status).await
}

/// A claim has the size that it asks for.
async fn bind(client: &Client, claim: &PersistentVolumeClaim) -> Outcome {
    let requests = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage").cloned());
    let status = claim.status.clone().unwrap_or_default();
    let has = status.capacity.as_ref().and_then(|capacity| capacity.get("storage").cloned());
    if requests == has && status.phase.as_deref() == Some("Bound") {
        return Ok(());
    }
    let capacity: BTreeMap<_, _> = requests.into_iter().map(|size| ("storage", size)).collect();
    let status = json!({ "phase": "Bound", "capacity": capacity, "accessModes": ["ReadWriteOnce"] });
    patch_status::<PersistentVolumeClaim>(client, claim, &status).await
}

async fn patch_status<K>(client: &Client, object: &K, status: &Value) -> Outcome
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    // With its uid: what is played for one object is never told of another one of its name.
    let patch = json!({ "metadata": { "uid": object.uid() }, "status": status });
    api.patch_status(&object.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}

fn condition(kind: &str) -> Value {
    json!({ "type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": Timestamp::now() })
}

fn state(container: &Container, state: &Value) -> Value {
    let runs = state.get("running").is_some();
    json!({
        "name": container.name, "image": container.image, "imageID": format!("played@{}", container.image.as_deref().unwrap_or_default()),
        "ready": runs, "started": runs, "restartCount": 0, "state": state,
    })
}

/// The newest set of the instance of a pod, as a restore test finds it in the repository.
async fn newest(client: &Client, pod: &Pod) -> Outcome<String> {
    let name = pod.labels().get("app.kubernetes.io/instance").cloned().unwrap_or_default();
    let instance = Api::<Dhis2Instance>::namespaced(client.clone(), &pod.namespace().unwrap_or_default()).get(&name).await?;
    let last = instance.status.and_then(|status| status.backup?.last);
    Ok(last.map(|last| last.set).unwrap_or_default())
}

fn ended(container: &Container, pod: &Pod, held: &Held) -> Value {
    let now = Timestamp::now();
    let message = report(container, pod, held).map(|report| report.to_json());
    let (code, reason) = if is_broken(container) { (2, "Error") } else { (0, "Completed") };
    let end = json!({ "exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now, "message": message });
    let mut told = state(container, &json!({ "terminated": end }));
    if let Some(told) = told.as_object_mut() {
        told.insert("ready".to_owned(), json!(true));
    }
    told
}

/// Is it to restore what can't be restored?
fn is_broken(container: &Container) -> bool {
    asks_for(container, BROKEN)
}

fn asks_for(container: &Container, set: &str) -> bool {
    container.command.iter().flatten().any(|word| word == set)
}
