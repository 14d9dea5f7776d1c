//! Pressure: a node runs out of memory and evicts pods. It is told, nothing is lost, and it goes on by itself when there is memory again.

use std::time::Duration;

use dhis2_e2e::site::door::{Door, Scheme};
use dhis2_e2e::site::operator::{self, Operator};
use dhis2_e2e::site::{Outcome, Story, data, instance, wait};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::json;

/// The kubelet evicts one pod every ten seconds.
const EVICTED: Duration = Duration::from_mins(2);
/// From the eviction on.
const TOLD: Duration = Duration::from_secs(30);
const BACK: Duration = Duration::from_mins(2);

#[test]
#[ignore = "evicts all pods of a cluster of its own: make e2e-long"]
fn pressure() {
    crate::tell_alone("pressure", |story| async move {
        let mut values = operator::values(&story, &story.namespace);
        // On a single node it would be evicted as well, and tell nothing.
        instance::merge(&mut values, &json!({ "priorityClassName": "system-cluster-critical" }));
        Operator::install_in(&story, &story.operator_namespace(), &values).await?;
        let instance = story.instance("play");
        instance.apply(&story.manifest("play", &json!({ "backup": { "suspend": true } }))).await?;
        instance.settled().await?;
        let (door, admin) = (Door::new(&story.site, &instance.host), instance.admin().await?);
        door.opens(Scheme::Http, BACK).await?;
        let before = data::put(&door, &admin).await?;
        let own = story.site.own.as_ref().ok_or("only our own cluster's kubelet can be set")?;
        own.evict_below(99)?;
        evicted(&story).await?;
        let after = instance.unready("Unschedulable", "taint", TOLD).await?;
        story.tell(&format!("told {:.1} s after the eviction", after.as_secs_f32()));
        own.evict_below(1)?;
        instance.settled().await?;
        data::is_there(&door, &admin, &before).await
    });
}

/// Waits until one of the two servers has no node.
async fn evicted(story: &Story) -> Outcome {
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    let homeless = async || {
        for name in ["play-0", "play-database-0"] {
            let pod = pods.get_opt(name).await.map_err(|error| error.to_string())?;
            if pod.is_some_and(|pod| pod.spec.is_some_and(|spec| spec.node_name.is_none())) {
                return Ok(());
            }
        }
        Err("both have a node".to_owned())
    };
    Ok(wait::ask("a server to be evicted", EVICTED, homeless).await?)
}
