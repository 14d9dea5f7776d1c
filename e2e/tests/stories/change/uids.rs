//! Which pods there were.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};

/// The uids that pods had while it watched, by name.
pub struct Uids(tokio::task::JoinHandle<()>, Arc<Mutex<BTreeMap<String, Vec<String>>>>);

impl Uids {
    /// Begins to watch.
    pub fn watch(pods: &Api<Pod>) -> Self {
        let seen = Arc::new(Mutex::new(BTreeMap::<String, Vec<String>>::new()));
        let (pods, into) = (pods.clone(), Arc::clone(&seen));
        let work = tokio::spawn(async move {
            let mut changes = std::pin::pin!(watcher(pods, watcher::Config::default()).default_backoff().touched_objects());
            while let Some(change) = changes.next().await {
                let Ok(pod) = change else { continue };
                let (name, uid) = (pod.metadata.name.unwrap_or_default(), pod.metadata.uid.unwrap_or_default());
                if let Ok(mut seen) = into.lock() {
                    let uids = seen.entry(name).or_default();
                    if !uids.contains(&uid) {
                        uids.push(uid);
                    }
                }
            }
        });
        Self(work, seen)
    }

    /// Stops, and tells.
    pub async fn end(self) -> BTreeMap<String, Vec<String>> {
        self.0.abort();
        // It was told to.
        let _ = self.0.await;
        self.1.lock().map(|seen| seen.clone()).unwrap_or_default()
    }
}
