//! The drill: nothing of the instance is left in the cluster, and whoever has the address of the repository and its key has it back as it
//! was, with `docs/recover.md` in the hand.

use std::time::{Duration, Instant};

use dhis2_e2e::cluster::run;
use dhis2_e2e::site::bucket::Bucket;
use dhis2_e2e::site::data;
use dhis2_e2e::site::instance::{Instance, condition, holds};
use dhis2_e2e::site::{Outcome, Story, checkout, wait};
use dhis2_operator::api::{Dhis2Instance, KEY_EXPORTED};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::backup;

const LIMIT: Duration = Duration::from_mins(3);

/// What is in the safe.
pub struct Safe {
    key: String,
}

impl Safe {
    /// The key of the repository, as the documents say that it is read.
    pub async fn of(instance: &Instance) -> Outcome<Self> {
        let secret = instance.secret("backup").await?;
        let key = secret.data.as_ref().and_then(|data| data.get("password")).ok_or("Secret play-backup has no password")?;
        Ok(Self { key: String::from_utf8(key.0.clone())? })
    }

    /// The resource tells whether it can be brought back, and remembers who has said so.
    pub async fn is_told(&self, instance: &Instance) -> Outcome {
        let digest = data::digest("", self.key.as_bytes());
        for (known, reason) in [("0123456789abcdef", "KeyNotExported"), (digest.get(..16).unwrap_or_default(), "Done")] {
            let patch = json!({ "metadata": { "annotations": { (KEY_EXPORTED): known } } });
            instance.api.patch(&instance.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
            let told = |seen: &Dhis2Instance| condition(seen, "Recoverable").is_some_and(|told| told.reason == reason);
            instance.when(&format!("Recoverable for {reason}"), told).await?;
        }
        Ok(())
    }
}

/// Nothing of it is left but the bucket.
pub async fn everything_is_lost(story: &Story, instance: &Instance) -> Outcome {
    instance.change(&json!({ "deletionPolicy": "Delete" })).await?;
    instance.settled().await?;
    instance.api.delete("play", &DeleteParams::default()).await?;
    wait::gone(&instance.api, "play", LIMIT).await?;
    let secrets: Api<Secret> = Api::namespaced(story.client.clone(), &story.namespace);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(story.client.clone(), &story.namespace);
    let left = async || -> Result<(), String> {
        let mut names = Vec::new();
        for secret in secrets.list(&ListParams::default()).await.map_err(|error| error.to_string())? {
            names.push(secret.name_any());
        }
        names.extend(claims.list(&ListParams::default()).await.map_err(|error| error.to_string())?.iter().map(ResourceExt::name_any));
        names.retain(|name| name.starts_with("play"));
        if names.is_empty() { Ok(()) } else { Err(format!("{names:?} are left")) }
    };
    Ok(wait::ask("all of it to go", LIMIT, left).await?)
}

/// By the documents, with what is in the safe.
pub async fn one_key_brings_it_back(story: &Story, safe: &Safe, instance: &Instance, bucket: &Bucket) -> Outcome {
    let begun = Instant::now();
    let secrets: Api<Secret> = Api::namespaced(story.client.clone(), &story.namespace);
    let secret = json!({ "metadata": { "name": "play-backup" }, "stringData": { "password": safe.key } });
    secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    pods.create(&PostParams::default(), &serde_json::from_value(example(story)?)?).await?;
    let ready = |pod: &Pod| {
        let conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    wait::until(&pods, "recover", "the pod to recover from", LIMIT, ready).await?;
    let mut kubectl = story.site.kubectl();
    kubectl.args(["--namespace", &story.namespace, "exec", "recover", "-c", "recover", "--", "/agent/dhis2-agent"]);
    kubectl.args(["--report", "/tmp/report", "recover", "--read-only", "--s3-path-style", "--s3-ca", "--s3"]);
    let printed = run::output(kubectl.arg(bucket.url(&format!("{}/play", story.namespace))))?;
    pods.delete("recover", &DeleteParams::default()).await?;
    let mut kubectl = story.site.kubectl();
    run::feed(kubectl.args(["--namespace", &story.namespace, "apply", "--filename", "-"]), printed.as_bytes())?;
    instance.settled().await?;
    story.tell(&format!("all of it was back from the bucket and its key after {:.1} s", begun.elapsed().as_secs_f32()));
    let seen = instance.api.get("play").await?;
    assert!(holds(&seen, "DataLoaded"), "{:?}", seen.status.and_then(|status| status.bootstrap));
    Ok(())
}

/// The example, with the images of the story.
fn example(story: &Story) -> Outcome<Value> {
    let mut pod: Value = serde_yaml::from_str(&std::fs::read_to_string(checkout("examples/recover.yaml"))?)?;
    pod["spec"]["initContainers"][0]["image"] = json!(story.site.images.operator);
    pod["spec"]["containers"][0]["image"] = json!(story.site.images.postgres);
    Ok(pod)
}

/// The repository is the instance's again: its sets go on in it.
pub async fn backups_go_on(story: &Story, instance: &Instance) -> Outcome {
    story.start("play-backup", "afterwards")?;
    let made = |set: &str| set == "afterwards";
    let seen = instance.when("a set of afterwards", |seen| backup(seen).last.is_some_and(|last| made(&last.set))).await?;
    assert!(backup(&seen).sets.is_some_and(|sets| sets > 2), "it is alone in the repository: {:?}", backup(&seen));
    Ok(())
}
