//! A start that is refused, since DHIS2 would harm its data or never come up: told within a minute by its own reason, and goes on by itself
//! when the cause is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use dhis2_e2e::site::instance::{Instance, condition, holds};
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, wait};
use dhis2_operator::api::{Dhis2Instance, PAUSED};
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

/// From the start of the new pod.
const TOLD: Duration = Duration::from_mins(1);
/// DHIS2 drains for ten seconds before it ends.
const REPLACED: Duration = Duration::from_mins(2);

/// A schema that a later DHIS2 has left.
const LATER: &str = "INSERT INTO flyway_schema_history SELECT 9999, '2.99.1', 'later', 'SQL', 'V2_99_1.sql', 1, 'dhis', now(), 1, true";
const NOT_LATER: &str = "DELETE FROM flyway_schema_history WHERE installed_rank = 9999";

#[test]
fn refused_start() {
    crate::tell("refused-start", |story| async move {
        Operator::install(&story).await?;
        let instance = story.instance("play");
        // What is started at once is looked at by its own pod only.
        let spec = json!({ "backup": { "suspend": true }, "upgrade": { "backup": false } });
        instance.apply(&story.small_manifest("play", &spec)).await?;
        instance.settled().await?;
        no_such_image(&story, &instance).await?;
        another_version(&story, &instance).await?;
        story.sql("play", "DROP EXTENSION pg_trgm CASCADE")?;
        restarted(&story, &instance, "ExtensionMissing", "pg_trgm").await?;
        story.sql("play", "CREATE EXTENSION pg_trgm")?;
        instance.settled().await?;
        story.sql("play", LATER)?;
        restarted(&story, &instance, "DowngradeRefused", "2.99").await?;
        story.sql("play", NOT_LATER)?;
        instance.settled().await?;
        another_key(&story, &instance).await
    });
}

/// Deletes the pod; the next one is refused.
async fn restarted(story: &Story, instance: &Instance, reason: &str, about: &str) -> Outcome {
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    let before = pods.get("play-0").await?.metadata.uid;
    pods.delete("play-0", &DeleteParams::default()).await?;
    let is_new = |pod: &Pod| pod.metadata.uid != before;
    wait::until(&pods, "play-0", "a new pod", REPLACED, is_new).await?;
    told(story, instance, reason, about, TOLD).await
}

async fn told(story: &Story, instance: &Instance, reason: &str, about: &str, limit: Duration) -> Outcome {
    let after = instance.unready(reason, about, limit).await?;
    story.tell(&format!("{reason} after {:.1} s", after.as_secs_f32()));
    Ok(())
}

/// A version that no registry has. The database has not seen it: the way back is open.
async fn no_such_image(story: &Story, instance: &Instance) -> Outcome {
    instance.change(&json!({ "version": "2.43.77" })).await?;
    told(story, instance, "ImageUnavailable", "2.43.77", REPLACED).await?;
    instance.change(&json!({ "version": story.site.version() })).await?;
    instance.settled().await?;
    Ok(())
}

/// Somebody gave an image the tag of a version that it does not hold.
async fn another_version(story: &Story, instance: &Instance) -> Outcome {
    let Some(own) = &story.site.own else {
        story.tell("left out: an image under a wrong tag needs our own cluster's node");
        return Ok(());
    };
    let (repository, version) = (&story.site.images.dhis2, story.site.version());
    own.name_too(&format!("{repository}:{version}"), &format!("{repository}:2.43.78.0"))?;
    instance.change(&json!({ "version": "2.43.78", "upgrade": { "backup": true } })).await?;
    let blocked = |seen: &Dhis2Instance| {
        let told = condition(seen, "Stalled").filter(|told| told.reason == "UpgradeBlocked" && told.message.contains(version));
        told.is_some() && holds(seen, "Ready")
    };
    instance.when("the old version to go on, and why", blocked).await?;
    instance.change(&json!({ "upgrade": { "backup": false } })).await?;
    told(story, instance, "ImageVersionMismatch", version, REPLACED).await?;
    instance.change(&json!({ "version": version })).await?;
    instance.settled().await?;
    Ok(())
}

/// Somebody replaced the key: DHIS2 would read what it has encrypted as empty.
async fn another_key(story: &Story, instance: &Instance) -> Outcome {
    let key = instance.secret("encryption").await?;
    let other = [("password".to_owned(), ByteString(b"Another-Secret-123456789012".to_vec()))].into();
    replace(story, instance, other).await?;
    told(story, instance, "EncryptionKeyMismatch", "encryption key", REPLACED).await?;
    replace(story, instance, key.data.unwrap_or_default()).await?;
    instance.settled().await?;
    Ok(())
}

/// Replaces the key while nothing runs: a node keeps an immutable Secret as long as a pod uses it.
async fn replace(story: &Story, instance: &Instance, data: BTreeMap<String, ByteString>) -> Outcome {
    let paused = |paused: Value| Patch::Merge(json!({ "metadata": { "annotations": { PAUSED: paused } } }));
    instance.api.patch(&instance.name, &PatchParams::default(), &paused(json!("true"))).await?;
    instance.when("it to be paused", |seen| condition(seen, "Paused").is_some_and(|paused| paused.status == "True")).await?;
    let sets: Api<StatefulSet> = Api::namespaced(story.client.clone(), &story.namespace);
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    for set in ["play", "play-database"] {
        sets.patch(set, &PatchParams::default(), &Patch::Merge(json!({ "spec": { "replicas": 0 } }))).await?;
    }
    for pod in ["play-0", "play-database-0"] {
        wait::gone(&pods, pod, REPLACED).await?;
    }
    let secrets: Api<Secret> = Api::namespaced(story.client.clone(), &story.namespace);
    let old = instance.secret("encryption").await?;
    secrets.delete(&old.name_any(), &DeleteParams::default()).await?;
    let metadata = ObjectMeta {
        name: Some(old.name_any()),
        labels: old.metadata.labels,
        annotations: old.metadata.annotations,
        owner_references: old.metadata.owner_references,
        ..ObjectMeta::default()
    };
    secrets.create(&PostParams::default(), &Secret { metadata, data: Some(data), ..Secret::default() }).await?;
    instance.api.patch(&instance.name, &PatchParams::default(), &paused(Value::Null)).await?;
    Ok(())
}
