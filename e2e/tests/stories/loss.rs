//! Loss: what was made once and is gone is told and never replaced by something empty; brought back as `docs/operate.md` says, the
//! instance goes on with all its data.

use std::collections::BTreeMap;
use std::time::Duration;

use dhis2_e2e::site::data;
use dhis2_e2e::site::door::{Door, Scheme};
use dhis2_e2e::site::instance::{Instance, condition};
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, wait};
use dhis2_operator::api::{Dhis2Instance, INSTANCE, MANAGER};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret};
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

/// From the loss, or a change of the resource, until it is told.
const TOLD: Duration = Duration::from_secs(30);
/// How long something is watched not to happen.
const LONG_ENOUGH: Duration = Duration::from_secs(10);
/// A pod drains, and its volume is let go.
const GONE: Duration = Duration::from_mins(2);

#[test]
fn loss() {
    crate::tell("loss", |story| async move {
        Operator::install(&story).await?;
        let instance = story.instance("play");
        instance.apply(&story.small_manifest("play", &json!({ "deletionPolicy": "Delete" }))).await?;
        instance.settled().await?;
        instance.until("BackupHealthy").await?;
        let door = Door::new(&story.site, &instance.host);
        door.opens(Scheme::Http, TOLD).await?;
        let admin = instance.admin().await?;
        let data = data::put(&door, &admin).await?;
        let parts = Parts::of(&story);
        lost_secrets(&instance, &parts).await?;
        a_lost_volume(&instance, &parts, "play-files", "play-0").await?;
        an_empty_database(&instance, &parts).await?;
        a_foreign_object(&story).await?;
        door.opens(Scheme::Http, TOLD).await?;
        Ok(tokio::task::spawn_blocking(move || data::check(&door, &admin, &data)).await??)
    });
}

/// An object of somebody else under a name that an instance needs: told and left as it is; when it goes, the instance goes on.
async fn a_foreign_object(story: &Story) -> Outcome {
    let api: Api<ConfigMap> = Api::namespaced(story.client.clone(), &story.namespace);
    let data = BTreeMap::from([("theirs".to_owned(), "1".to_owned())]);
    let metadata = ObjectMeta { name: Some("other".to_owned()), ..ObjectMeta::default() };
    let foreign = api.create(&PostParams::default(), &ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }).await?;
    let other = story.instance("other");
    other.apply(&story.small_manifest("other", &json!({ "deletionPolicy": "Delete" }))).await?;
    stalled(&other, "NameConflict", "ConfigMap other").await?;
    tokio::time::sleep(LONG_ENOUGH).await;
    assert_eq!(api.get("other").await?.resource_version(), foreign.resource_version(), "an object of somebody else was changed");
    api.delete("other", &DeleteParams::default()).await?;
    other.when("the instance to go on", |seen| condition(seen, "Stalled").is_some_and(|stalled| stalled.status == "False")).await?;
    Ok(())
}

/// The parts of the instance, by the API of their kinds.
struct Parts {
    secrets: Api<Secret>,
    pods: Api<Pod>,
    claims: Api<PersistentVolumeClaim>,
    volumes: Api<PersistentVolume>,
}

impl Parts {
    fn of(story: &Story) -> Self {
        let client = || story.client.clone();
        Self {
            secrets: Api::namespaced(client(), &story.namespace),
            pods: Api::namespaced(client(), &story.namespace),
            claims: Api::namespaced(client(), &story.namespace),
            volumes: Api::all(client()),
        }
    }

    async fn running(&self) -> Outcome<[Option<String>; 2]> {
        Ok([self.pods.get("play-0").await?.metadata.uid, self.pods.get("play-database-0").await?.metadata.uid])
    }
}

/// A label of pods, which restarts nothing.
async fn change(instance: &Instance, team: &str) -> Outcome {
    instance.change(&json!({ "pod": { "labels": { "team": team } } })).await?;
    Ok(())
}

/// Waits until the instance is stalled for this reason and says what it is about.
async fn stalled(instance: &Instance, reason: &str, about: &str) -> Outcome {
    let told = |seen: &Dhis2Instance| {
        condition(seen, "Stalled")
            .is_some_and(|stalled| stalled.status == "True" && stalled.reason == reason && stalled.message.contains(about))
    };
    wait::until(&instance.api, &instance.name, &format!("{reason} about {about}"), TOLD, told).await?;
    Ok(())
}

/// Marks by which the operator knows an object as the instance's.
fn marks(name: &str, uid: &str) -> ObjectMeta {
    let labels = [("app.kubernetes.io/instance", "play"), ("app.kubernetes.io/managed-by", MANAGER)];
    let own = |pairs: &[(&str, &str)]| pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>();
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(own(&labels)),
        annotations: Some(own(&[(INSTANCE, uid)])),
        ..ObjectMeta::default()
    }
}

