//! Rights: somebody who has one namespace installs the operator in it, for it. It starts with no right at all, says which one it
//! lacks, and is given that one, until it has done all that an instance can ask for. What it has then is what the chart gives it:
//! no right is missing, none is without use.

mod ledger;

use std::time::Duration;

use dhis2_e2e::cluster::run;
use dhis2_e2e::site::helm::OPERATOR_CHART;
use dhis2_e2e::site::instance::{self, Instance, condition};
use dhis2_e2e::site::operator::{self, Operator, RELEASE};
use dhis2_e2e::site::{Outcome, Story, checkout, objects, wait};
use dhis2_operator::api::{Dhis2Backup, Dhis2Instance, Dhis2Restore, Dhis2RestoreTest};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use ledger::{Grant, Ledger};

/// Who installs.
const INSTALLER: &str = "somebody";
const SOON: Duration = Duration::from_mins(1);

#[test]
fn rights() {
    crate::tell("rights", |story| async move {
        installer(&story)?;
        install(&story)?;
        let operator = Operator::of(&story, &story.namespace);
        let mut ledger = Ledger::of(&story, &operator).await?;
        ledger.take_all().await?;
        operator.scale(2).await?;
        let instance = story.instance("play");
        a_name_is_taken(&story, &instance, &mut ledger).await?;
        ledger.until("the instance to be made", story.site.patience(), async || made(&instance).await).await?;
        drift(&story, &mut ledger).await?;
        errands(&story, &mut ledger).await?;
        sets(&story, &mut ledger).await?;
        restore(&story, &mut ledger).await?;
        change(&story, &instance, &mut ledger).await?;
        ledger.balance();
        comes_back_by_itself(&story, &instance, &mut ledger).await
    });
}

/// Somebody with the rights that docs/install.md asks for.
fn installer(story: &Story) -> Outcome {
    let text = std::fs::read_to_string(checkout("docs/install.md"))?;
    let (_, section) = text.split_once("\n### Your own namespace").ok_or("docs/install.md says nothing about one's own namespace")?;
    let (_, block) = section.split_once("```yaml\n").ok_or("docs/install.md prints no rights")?;
    let (block, _) = block.split_once("```").ok_or("the block does not end")?;
    let rights = block.replace("hmis", &story.namespace).replace("kim@example.org", INSTALLER);
    run::feed(story.site.kubectl().args(["apply", "--filename", "-"]), rights.as_bytes())?;
    Ok(())
}

/// Two of them are asked for later: the second one watches the Lease of the first.
fn install(story: &Story) -> Outcome {
    let mut values = operator::values(story, &story.namespace);
    instance::merge(&mut values, &json!({ "replicas": 0, "leaseTtl": 5 }));
    let mut helm = story.site.helm();
    helm.args(["install", RELEASE]).arg(checkout(OPERATOR_CHART));
    helm.args(["--namespace", &story.namespace, "--kube-as-user", INSTALLER, "--values", "-"]);
    run::feed(&mut helm, values.to_string().as_bytes())?;
    Ok(())
}

/// A Job of the name of the instance's first step is not the instance's.
async fn a_name_is_taken(story: &Story, instance: &Instance, ledger: &mut Ledger<'_>) -> Outcome {
    let jobs: Api<Job> = Api::namespaced(story.client.clone(), &story.namespace);
    let container = json!({ "name": "nothing", "image": "nothing" });
    let spec = json!({ "suspend": true, "template": { "spec": { "restartPolicy": "Never", "containers": [container] } } });
    let job = serde_json::from_value(json!({ "metadata": { "name": "play-database-build" }, "spec": spec }))?;
    jobs.create(&PostParams::default(), &job).await?;
    let s3 = json!({ "bucket": "sets", "endpoint": "https://s3.example.org", "credentials": { "secretName": "none" } });
    let few = json!({ "last": 1, "daily": 0, "weekly": 0, "monthly": 0, "yearly": 0 });
    let copy = json!({ "name": "away", "passwordSecretName": "none", "s3": s3 });
    instance
        .apply(&story.small_manifest("play", &json!({ "backup": { "schedule": "0 0 29 2 *", "retention": few, "copies": [copy] } })))
        .await?;
    let taken = async || Ok(says(&instance.api.get(&instance.name).await?, "NameConflict"));
    ledger.until("the operator to meet the other Job", story.site.patience(), taken).await?;
    jobs.delete("play-database-build", &DeleteParams::background()).await?;
    wait::gone(&jobs, "play-database-build", SOON).await?;
    // It tries again by itself, but the waits are long by now.
    instance.change(&json!({ "pod": { "labels": { "name": "free" } } })).await?;
    Ok(())
}

