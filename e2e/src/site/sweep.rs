//! Namespaces that runs which were killed left behind.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client, ResourceExt};

use super::{Error, wait};

/// Label of every namespace of a story, with the name of the run.
pub const RUN: &str = "dhis2.hosting/e2e";

/// So old is no run: on a cluster that others use too, a younger namespace may be another run's.
const DEAD: SignedDuration = SignedDuration::from_hours(2);

const LIMIT: Duration = Duration::from_mins(3);

/// Deletes them. On our own cluster no other run is alive, since each holds the cluster's lock.
///
/// # Errors
/// When the API server does not let us, or one does not go.
pub async fn sweep(client: &Client, own: bool) -> Result<(), Error> {
    let api: Api<Namespace> = Api::all(client.clone());
    let now = Timestamp::now();
    let is_dead = |namespace: &Namespace| {
        let made = namespace.creation_timestamp();
        own || made.is_some_and(|made| now.duration_since(made.0) > DEAD)
    };
    let left = api.list(&ListParams::default().labels(RUN)).await?;
    let mut going = Vec::new();
    for namespace in left.iter().filter(|namespace| is_dead(namespace)) {
        eprintln!("sweep what a run left: namespace {}", namespace.name_any());
        api.delete(&namespace.name_any(), &DeleteParams::default()).await?;
        going.push(namespace.name_any());
    }
    for name in going {
        if let Err(error) = wait::gone(&api, &name, LIMIT).await {
            // It takes nothing from the stories of this run but room.
            eprintln!("{}", super::chain(&error));
        }
    }
    Ok(())
}
