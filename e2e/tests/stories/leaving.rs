//! Leaving: what a deleted instance leaves, how it is taken back, and that nothing is left where nothing is to be left, also when no
//! operator runs. And an operator that is told to look away does.

use std::collections::BTreeMap;
use std::time::Duration;

use dhis2_e2e::cluster::run;
use dhis2_e2e::site::audit::{self, Log};
use dhis2_e2e::site::data::{self, Data};
use dhis2_e2e::site::door::{Account, Door, Scheme};
use dhis2_e2e::site::instance::{Instance, Progress, condition, holds, progress};
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, objects, wait};
use dhis2_operator::api::{Dhis2Instance, INSTANCE, PAUSED};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

const NOTICED: Duration = Duration::from_secs(20);
const GONE: Duration = Duration::from_mins(3);
/// An operator that leads has its lists after a moment, and acts at once.
const SETTLED: Duration = Duration::from_secs(3);

/// What stays under `Retain`.
const KEPT: [&str; 6] = [
    "PersistentVolumeClaim play-backups",
    "PersistentVolumeClaim play-database",
    "PersistentVolumeClaim play-files",
    "Secret play-admin",
    "Secret play-backup",
    "Secret play-encryption",
];

#[test]
fn leaving() {
    crate::tell("leaving", |story| async move {
        let operator = Operator::install(&story).await?;
        let instance = story.instance("play");
        // Backups by the clock are no part of this: the day does not come meanwhile.
        let manifest = story.small_manifest("play", &json!({ "backup": { "schedule": "0 0 29 2 *" } }));
        instance.apply(&manifest).await?;
        instance.settled().await?;
        instance.until("BackupHealthy").await?;
        let door = Door::new(&story.site, &instance.host);
        door.opens(Scheme::Http, NOTICED).await?;
        let admin = instance.admin().await?;
        let data = data::put(&door, &admin).await?;
        Box::pin(looks_away(&story, &instance)).await?;
        let left = Left { key: instance.secret("encryption").await?, admin, data, kept: retained(&story, &instance).await? };
        is_not_taken_back_unasked(&story, &instance, &manifest, &left.kept).await?;
        is_taken_back(&story, &instance, &door, &left).await?;
        may_change_its_mind(&story, &operator, &instance).await?;
        leaves_nothing(&story, &operator, &instance).await
    });
}

/// What the first instance left.
struct Left {
    key: Secret,
    admin: Account,
    data: Data,
    /// uid and resourceVersion by kind and name.
    kept: BTreeMap<String, String>,
}

/// With the annotation a change of the spec is told as seen, and carried out only when the annotation is gone.
async fn looks_away(story: &Story, instance: &Instance) -> Outcome {
    let jobs: Api<Job> = Api::namespaced(story.client.clone(), &story.namespace);
    wait::gone(&jobs, "play-backup-first", GONE).await?;
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    let running = pods.get("play-0").await?.uid();
    annotate(instance, json!("true")).await?;
    instance.until("Paused").await?;
    let before = versions(story).await?;
    instance.change(&json!({ "config": { "max.sessions.per_user": "5" } })).await?;
    let seen = instance.until("Paused").await?;
    assert!(holds(&seen, "Paused") && condition(&seen, "Ready").is_some_and(|ready| ready.status == "True"), "{:?}", seen.status);
    assert_eq!(versions(story).await?, before, "a paused operator wrote");
    annotate(instance, Value::Null).await?;
    let awake = |seen: &Dhis2Instance| condition(seen, "Paused").is_some_and(|paused| paused.status == "False");
    instance.when("the operator to look again", awake).await?;
    instance.settled().await?;
    let configuration: Api<ConfigMap> = Api::namespaced(story.client.clone(), &story.namespace);
    let text = configuration.get("play").await?.data.and_then(|mut files| files.remove("dhis.conf")).unwrap_or_default();
    assert!(text.contains("max.sessions.per_user = 5"), "the change was not carried out: {text}");
    assert_ne!(pods.get("play-0").await?.uid(), running, "DHIS2 does not run with the change");
    Ok(())
}