fn says(seen: &Dhis2Instance, reason: &str) -> bool {
    condition(seen, "Stalled").is_some_and(|stalled| stalled.status == "True" && stalled.reason == reason)
}

/// It serves, and has its first backup, whose Job is gone.
async fn made(instance: &Instance) -> Outcome<bool> {
    let seen = instance.api.get(&instance.name).await?;
    Ok(instance::settled(&seen) && instance::holds(&seen, "BackupHealthy"))
}

/// Somebody edits one of each kind that is kept as it should be.
async fn drift(story: &Story, ledger: &mut Ledger<'_>) -> Outcome {
    let edited = json!({ "metadata": { "labels": { "app.kubernetes.io/part-of": "somebody-else" } } });
    let kept = [
        ("", "ConfigMap", "play"),
        ("", "Service", "play"),
        ("apps", "StatefulSet", "play"),
        ("batch", "CronJob", "play-backup"),
        ("networking.k8s.io", "Ingress", "play"),
        ("networking.k8s.io", "NetworkPolicy", "play-deny"),
    ];
    for (group, kind, name) in kept {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
        let api: Api<DynamicObject> = Api::namespaced_with(story.client.clone(), &story.namespace, &resource);
        api.patch(name, &PatchParams::default(), &Patch::Merge(&edited)).await?;
    }
    let repaired = async || {
        let there = objects::list(story, &story.namespace).await?;
        Ok(!there.iter().any(|object| object.labels().get("app.kubernetes.io/part-of").is_some_and(|part| part == "somebody-else")))
    };
    ledger.until("what was edited to be as before", SOON, repaired).await
}

/// A restore that fails is told, and what it has built goes.
async fn restore(story: &Story, ledger: &mut Ledger<'_>) -> Outcome {
    let requests: Api<Dhis2Restore> = Api::namespaced(story.client.clone(), &story.namespace);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(story.client.clone(), &story.namespace);
    let spec = serde_json::from_value(json!({ "instance": "play", "set": "nothing" }))?;
    requests.create(&PostParams::default(), &Dhis2Restore::new("nothing", spec)).await?;
    let over = async || {
        let phase = requests.get("nothing").await?.status.and_then(|status| status.phase);
        Ok(phase.as_deref() == Some("Failed") && claims.get_opt("play-database-2").await?.is_none())
    };
    ledger.until("a restore to have failed", story.site.patience(), over).await
}

/// A backup and a restore test that somebody asks for come to their end, and tell it.
async fn errands(story: &Story, ledger: &mut Ledger<'_>) -> Outcome {
    let backups: Api<Dhis2Backup> = Api::namespaced(story.client.clone(), &story.namespace);
    let tests: Api<Dhis2RestoreTest> = Api::namespaced(story.client.clone(), &story.namespace);
    let spec = serde_json::from_value(json!({ "instance": "play" }))?;
    backups.create(&PostParams::default(), &Dhis2Backup::new("now", spec)).await?;
    let spec = serde_json::from_value(json!({ "instance": "play", "set": "nothing" }))?;
    tests.create(&PostParams::default(), &Dhis2RestoreTest::new("nothing", spec)).await?;
    let over = async || {
        let backup = backups.get("now").await?.status.and_then(|status| status.progress.phase);
        let test = tests.get("nothing").await?.status.and_then(|status| status.progress.phase);
        Ok(backup.as_deref() == Some("Done") && test.as_deref() == Some("Failed"))
    };
    ledger.until("a backup to be made and a test to have failed", story.site.patience(), over).await
}

