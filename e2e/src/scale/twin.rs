//! The twin: an operator for the same objects by the usual recipe of kube: a `Controller` that owns every kind, and server-side apply of
//! each object and of the status at each pass. What a competent team would have built; it is there to be compared with.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use dhis2_operator::api::Dhis2Instance;
use dhis2_operator::operator::desired::{Policy, Wanted};
use dhis2_operator::operator::settings::Settings;
use futures::StreamExt;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::runtime::controller::{Action, Config};
use kube::runtime::{Controller, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::{children, raw, stand};
use crate::site::Outcome;

/// As many instances at a time as the operator.
const CONCURRENCY: u16 = 8;

/// Everybody looks again now and then.
const RESYNC: Duration = Duration::from_mins(10);

const MANAGER: &str = "twin";

struct Context {
    client: Client,
    settings: Settings,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("render: {0}")]
    Render(String),
    #[error("the API server: {0}")]
    Api(#[from] kube::Error),
}

/// Looks after all instances of a cluster, until it is ended.
///
/// # Errors
/// When there is no cluster.
pub async fn run(settings: Settings) -> Outcome {
    let client = raw::client().await?;
    let any = watcher::Config::default;
    println!("{}", stand::READY);
    std::io::stdout().flush()?;
    Controller::new(Api::<Dhis2Instance>::all(client.clone()), any())
        .owns(Api::<Secret>::all(client.clone()), any())
        .owns(Api::<ConfigMap>::all(client.clone()), any())
        .owns(Api::<PersistentVolumeClaim>::all(client.clone()), any())
        .owns(Api::<Service>::all(client.clone()), any())
        .owns(Api::<NetworkPolicy>::all(client.clone()), any())
        .owns(Api::<StatefulSet>::all(client.clone()), any())
        .owns(Api::<Job>::all(client.clone()), any())
        .owns(Api::<CronJob>::all(client.clone()), any())
        .owns(Api::<Ingress>::all(client.clone()), any())
        .with_config(Config::default().concurrency(CONCURRENCY))
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_secs(5)), Arc::new(Context { client, settings }))
        .for_each(|pass| async move {
            if let Err(error) = pass {
                eprintln!("{error}");
            }
        })
        .await;
    Ok(())
}

async fn reconcile(resource: Arc<Dhis2Instance>, context: Arc<Context>) -> Result<Action, Error> {
    let namespace = resource.namespace().unwrap_or_default();
    let wanted = children::wanted(&resource, &context.settings).map_err(|error| Error::Render(error.to_string()))?;
    for wish in &wanted {
        bring(&context.client, &namespace, wish).await?;
    }
    let api: Api<Dhis2Instance> = Api::namespaced(context.client.clone(), &namespace);
    api.patch_status(&resource.name_any(), &PatchParams::apply(MANAGER).force(), &Patch::Apply(status(&resource, &wanted))).await?;
    Ok(Action::requeue(RESYNC))
}

async fn bring(client: &Client, namespace: &str, wish: &Wanted) -> Result<(), Error> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &wish.kind.resource());
    // Whose content is generated must not be generated again.
    let generated = matches!(wish.policy, Policy::Generate(_));
    if generated && api.get_opt(&wish.name).await?.is_some() {
        return Ok(());
    }
    let object = children::sent(wish).map_err(|error| Error::Render(error.to_string()))?;
    api.patch(&wish.name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&object)).await?;
    Ok(())
}

/// A condition whose time changes only with it, and the names of what was made, since the next one would ask for them.
fn status(resource: &Dhis2Instance, wanted: &[Wanted]) -> Value {
    let known = resource.status.iter().flat_map(|status| &status.conditions).find(|condition| condition.type_ == "Ready");
    let since = known.map_or_else(|| Timestamp::now().to_string(), |condition| condition.last_transition_time.0.to_string());
    json!({
        "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance",
        "metadata": { "name": resource.name_any(), "namespace": resource.namespace() },
        "status": {
            "observedGeneration": resource.metadata.generation,
            "conditions": [{
                "type": "Ready", "status": "False", "reason": "Building", "message": format!("{} objects", wanted.len()),
                "lastTransitionTime": since, "observedGeneration": resource.metadata.generation
            }]
        }
    })
}
