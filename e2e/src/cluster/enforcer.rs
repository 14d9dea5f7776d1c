//! Keeps the node's nftables table as the cluster's NetworkPolicies want it.

use std::path::Path;
use std::process::Command;

use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::runtime::reflector::Store;
use kube::runtime::watcher::{self, watcher};
use kube::runtime::{WatchStreamExt, reflector};
use kube::{Api, Client, ResourceExt};

use super::policy::{Cluster, Endpoint};
use super::{ready, run};

/// As many changes as come at once are taken together.
const TOGETHER: usize = 1024;

/// Enforces for ever.
pub async fn enforce(kubeconfig: &Path) -> Result<(), ready::Error> {
    let client = ready::client(kubeconfig).await?;
    let (pods, pod_changes) = watch::<Pod>(&client);
    let (namespaces, namespace_changes) = watch::<Namespace>(&client);
    let (policies, policy_changes) = watch::<NetworkPolicy>(&client);
    let changes = stream::select_all([pod_changes, namespace_changes, policy_changes]);
    let mut changes = std::pin::pin!(changes.ready_chunks(TOGETHER));
    let mut loaded = String::new();
    while changes.next().await.is_some() {
        let table = cluster(&pods, &namespaces, &policies).table();
        if table == loaded {
            continue;
        }
        match run::feed(Command::new("nft").args(["-f", "-"]), table.as_bytes()) {
            Ok(_) => loaded = table,
            Err(e) => eprintln!("load the table: {e}\n{table}"),
        }
    }
    Ok(())
}

type Changes = std::pin::Pin<Box<dyn Stream<Item = ()> + Send>>;

fn watch<K>(client: &Client) -> (Store<K>, Changes)
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store();
    let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default());
    // A watch that broke is resumed; there is nothing to enforce in its error.
    let changes = events.default_backoff().reflect(writer).map(drop);
    (store, changes.boxed())
}

fn cluster(
    pods: &Store<Pod>,
    namespaces: &Store<Namespace>,
    policies: &Store<NetworkPolicy>,
) -> Cluster {
    let pods = pods.state();
    let mut endpoints: Vec<_> = pods.iter().filter_map(|pod| Endpoint::new(pod)).collect();
    endpoints.sort_by(|a, b| a.address().cmp(b.address()));
    let mut policies: Vec<_> = policies.state().iter().map(|p| (**p).clone()).collect();
    policies.sort_by_key(|p| (p.namespace(), p.name_any()));
    let namespaces = namespaces.state();
    let labels = namespaces
        .iter()
        .map(|n| (n.name_any(), n.labels().clone()));
    Cluster {
        endpoints,
        namespaces: labels.collect(),
        policies,
    }
}