/// A set of the schedule gets an object, which is kept until its set is gone as long as it says so, and goes with it.
async fn sets(story: &Story, ledger: &mut Ledger<'_>) -> Outcome {
    let backups: Api<Dhis2Backup> = Api::namespaced(story.client.clone(), &story.namespace);
    let object = async |set: &str| -> Outcome<Option<Dhis2Backup>> {
        let is_of = |object: &Dhis2Backup| object.spec.set.as_deref() == Some(set);
        Ok(backups.list(&ListParams::default()).await?.into_iter().find(is_of))
    };
    story.start("play-backup", "one")?;
    ledger.until("the object of a set", story.site.patience(), async || Ok(object("one").await?.is_some())).await?;
    let name = object("one").await?.unwrap().name_any();
    let policy = async |policy: &str| {
        let patch = json!({ "spec": { "deletionPolicy": policy } });
        backups.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await
    };
    policy("Delete").await?;
    let held = async || Ok(!backups.get(&name).await?.finalizers().is_empty());
    ledger.until("it to be kept", SOON, held).await?;
    policy("Retain").await?;
    ledger.until("it not to be kept any more", SOON, async || Ok(backups.get(&name).await?.finalizers().is_empty())).await?;
    story.start("play-backup", "two")?;
    ledger.until("it to go with its set", story.site.patience(), async || Ok(object("one").await?.is_none())).await
}

/// What goes with the instance becomes another set, policies and a copy go, and DHIS2 is restarted.
async fn change(story: &Story, instance: &Instance, ledger: &mut Ledger<'_>) -> Outcome {
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    let policies: Api<NetworkPolicy> = Api::namespaced(story.client.clone(), &story.namespace);
    let before = pods.get("play-0").await?.uid();
    let schedules: Api<CronJob> = Api::namespaced(story.client.clone(), &story.namespace);
    let spec = json!({ "deletionPolicy": "Delete", "backup": { "copies": null }, "network": { "policies": false }, "config": { "max.sessions.per_user": "5" } });
    instance.change(&spec).await?;
    let changed = async || {
        let settled = instance::settled(&instance.api.get(&instance.name).await?);
        let restarted = pods.get_opt("play-0").await?.is_some_and(|pod| pod.uid() != before);
        let left = policies.list(&ListParams::default().labels("app.kubernetes.io/instance=play")).await?;
        let copied = schedules.get_metadata_opt("play-copy-away").await?.is_some();
        Ok(settled && restarted && left.items.is_empty() && !copied)
    };
    ledger.until("the change to be carried out", story.site.patience(), changed).await
}

/// One right is taken away and given back: it is told meanwhile, and nobody has to ask the operator to go on.
async fn comes_back_by_itself(story: &Story, instance: &Instance, ledger: &mut Ledger<'_>) -> Outcome {
    let right = Grant::new("create", "configmaps", "");
    ledger.take(&right).await?;
    let configuration: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(story.client.clone(), &story.namespace);
    configuration.delete("play", &DeleteParams::default()).await?;
    let seen = instance.when("the missing right to be told", |seen| says(seen, "Forbidden")).await?;
    let told = condition(&seen, "Stalled").map(|stalled| stalled.message.clone()).unwrap_or_default();
    assert!(told.contains("ConfigMap play") && Grant::lacking(&told) == [right.clone()], "it says: {told}");
    assert!(condition(&seen, "Ready").is_some_and(|ready| ready.status == "True"), "DHIS2 serves all the while: {:?}", seen.status);
    ledger.give(&right).await?;
    wait::until(&instance.api, &instance.name, "the instance to go on", SOON, instance::settled).await?;
    let made: Value = json!(configuration.get("play").await?.data);
    assert!(made.get("dhis.conf").is_some(), "{made}");
    Ok(())
}
