//! The instance and the volumes of its data are gone; what `deletionPolicy: Retain` keeps of the rest is there.

use std::time::Duration;

use dhis2_e2e::site::data::{self, Data};
use dhis2_e2e::site::door::{Door, Scheme};
use dhis2_e2e::site::instance::Instance;
use dhis2_e2e::site::{Outcome, Story, wait};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};

const GONE: Duration = Duration::from_mins(3);
const NOTICED: Duration = Duration::from_secs(20);

/// Takes the instance away with the volumes of database and files. Returns the resource, to be applied again.
pub async fn strike(story: &Story, instance: &Instance) -> Outcome<Value> {
    let manifest = story.small_manifest(&instance.name, &json!({ "adopt": true }));
    instance.api.delete(&instance.name, &DeleteParams::default()).await?;
    wait::gone(&instance.api, &instance.name, GONE).await?;
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    for pod in ["play-0", "play-database-0"] {
        wait::gone(&pods, pod, GONE).await?;
    }
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(story.client.clone(), &story.namespace);
    for claim in ["play-database", "play-files"] {
        claims.delete(claim, &DeleteParams::default()).await?;
        wait::gone(&claims, claim, GONE).await?;
    }
    Ok(manifest)
}

/// Applied again with `adopt`, it serves, on an empty database.
pub async fn begin_anew(instance: &Instance, manifest: &Value, door: &Door, data: &Data) -> Outcome {
    instance.apply(manifest).await?;
    instance.settled().await?;
    door.opens(Scheme::Http, NOTICED).await?;
    let admin = instance.admin().await?;
    assert!(data::check(door, &admin, data).is_err(), "the data is there already: nothing was lost");
    Ok(())
}

/// The data is there, and backups go on.
pub async fn is_overcome(story: &Story, instance: &Instance, door: &Door, data: &Data) -> Outcome {
    let admin = instance.admin().await?;
    door.opens(Scheme::Http, NOTICED).await?;
    wait::ask("the data, back through the door", NOTICED, async || data::check(door, &admin, data)).await?;
    super::scheduled_backup(story, instance, "afterwards").await?;
    Ok(())
}
