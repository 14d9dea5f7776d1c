//! Nodes that are played for a crowd: its pods start, its Jobs end, its claims are bound. And who of it serves.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dhis2_operator::api::Dhis2Instance;
use dhis2_operator::operator::kind::Kind;
use kube::api::{ApiResource, DynamicObject};
use kube::{Client, ResourceExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::crowd;
use crate::faults::kubelet;
use crate::faults::ledger::{Change, INSTANCE, Record, follow};
use crate::site::Outcome;

/// How often it is looked who serves.
const GLANCE: Duration = Duration::from_millis(250);

/// Nodes, and what is known of those whose pods they run.
pub struct Pods {
    ready: Arc<Mutex<HashSet<String>>>,
    _tasks: JoinSet<()>,
}

impl Pods {
    /// Plays from now on. `sets`: so many a repository holds.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn play(client: &Client, sets: usize) -> Outcome<Self> {
        kubelet::furnish(client).await?;
        let (listener, records) = mpsc::unbounded_channel();
        let ready: Arc<Mutex<HashSet<String>>> = Arc::default();
        let known: Arc<Mutex<HashSet<String>>> = Arc::default();
        let mut kinds: Vec<(&'static str, ApiResource)> =
            [Kind::StatefulSet, Kind::Job, Kind::PersistentVolumeClaim, Kind::Pod].map(|kind| (kind.name(), kind.resource())).into();
        kinds.push((INSTANCE, ApiResource::erase::<Dhis2Instance>(&())));
        let serves = Arc::clone(&ready);
        let mut tasks = follow(client, kinds, move |kind, object, gone| {
            if kind == INSTANCE {
                let mut serves = serves.lock().unwrap_or_else(PoisonError::into_inner);
                let name = object.name_any();
                if !gone && is_ready(&object) {
                    serves.insert(name)
                } else {
                    serves.remove(&name)
                };
                return;
            }
            let new = known.lock().unwrap_or_else(PoisonError::into_inner).insert(object.uid().unwrap_or_default());
            let change = match (gone, new) {
                (true, _) => Change::Gone,
                (false, true) => Change::Made,
                (false, false) => Change::Changed,
            };
            let _ = listener.send(Record { at: Instant::now(), kind, change, object: Arc::new(object) });
        });
        tasks.spawn(kubelet::play(client.clone(), records, sets));
        Ok(Self { ready, _tasks: tasks })
    }

    /// Waits until so many of the crowd serve.
    ///
    /// # Errors
    /// When they do not in time.
    pub async fn until_ready(&self, instances: usize, limit: Duration) -> Outcome {
        let begun = Instant::now();
        loop {
            let missing: Vec<String> = {
                let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
                (0..instances).map(crowd::name).filter(|name| !ready.contains(name)).collect()
            };
            match missing.first() {
                None => return Ok(()),
                Some(first) if begun.elapsed() > limit => {
                    return Err(format!("{} do not serve within {} s, {first} among them", missing.len(), limit.as_secs()).into());
                }
                Some(_) => tokio::time::sleep(GLANCE).await,
            }
        }
    }
}

fn is_ready(instance: &DynamicObject) -> bool {
    let conditions = instance.data.pointer("/status/conditions").and_then(|conditions| conditions.as_array());
    conditions.into_iter().flatten().any(|condition| {
        let says = |key: &str, value: &str| condition.get(key).and_then(|there| there.as_str()) == Some(value);
        says("type", "Ready") && says("status", "True")
    })
}
