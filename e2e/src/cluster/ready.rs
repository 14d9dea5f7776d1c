//! Waits for a cluster to be whole: asked through its API, and believed only what is newer than its start.

use std::path::Path;
use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Config};

use super::network::NODE;

/// Why it can't be told whether a cluster is whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig.
    #[error("read the kubeconfig")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// The client.
    #[error("make a client")]
    Client(#[from] kube::Error),
    /// It took too long.
    #[error("{what}: not after {} s", limit.as_secs())]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// A watch ended.
    #[error("watch {0}")]
    Watch(String),
}

/// A client for a kubeconfig file. Its calls are not retried behind our back.
pub async fn client(kubeconfig: &Path) -> Result<Client, Error> {
    let file = Kubeconfig::read_from(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

/// Waits until the API server says that it is ready.
pub async fn api(kubeconfig: &Path, limit: Duration) -> Result<Client, Error> {
    let client = client(kubeconfig).await?;
    let ask = async {
        // Nothing announces that a server will listen soon: it is asked.
        while !answers(&client).await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within("the API server", limit, ask).await?;
    Ok(client)
}

async fn answers(client: &Client) -> bool {
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else {
        return false;
    };
    let answer = tokio::time::timeout(Duration::from_secs(2), client.request_text(request));
    matches!(answer.await, Ok(Ok(_)))
}

/// Waits until the node is Ready, as its kubelet said after `since`.
pub async fn node(client: &Client, since: Timestamp, limit: Duration) -> Result<(), Error> {
    let is_ready = |node: &Node| {
        let conditions = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
        conditions.filter(|c| c.type_ == "Ready" && c.status == "True").any(|c| c.last_heartbeat_time.as_ref().is_some_and(|t| t.0 > since))
    };
    until("the node", Api::all(client.clone()), NODE_FIELD, limit, is_ready).await
}

const NODE_FIELD: Selector = Selector::Name(NODE);

/// Waits until a pod with this label runs and is Ready, in a container that started after `since`.
pub async fn pod(client: &Client, namespace: &str, label: &'static str, since: Timestamp, limit: Duration) -> Result<(), Error> {
    let is_ready = |pod: &Pod| {
        let containers = pod.status.iter().flat_map(|s| s.container_statuses.iter().flatten());
        containers.filter(|c| c.ready).any(|c| {
            let running = c.state.as_ref().and_then(|s| s.running.as_ref());
            let started = running.and_then(|r| r.started_at.as_ref());
            started.is_some_and(|t| t.0 > since)
        })
    };
    let pods = Api::namespaced(client.clone(), namespace);
    until(label, pods, Selector::Label(label), limit, is_ready).await
}

enum Selector {
    Name(&'static str),
    Label(&'static str),
}

async fn until<K>(what: &str, api: Api<K>, selector: Selector, limit: Duration, is_ready: impl Fn(&K) -> bool) -> Result<(), Error>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let config = match selector {
        Selector::Name(name) => watcher::Config::default().fields(&format!("metadata.name={name}")),
        Selector::Label(label) => watcher::Config::default().labels(label),
    };
    let found = async {
        let mut objects = std::pin::pin!(watcher(api, config).default_backoff().applied_objects());
        loop {
            match objects.try_next().await {
                Ok(Some(object)) if is_ready(&object) => return Ok(()),
                // A watch that broke is resumed by the next poll.
                Ok(Some(_)) | Err(_) => {}
                Ok(None) => return Err(Error::Watch(what.to_owned())),
            }
        }
    };
    within(what, limit, found).await?
}

async fn within<T>(what: &str, limit: Duration, future: impl Future<Output = T>) -> Result<T, Error> {
    tokio::time::timeout(limit, future).await.map_err(|_| Error::Late { what: what.to_owned(), limit })
}