async fn annotate(instance: &Instance, value: Value) -> Outcome {
    let patch = json!({ "metadata": { "annotations": { (PAUSED): value } } });
    instance.api.patch(&instance.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}

async fn versions(story: &Story) -> Outcome<BTreeMap<String, String>> {
    Ok(objects::versions(&objects::list(story, &story.namespace).await?))
}

/// Deletes the instance: volumes and what opens them stay, all else goes. Returns what stays.
async fn retained(story: &Story, instance: &Instance) -> Outcome<BTreeMap<String, String>> {
    let uids = |objects: &[DynamicObject]| -> BTreeMap<String, Option<String>> {
        objects.iter().map(|object| (objects::name(object), object.uid())).filter(|(name, _)| KEPT.contains(&name.as_str())).collect()
    };
    let before = uids(&objects::list(story, &story.namespace).await?);
    delete(instance).await?;
    wait::ask("all but what is kept to go", GONE, async || only(story, &KEPT)).await?;
    let left = objects::list(story, &story.namespace).await?;
    assert_eq!(uids(&left), before, "what is kept is not what was there");
    Ok(objects::versions(&left))
}

async fn delete(instance: &Instance) -> Outcome {
    instance.api.delete(&instance.name, &DeleteParams::default()).await?;
    Ok(wait::gone(&instance.api, &instance.name, GONE).await?)
}

/// Whether nothing is in the namespace but this, pods included.
fn only(story: &Story, names: &[&str]) -> Result<(), String> {
    let kinds = "pods,persistentvolumeclaims,secrets,configmaps,services,statefulsets,jobs,cronjobs,ingresses,networkpolicies";
    let form = "go-template={{range .items}}{{.kind}} {{.metadata.name}}{{\"\\n\"}}{{end}}";
    let mut kubectl = story.site.kubectl();
    kubectl.args(["--namespace", &story.namespace, "get", kinds, "--output", form]);
    let text = run::output(&mut kubectl).map_err(|error| error.to_string())?;
    // The API server puts this one into every namespace.
    let mut there: Vec<&str> = text.lines().filter(|line| *line != "ConfigMap kube-root-ca.crt").collect();
    there.sort_unstable();
    if there == names { Ok(()) } else { Err(format!("{there:?}")) }
}

/// The same name again: it is told that there is something, and nothing is started or touched, however often it is tried.
async fn is_not_taken_back_unasked(story: &Story, instance: &Instance, manifest: &Value, kept: &BTreeMap<String, String>) -> Outcome {
    instance.apply(manifest).await?;
    for team in ["one", "two"] {
        instance.change(&json!({ "pod": { "labels": { "team": team } } })).await?;
        let seen = instance.until("Stalled").await?;
        let reason = condition(&seen, "Stalled").map(|stalled| stalled.reason.clone());
        assert_eq!((reason.as_deref(), progress(&seen)), (Some("RetainedDataFound"), Progress::Failed), "{:?}", seen.status);
        let told = condition(&seen, "Ready").map(|ready| ready.message.clone()).unwrap_or_default();
        assert!(told.contains("adopt"), "it is not said what to do: {told:?}");
    }
    let there = objects::list(story, &story.namespace).await?;
    let runs = |object: &&DynamicObject| {
        let kind = objects::name(object);
        ["StatefulSet", "Job", "CronJob", "Ingress"].iter().any(|running| kind.starts_with(&format!("{running} ")))
    };
    let running: Vec<String> = there.iter().filter(runs).map(objects::name).collect();
    assert!(running.is_empty(), "something was started beside retained data: {running:?}");
    let same: BTreeMap<String, String> = objects::versions(&there).into_iter().filter(|(name, _)| kept.contains_key(name)).collect();
    assert_eq!(&same, kept, "retained data was touched");
    let claims = there.iter().filter(|object| objects::name(object).starts_with("PersistentVolumeClaim")).count();
    assert_eq!(claims, 3, "a volume was made beside the retained ones");
    Ok(())
}

/// With `adopt`: the same volumes, the same rows and file, the same keys, the same password; and the repository goes on.
async fn is_taken_back(story: &Story, instance: &Instance, door: &Door, left: &Left) -> Outcome {
    instance.change(&json!({ "adopt": true })).await?;
    let seen = instance.settled().await?;
    let uid = seen.uid().unwrap_or_default();
    let password = seen.status.as_ref().and_then(|status| status.admin.as_ref()?.password.clone());
    assert_eq!(password.as_deref(), Some("Generated"), "the password in the Secret is not taken for the one that works");
    door.opens(Scheme::Http, NOTICED).await?;
    assert_eq!(instance.admin().await?, left.admin, "the administrator's Secret has another password");
    assert_eq!(door.lets_in(Scheme::Http, &left.admin).await, Ok(true), "the password in the Secret does not work");
    data::check(door, &left.admin, &left.data)?;
    assert_eq!(instance.secret("encryption").await?.data, left.key.data, "the encryption key is another one");
    let there = objects::list(story, &story.namespace).await?;
    for object in there.iter().filter(|object| KEPT.contains(&objects::name(object).as_str())) {
        let name = objects::name(object);
        let before = left.kept.get(&name).and_then(|version| version.split(' ').next());
        assert_eq!(object.uid().as_deref(), before, "{name} was made anew");
        assert_eq!(object.annotations().get(INSTANCE), Some(&uid), "{name} does not say that it is taken over");
    }
    let seen = instance.until("BackupHealthy").await?;
    let backup = seen.status.and_then(|status| status.backup).unwrap_or_default();
    assert_eq!(backup.sets, Some(2), "sets in the repository: {backup:?}");
    Ok(())
}

/// `deletionPolicy` of a running instance reaches everything that it is about, once.
async fn may_change_its_mind(story: &Story, operator: &Operator, instance: &Instance) -> Outcome {
    let log = Log::from_now(story);
    let policies = ["Delete", "Retain", "Delete"];
    for policy in policies {
        instance.change(&json!({ "deletionPolicy": policy })).await?;
        let uid = instance.settled().await?.uid().unwrap_or_default();
        for object in objects::list(story, &story.namespace).await? {
            let name = objects::name(&object);
            let goes = object.owner_references().iter().any(|owner| owner.uid == uid);
            let stays = policy == "Retain" && KEPT.contains(&name.as_str());
            assert_eq!(goes, !stays, "{name} under {policy}: {:?}", object.owner_references());
        }
    }
    if let Some(log) = log {
        let asked = audit::count(&log.requests(&operator.user())?, audit::Request::what);
        story.tell(&format!("three changes of deletionPolicy cost: {}", audit::told(&asked)));
        assert_eq!(asked.get("patch secrets"), Some(&(3 * policies.len())), "three Secrets each time, once: {asked:?}");
    }
    Ok(())
}

/// Deleted while no operator runs: everything goes, and an operator that comes back later brings nothing back.
async fn leaves_nothing(story: &Story, operator: &Operator, instance: &Instance) -> Outcome {
    operator.stop().await?;
    delete(instance).await?;
    wait::ask("everything to go", GONE, async || only(story, &[])).await?;
    operator.start().await?;
    operator.leads("").await?;
    tokio::time::sleep(SETTLED).await;
    Ok(only(story, &[])?)
}
