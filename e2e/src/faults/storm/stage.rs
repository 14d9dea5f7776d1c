//! Where storms take place: a rig, with what is played on it, and the runs without any storm.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::sync::{Mutex, OnceCell};
use tokio::task::JoinHandle;

use super::scene::{LIMIT, Scene};
use crate::faults::flow::{self, Flow};
use crate::faults::invariants::Seen;
use crate::faults::kubelet;
use crate::faults::ledger::Ledger;
use crate::faults::proxy::Ends;
use crate::product::binaries;
use crate::rig::release::{Chart, NAMESPACE, Release};
use crate::rig::{Parts, Rig};
use crate::site::Outcome;

/// A rig, and what was seen on it without storms.
pub struct Stage {
    /// The rig.
    pub rig: Rig,
    /// What happens on it.
    pub ledger: Ledger,
    /// The operator.
    pub program: PathBuf,
    /// Both ends of a proxy.
    pub ends: Ends,
    chart: Chart,
    runs: AtomicUsize,
    clean: Mutex<HashMap<&'static str, Arc<OnceCell<Arc<Seen>>>>>,
    _kubelet: JoinHandle<()>,
}

/// What takes away what belongs to something that is gone, lets go of volumes that no pod uses, empties namespaces that end, and counts
/// what a quota limits.
const CONTROLLERS: &[&str] =
    &["garbage-collector-controller", "namespace-controller", "persistentvolumeclaim-protection-controller", "resourcequota-controller"];

/// A flow of this name.
///
/// # Errors
/// When there is none.
pub fn named(name: &str) -> Outcome<Flow> {
    flow::all().into_iter().find(|flow| flow.name == name).ok_or_else(|| format!("no flow is called {name}").into())
}

impl Stage {
    /// Builds the operator, unless one is given, and starts a rig on which its database may hold so many bytes.
    ///
    /// # Errors
    /// When something can't be built or started.
    pub async fn build(operator: Option<PathBuf>, quota: Option<u64>) -> Outcome<Self> {
        let program = operator.map_or_else(|| binaries::build().map(|built| built.operator), Ok)?;
        let rig = Rig::with(Parts { controllers: CONTROLLERS, scheduler: false }, quota).await?;
        kubelet::furnish(&rig.client()).await?;
        kubelet::collects(&rig.client()).await?;
        let chart = Chart::render(&json!({ "watchNamespaces": [NAMESPACE] }))?;
        let (listener, records) = tokio::sync::mpsc::unbounded_channel();
        let kubelet = tokio::spawn(kubelet::play(rig.client(), records));
        let ledger = Ledger::keep(&rig.client(), &listener);
        let ends = Ends::of(&rig)?;
        let clean = Mutex::default();
        Ok(Self { rig, ledger, program, ends, chart, runs: AtomicUsize::new(0), clean, _kubelet: kubelet })
    }

    /// A namespace of its own, with the operator's account and rights in it.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn release(&self, name: &str) -> Outcome<Release> {
        let namespace = format!("{name}-{}", self.runs.fetch_add(1, Ordering::Relaxed));
        self.ledger.open(&namespace);
        self.rig.release(&self.chart, &namespace).await
    }

    /// What is seen of a flow without any storm. It is run once.
    ///
    /// # Errors
    /// When it does not work.
    pub async fn clean(&self, flow: &Flow) -> Outcome<Arc<Seen>> {
        let cell = Arc::clone(self.clean.lock().await.entry(flow.name).or_default());
        let seen = cell.get_or_try_init(|| Box::pin(self.calm(flow)));
        Ok(Arc::clone(seen.await?))
    }

    async fn calm(&self, flow: &Flow) -> Outcome<Arc<Seen>> {
        let mut scene = Box::pin(Scene::open(self, flow, "calm")).await?;
        scene.acts().await?;
        scene.until_calm(None, LIMIT).await?;
        Ok(Arc::new(scene.seen().await))
    }
}
