//! Keeps the node's nftables table as the cluster's network policies want it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::gate::{Announcement, SOCKET};
use super::policy::{Cluster, Endpoint};
use super::{ready, run};

/// As many changes as come at once are taken together.
const TOGETHER: usize = 1024;

/// Why nothing is enforced.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client.
    #[error(transparent)]
    Client(#[from] ready::Error),
    /// The socket that new pods are announced on.
    #[error("listen on {SOCKET}")]
    Listen(#[source] io::Error),
}

/// Something to enforce may be different now.
enum Change {
    Object,
    /// A pod that waits for its policies.
    Pod(Announcement, UnixStream),
}

/// Enforces for ever.
pub async fn enforce(kubeconfig: &Path) -> Result<(), Error> {
    let client = ready::client(kubeconfig).await?;
    let (pods, pod_changes) = watch::<Pod>(&client);
    let (namespaces, namespace_changes) = watch::<Namespace>(&client);
    let (policies, policy_changes) = watch::<NetworkPolicy>(&client);
    let changes = [pod_changes, namespace_changes, policy_changes, announcements()?];
    let mut changes = std::pin::pin!(stream::select_all(changes).ready_chunks(TOGETHER));
    let mut table = Table::default();
    let (mut is_complete, mut waiting) = (false, Vec::new());
    while let Some(chunk) = changes.next().await {
        for change in chunk {
            if let Change::Pod(pod, stream) = change {
                table.announced.insert((pod.namespace.clone(), pod.name.clone()), pod.address.clone());
                waiting.push((pod, stream));
            }
        }
        is_complete = is_complete || all_known(&pods, &namespaces, &policies);
        if is_complete && table.load(&pods, &namespaces, &policies) {
            waiting = answer(waiting, &pods).await;
        }
    }
    Ok(())
}

fn all_known(pods: &Store<Pod>, namespaces: &Store<Namespace>, policies: &Store<NetworkPolicy>) -> bool {
    let known =
        [pods.wait_until_ready().now_or_never(), namespaces.wait_until_ready().now_or_never(), policies.wait_until_ready().now_or_never()];
    known.iter().all(|k| matches!(k, Some(Ok(()))))
}

/// Tells pods that may start; returns those that the watch has not shown yet.
async fn answer(waiting: Vec<(Announcement, UnixStream)>, pods: &Store<Pod>) -> Vec<(Announcement, UnixStream)> {
    let mut unseen = Vec::new();
    for (pod, mut stream) in waiting {
        if pods.get(&ObjectRef::new(&pod.name).within(&pod.namespace)).is_some() {
            // A plugin that has gone is called again by the kubelet.
            let _ = stream.write_all(b"enforced\n").await;
        } else {
            unseen.push((pod, stream));
        }
    }
    unseen
}

fn announcements() -> Result<BoxStream<'static, Change>, Error> {
    // One that was killed leaves its socket.
    let _ = fs::remove_file(SOCKET);
    let listener = UnixListener::bind(SOCKET).map_err(Error::Listen)?;
    let read = async |stream: UnixStream| {
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        lines.read_line(&mut line).await.ok()?;
        let pod = serde_json::from_str(&line).ok()?;
        Some(Change::Pod(pod, lines.into_inner()))
    };
    let accepted = stream::unfold(listener, async |listener| {
        let accepted = listener.accept().await;
        Some((accepted.ok().map(|(stream, _)| stream), listener))
    });
    Ok(accepted.filter_map(async |s| s).filter_map(read).boxed())
}

fn watch<K>(client: &Client) -> (Store<K>, BoxStream<'static, Change>)
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default());
    // A watch that broke is resumed; there is nothing to enforce in its error.
    let changes = events.default_backoff().reflect(writer).map(|_| Change::Object);
    (store, changes.boxed())
}

#[derive(Default)]
struct Table {
    loaded: String,
    /// Addresses by namespace and name, from before the kubelet tells them.
    announced: BTreeMap<(String, String), String>,
}

impl Table {
    /// Loads the table if it is another one; says whether the kernel has it.
    fn load(&mut self, pods: &Store<Pod>, namespaces: &Store<Namespace>, policies: &Store<NetworkPolicy>) -> bool {
        let pods = pods.state();
        let mut endpoints: Vec<_> = pods.iter().filter_map(|pod| self.endpoint(pod)).collect();
        endpoints.sort_by(|a, b| a.address().cmp(b.address()));
        let mut policies: Vec<_> = policies.state().iter().map(|p| (**p).clone()).collect();
        policies.sort_by_key(|p| (p.namespace(), p.name_any()));
        let namespaces = namespaces.state();
        let labels = namespaces.iter().map(|n| (n.name_any(), n.labels().clone()));
        let cluster = Cluster { endpoints, namespaces: labels.collect(), policies };
        let table = cluster.table();
        if table != self.loaded {
            let loaded = run::feed(Command::new("nft").args(["-f", "-"]), table.as_bytes());
            if let Err(e) = loaded {
                eprintln!("load the table: {e}\n{table}");
                return false;
            }
            self.loaded = table;
        }
        true
    }

    /// The kubelet's word counts once it is the announced one.
    fn endpoint(&mut self, pod: &Pod) -> Option<Endpoint> {
        let key = (pod.namespace()?, pod.name_any());
        let told = pod.status.as_ref().and_then(|s| s.pod_ip.as_ref());
        if let Some(announced) = self.announced.get(&key) {
            if told != Some(announced) {
                return Endpoint::at(pod, announced);
            }
            self.announced.remove(&key);
        }
        Endpoint::at(pod, told?)
    }
}
