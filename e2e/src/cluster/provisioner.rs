//! Gives claims of the class `standard` their volumes: makes them on first use, grows them, removes them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::Controller;
use kube::runtime::controller::Action;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::network::NODE;
use super::ready;
use super::volumes::{self, Volumes};

const PROVISIONER: &str = "dhis2-cluster/xfs";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// Why a claim has no volume yet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API.
    #[error("ask the API server")]
    Api(#[from] kube::Error),
    /// The volume.
    #[error(transparent)]
    Volume(#[from] volumes::Error),
    /// The object that would be written.
    #[error("describe the volume")]
    Object(#[from] serde_json::Error),
    /// A size that is none.
    #[error("{0:?} is no size")]
    Size(String),
}

struct Context {
    client: Client,
    volumes: Volumes,
}

/// Serves claims for ever.
pub async fn serve(kubeconfig: &Path, folder: &Path) -> Result<(), ready::Error> {
    let client = ready::client(kubeconfig).await?;
    let context = Arc::new(Context { client: client.clone(), volumes: Volumes::new(folder) });
    let claims = Controller::new(Api::<PersistentVolumeClaim>::all(client.clone()), watcher::Config::default()).run(
        serve_claim,
        again,
        context.clone(),
    );
    let volumes = Controller::new(Api::<PersistentVolume>::all(client), watcher::Config::default()).run(serve_volume, again, context);
    let claims = claims.filter_map(async |outcome| outcome.err().map(|e| told(&e)));
    let volumes = volumes.filter_map(async |outcome| outcome.err().map(|e| told(&e)));
    stream::select(claims, volumes).for_each(async |error| eprintln!("{error}")).await;
    Ok(())
}

/// Some errors of the client tell their cause themselves, some do not.
fn told(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        let more = e.to_string();
        if !told.contains(&more) {
            told = format!("{told}: {more}");
        }
        cause = e.source();
    }
    told
}

fn again<K>(_: Arc<K>, _: &Error, _: Arc<Context>) -> Action {
    Action::requeue(Duration::from_secs(1))
}

async fn serve_claim(claim: Arc<PersistentVolumeClaim>, context: Arc<Context>) -> Result<Action, Error> {
    let annotation = |name: &str| claim.annotations().get(name).map(String::as_str);
    let is_ours = annotation("volume.kubernetes.io/storage-provisioner") == Some(PROVISIONER);
    if is_ours && claim.metadata.deletion_timestamp.is_none() {
        let bound = claim.spec.as_ref().is_some_and(|s| s.volume_name.is_some());
        if bound {
            grow(&claim, &context).await?;
        } else if annotation("volume.kubernetes.io/selected-node") == Some(NODE) {
            provision(&claim, &context).await?;
        }
    }
    Ok(Action::await_change())
}

fn name(claim: &PersistentVolumeClaim) -> String {
    format!("pvc-{}", claim.uid().unwrap_or_default())
}

fn wanted(claim: &PersistentVolumeClaim) -> Result<(Quantity, u64), Error> {
    let resources = claim.spec.as_ref().and_then(|s| s.resources.as_ref());
    let storage = resources.and_then(|r| r.requests.as_ref()?.get("storage"));
    let size = storage.cloned().unwrap_or_default();
    let bytes = bytes(&size)?;
    Ok((size, bytes))
}

fn bytes(quantity: &Quantity) -> Result<u64, Error> {
    let text = quantity.0.as_str();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale: u64 = match text.get(digits.len()..) {
        Some("") => 1,
        Some("k") => 1000,
        Some("M") => 1000_u64.pow(2),
        Some("G") => 1000_u64.pow(3),
        Some("T") => 1000_u64.pow(4),
        Some("Ki") => 1 << 10,
        Some("Mi") => 1 << 20,
        Some("Gi") => 1 << 30,
        Some("Ti") => 1 << 40,
        _ => return Err(Error::Size(text.to_owned())),
    };
    let number: u64 = digits.parse().map_err(|_| Error::Size(text.to_owned()))?;
    Ok(number.saturating_mul(scale))
}

async fn provision(claim: &PersistentVolumeClaim, context: &Context) -> Result<(), Error> {
    let (size, bytes) = wanted(claim)?;
    let name = name(claim);
    context.volumes.make(&name, bytes)?;
    let spec = claim.spec.as_ref();
    let volume = serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": {PROVISIONED_BY: PROVISIONER}},
        "spec": {
            "capacity": {"storage": size},
            "accessModes": spec.and_then(|s| s.access_modes.clone()),
            "storageClassName": spec.and_then(|s| s.storage_class_name.clone()),
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": claim.namespace(),
                "name": claim.name_any(),
                "uid": claim.uid(),
            },
            "local": {"path": context.volumes.target(&name)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]},
            ]}]}},
        },
    }))?;
    let volumes = Api::<PersistentVolume>::all(context.client.clone());
    match volumes.create(&PostParams::default(), &volume).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        created => Ok(created.map(drop)?),
    }
}

/// The volume first, then the claim's status: who sees the new size may use it.
async fn grow(claim: &PersistentVolumeClaim, context: &Context) -> Result<(), Error> {
    let (size, wanted) = wanted(claim)?;
    let capacity = claim.status.as_ref().and_then(|s| s.capacity.as_ref()?.get("storage"));
    let now = capacity.map_or(Ok(u64::MAX), bytes)?;
    if wanted <= now {
        return Ok(());
    }
    let name = name(claim);
    context.volumes.grow(&name, wanted)?;
    let capacity = json!({"capacity": {"storage": size}});
    Api::<PersistentVolume>::all(context.client.clone())
        .patch(&name, &PatchParams::default(), &Patch::Merge(json!({"spec": capacity})))
        .await?;
    let namespace = claim.namespace().unwrap_or_default();
    Api::<PersistentVolumeClaim>::namespaced(context.client.clone(), &namespace)
        .patch_status(&claim.name_any(), &PatchParams::default(), &Patch::Merge(json!({"status": capacity})))
        .await?;
    Ok(())
}

async fn serve_volume(volume: Arc<PersistentVolume>, context: Arc<Context>) -> Result<Action, Error> {
    let is_ours = volume.annotations().get(PROVISIONED_BY).is_some_and(|p| p == PROVISIONER);
    let phase = volume.status.as_ref().and_then(|s| s.phase.as_deref());
    let policy = volume.spec.as_ref();
    let policy = policy.and_then(|s| s.persistent_volume_reclaim_policy.as_deref());
    if is_ours && phase == Some("Released") && policy == Some("Delete") {
        let name = volume.name_any();
        context.volumes.remove(&name)?;
        let volumes = Api::<PersistentVolume>::all(context.client.clone());
        match volumes.delete(&name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            deleted => drop(deleted?),
        }
    }
    Ok(Action::await_change())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_kubernetes_writes_them() {
        let read = |text: &str| bytes(&Quantity(text.to_owned())).ok();
        assert_eq!(read("1Gi"), Some(1 << 30));
        assert_eq!(read("500M"), Some(500_000_000));
        assert_eq!(read("4096"), Some(4096));
        assert_eq!(read("1.5Gi"), None);
        assert_eq!(read("lots"), None);
    }
}