/// All of them are gone: each is told until it is back, none is made anew.
async fn lost_secrets(instance: &Instance, parts: &Parts) -> Outcome {
    let before = parts.running().await?;
    let uid = instance.api.get(&instance.name).await?.metadata.uid.unwrap_or_default();
    let mut lost = Vec::new();
    for suffix in ["admin", "backup", "database", "encryption"] {
        let secret = instance.secret(suffix).await?;
        parts.secrets.delete(&secret.name_any(), &DeleteParams::default()).await?;
        lost.push(secret);
    }
    change(instance, "without-secrets").await?;
    for (index, secret) in lost.iter().enumerate() {
        stalled(instance, "SecretLost", &secret.name_any()).await?;
        if index == 0 {
            tokio::time::sleep(LONG_ENOUGH).await;
        }
        let there: Vec<_> = parts.secrets.list_metadata(&ListParams::default()).await?.items.iter().map(ResourceExt::name_any).collect();
        assert_eq!(there.iter().filter(|name| name.starts_with("play-")).count(), index, "one was made anew: {there:?}");
        let back = Secret { metadata: marks(&secret.name_any(), &uid), data: secret.data.clone(), ..Secret::default() };
        parts.secrets.create(&PostParams::default(), &back).await?;
        // Whoever brings back the last one need not say so.
        if index + 1 < lost.len() {
            change(instance, &format!("with-{}", index + 1)).await?;
        }
    }
    instance.settled().await?;
    assert_eq!(parts.running().await?, before, "a pod was restarted for a Secret");
    Ok(())
}

/// Deletes a claim, with its pod and what else holds it, and keeps its volume.
async fn lose(instance: &Instance, parts: &Parts, claim: &str, pod: &str) -> Outcome<PersistentVolumeClaim> {
    let lost = parts.claims.get(claim).await?;
    reclaim(parts, &lost, "Retain").await?;
    parts.claims.delete(claim, &DeleteParams::default()).await?;
    parts.pods.delete(pod, &DeleteParams::default()).await?;
    // A pod that has ended holds the claims that it used.
    let ended = ListParams::default().labels("app.kubernetes.io/component=backup");
    parts.pods.delete_collection(&DeleteParams::default(), &ended).await?;
    wait::gone(&parts.claims, claim, GONE).await?;
    stalled(instance, "VolumeLost", claim).await?;
    tokio::time::sleep(LONG_ENOUGH).await;
    assert!(parts.claims.get_opt(claim).await?.is_none(), "{claim} was made anew");
    Ok(lost)
}

/// A claim of the same name and shape, for this volume or for a new one, with the marks that `docs/operate.md` names.
async fn bring_back(instance: &Instance, parts: &Parts, lost: &PersistentVolumeClaim, volume: Option<String>) -> Outcome {
    if let Some(volume) = &volume {
        // As an administrator frees a volume for another claim.
        let free = json!([{ "op": "remove", "path": "/spec/claimRef" }]);
        let patch = Patch::Json::<()>(serde_json::from_value(free)?);
        parts.volumes.patch(volume, &PatchParams::default(), &patch).await?;
    }
    let uid = instance.api.get(&instance.name).await?.metadata.uid.unwrap_or_default();
    let spec = lost.spec.clone().map(|spec| k8s_openapi::api::core::v1::PersistentVolumeClaimSpec { volume_name: volume, ..spec });
    let claim = PersistentVolumeClaim { metadata: marks(&lost.name_any(), &uid), spec, ..PersistentVolumeClaim::default() };
    parts.claims.create(&PostParams::default(), &claim).await?;
    Ok(())
}

/// What becomes of a volume when its claim goes.
async fn reclaim(parts: &Parts, claim: &PersistentVolumeClaim, policy: &str) -> Outcome {
    let patch = json!({ "spec": { "persistentVolumeReclaimPolicy": policy } });
    parts.volumes.patch(&volume_of(claim).unwrap_or_default(), &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}

fn volume_of(claim: &PersistentVolumeClaim) -> Option<String> {
    claim.spec.as_ref()?.volume_name.clone()
}

async fn a_lost_volume(instance: &Instance, parts: &Parts, claim: &str, pod: &str) -> Outcome {
    let lost = lose(instance, parts, claim, pod).await?;
    bring_back(instance, parts, &lost, volume_of(&lost)).await?;
    instance.change(&json!({ "adopt": true })).await?;
    instance.settled().await?;
    reclaim(parts, &lost, "Delete").await?;
    instance.change(&json!({ "adopt": false })).await?;
    instance.settled().await?;
    Ok(())
}

/// Somebody puts an empty volume in the place of the database's and says that it is right: it is not started all the same.
async fn an_empty_database(instance: &Instance, parts: &Parts) -> Outcome {
    let (claim, pod) = ("play-database", "play-database-0");
    let lost = lose(instance, parts, claim, pod).await?;
    bring_back(instance, parts, &lost, None).await?;
    instance.change(&json!({ "adopt": true })).await?;
    stalled(instance, "VolumeUnmarked", "").await?;
    instance.change(&json!({ "adopt": false })).await?;
    parts.claims.delete(claim, &DeleteParams::default()).await?;
    parts.pods.delete(pod, &DeleteParams::default()).await?;
    wait::gone(&parts.claims, claim, GONE).await?;
    bring_back(instance, parts, &lost, volume_of(&lost)).await?;
    instance.change(&json!({ "adopt": true })).await?;
    instance.settled().await?;
    reclaim(parts, &lost, "Delete").await
}
