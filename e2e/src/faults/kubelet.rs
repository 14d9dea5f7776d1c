//! Plays what a cluster's nodes and controllers would do for an instance: pods that start at once and leave the reports that the
//! agent leaves, Jobs that finish, claims that are bound and grow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dhis2_operator::api::Dhis2Instance;
use dhis2_operator::report::{
    AdminPassword, BackedUp, Bootstrapped, Built, Capacity, Checked, Data, Filling, Generated, Generation, Imported, Listed,
    Outcome as Ending, Refusal, Rehearsed, Report, Restored, Retention, Verb, Verified,
};
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

/// Plays for all namespaces until the sender of the records is gone.
pub async fn play(client: Client, mut records: mpsc::UnboundedReceiver<Record>) {
    while let Some(record) = records.recv().await {
        let client = client.clone();
        tokio::spawn(async move { Box::pin(insist(&client, &record)).await });
    }
}

/// Acts until it works, as a controller does. An object that is gone, or another one of its name, needs nothing any more.
async fn insist(client: &Client, record: &Record) {
    const TRIES: u32 = 40;
    for attempt in 1.. {
        let Err(error) = Box::pin(act(client, record)).await else { return };
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

async fn act(client: &Client, record: &Record) -> Outcome {
    let namespace = record.object.namespace().unwrap_or_default();
    let gone = record.change == Change::Gone;
    match record.kind {
        "StatefulSet" if !gone => server(client, &namespace, &record.object.name_any()).await,
        "Job" if record.change == Change::Made => step(client, &read(&record.object)?).await,
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
    let started: Vec<Value> = spec.init_containers.iter().flatten().map(|container| ended(container, pod)).collect();
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
async fn step(client: &Client, job: &Job) -> Outcome {
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
    let main: Vec<Value> = spec.containers.iter().map(|container| ended(container, &pod)).collect();
    let before: Vec<Value> = spec.init_containers.iter().flatten().map(|container| ended(container, &pod)).collect();
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

fn ended(container: &Container, pod: &Pod) -> Value {
    let now = Timestamp::now();
    let message = report(container, pod).map(|report| report.to_json());
    let (code, reason) = if is_broken(container) { (2, "Error") } else { (0, "Completed") };
    let end = json!({ "exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now, "message": message });
    let mut told = state(container, &json!({ "terminated": end }));
    if let Some(told) = told.as_object_mut() {
        told.insert("ready".to_owned(), json!(true));
    }
    told
}

/// What the agent reports at the end of a container, by what it was called with.
fn report(container: &Container, pod: &Pod) -> Option<Report> {
    let words: Vec<&str> = container.command.iter().flatten().map(String::as_str).collect();
    let after = |word: &str| words.iter().skip_while(|known| **known != word).nth(1).copied().unwrap_or_default();
    let (verb, data) = match container.name.as_str() {
        "build" => {
            let built = Built {
                instance: after("--instance").to_owned(),
                postgresql: after("--postgresql").parse().ok()?,
                system_identifier: "7000000000000000000".to_owned(),
                built_at: "2026-01-01T00:00:00Z".to_owned(),
            };
            (Verb::DatabaseBuild, Data::DatabaseBuild(built))
        }
        "check" => {
            let version = after("--version").parse().ok()?;
            (Verb::Check, Data::Check(Checked { version, last_started: None, schema: None }))
        }
        "bootstrap" => {
            let version = after("--version").parse().ok()?;
            let done = Bootstrapped { version, admin_password: AdminPassword::Generated, district_refused: true };
            (Verb::Bootstrap, Data::Bootstrap(done))
        }
        "backup" => (Verb::Backup, Data::Backup(Box::new(set(pod)))),
        "restore" if is_broken(container) => {
            let (outcome, reason) = (Ending::Refused, Some(Refusal::SetIncomplete));
            return Some(Report { verb: Verb::Restore, outcome, reason, message: "played".to_owned(), data: None });
        }
        "restore" => (Verb::Restore, Data::Restore(restored(after)?)),
        "import" => (Verb::Import, Data::Import(imported(after))),
        "rehearse" => (Verb::Rehearse, Data::Rehearse(Rehearsed { version: after("--version").parse().ok()?, seconds: 1 })),
        "analytics" => (Verb::Analytics, Data::Analytics(Generated { outcome: Generation::Generated, seconds: 1 })),
        "verify" if is_broken(container) => {
            let (outcome, reason) = (Ending::Refused, Some(Refusal::SetUnknown));
            return Some(Report { verb: Verb::Verify, outcome, reason, message: "played".to_owned(), data: None });
        }
        "verify" => {
            let named = Some(after("--set")).filter(|set| !set.is_empty());
            let (set, now) = (named.unwrap_or("play-backup-first").to_owned(), Timestamp::now());
            // In a second of its own: a set counts as made after a restore when it is later by the clock of the status, which has no fractions.
            let created = (now + Duration::from_secs(2)).to_string();
            (Verb::Verify, Data::Verify(Verified { set, created, verified: now.to_string(), seconds: 1, bytes: 1, start_seconds: None }))
        }
        _ => return None,
    };
    Some(Report { verb, outcome: Ending::Done, reason: None, message: "played".to_owned(), data: Some(data) })
}

/// Is it to restore what can't be restored?
fn is_broken(container: &Container) -> bool {
    asks_for(container, BROKEN)
}

fn asks_for(container: &Container, set: &str) -> bool {
    container.command.iter().flatten().any(|word| word == set)
}

fn restored<'a>(after: impl Fn(&str) -> &'a str) -> Option<Restored> {
    Some(Restored {
        set: after("--set").to_owned(),
        created: "2026-01-01T00:00:00Z".to_owned(),
        dhis2: after("--version").parse().ok()?,
        instance: after("--instance").to_owned(),
        postgresql: after("--postgresql").parse().unwrap_or_default(),
        system_identifier: "7000000000000000001".to_owned(),
        built_at: "2026-01-01T00:00:00Z".to_owned(),
        seconds: 1,
        database_bytes: 1,
        rows: 1,
        files: 1,
        file_bytes: 1,
    })
}

fn imported<'a>(after: impl Fn(&str) -> &'a str) -> Imported {
    Imported {
        dump: "dhis2.sql.gz".to_owned(),
        schema: "2.42.47".to_owned(),
        instance: after("--instance").to_owned(),
        postgresql: after("--postgresql").parse().unwrap_or_default(),
        system_identifier: "7000000000000000002".to_owned(),
        built_at: "2026-01-01T00:00:00Z".to_owned(),
        seconds: 1,
        database_bytes: 1,
        files: 1,
        file_bytes: 1,
        references: 1,
        references_without_file: 0,
    }
}

fn set(pod: &Pod) -> BackedUp {
    let now = Timestamp::now().to_string();
    let name = pod.labels().get("batch.kubernetes.io/job-name").cloned().unwrap_or_default();
    // The first one finds a set of somebody else in the repository, which is gone when the next one is made.
    let listed = |set: &str, source: Option<&str>| Listed {
        set: set.to_owned(),
        time: 1_767_225_600,
        proven: None,
        source: source.map(str::to_owned),
    };
    let first = "play-backup-first";
    let older = if name == first { listed("older", Some("elsewhere/lost")) } else { listed(first, None) };
    let filling = Filling { used: 1 << 29, free: Some(1 << 29), per_day: None };
    BackedUp {
        set: name.clone(),
        created: now.clone(),
        bytes_added: 1,
        files: 1,
        file_bytes: 1,
        files_incomplete: false,
        references_without_file: 0,
        tables: 1,
        rows: 1,
        seconds: 1,
        retention: Retention::Done,
        sets_kept: 2,
        oldest: now,
        key: String::new(),
        capacity: Capacity { database: Some(filling), files: Some(filling), repository: Some(filling) },
        database_bytes: Some(1),
        dhis2: None,
        postgresql: Some("17.5".to_owned()),
        verified: None,
        shrunk: None,
        listed: vec![listed(&name, None), older],
    }
}
