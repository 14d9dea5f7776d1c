//! What operators are broken on: a rig, with what is played on it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::task::JoinHandle;

use super::kubelet;
use super::ledger::Ledger;
use super::proxy::{Ends, Proxy};
use crate::cluster::files;
use crate::product::binaries;
use crate::rig::operator::Start;
use crate::rig::release::{Chart, NAMESPACE, Release};
use crate::rig::{Parts, Rig};
use crate::site::Outcome;

/// Sets in each repository that is played.
const SETS: usize = 2;

/// A rig with nodes that are played, and a record of all that happens.
pub struct Ground {
    /// The rig.
    pub rig: Rig,
    /// What happens on it.
    pub ledger: Ledger,
    chart: Chart,
    ends: Ends,
    program: PathBuf,
    runs: AtomicUsize,
    _kubelet: JoinHandle<()>,
}

impl Ground {
    /// Builds the operator, unless one is given, and starts a rig with these controllers, on which the database may hold so many bytes.
    ///
    /// # Errors
    /// When something can't be built or started.
    pub async fn build(operator: Option<PathBuf>, controllers: &'static [&'static str], quota: Option<u64>) -> Outcome<Self> {
        let program = operator.map_or_else(|| binaries::build().map(|built| built.operator), Ok)?;
        let rig = Rig::with(Parts { controllers, scheduler: false }, quota).await?;
        kubelet::furnish(&rig.client()).await?;
        kubelet::collects(&rig.client()).await?;
        let chart = Chart::render(&json!({ "watchNamespaces": [NAMESPACE] }))?;
        let (listener, records) = tokio::sync::mpsc::unbounded_channel();
        let kubelet = tokio::spawn(kubelet::play(rig.client(), records, SETS));
        let ledger = Ledger::keep(&rig.client(), &listener);
        let ends = Ends::of(&rig)?;
        Ok(Self { rig, ledger, chart, ends, program, runs: AtomicUsize::new(0), _kubelet: kubelet })
    }

    /// A namespace of its own, from now on in the record, with the operator's account and rights in it.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn release(&self, name: &str) -> Outcome<Release> {
        let namespace = format!("{name}-{}", self.runs.fetch_add(1, Ordering::Relaxed));
        self.ledger.open(&namespace);
        self.rig.release(&self.chart, &namespace).await
    }

    /// What an operator needs to run as the pod of this name: a proxy between it and the API server, and what starts it.
    ///
    /// # Errors
    /// When a file can't be written, or no port is free.
    pub async fn operator(&self, release: &Release, pod: &str) -> Outcome<(Proxy, Start)> {
        let proxy = Proxy::start(self.ends.clone()).await?;
        let authority = files::read(&self.rig.keys().path("ca.crt"))?;
        let kubeconfig = self.rig.kubeconfig(release, &proxy.server(), &authority)?;
        let start = Start::new(&self.program, release, &kubeconfig, pod, &self.log(&release.namespace, pod));
        Ok((proxy, start))
    }

    /// What the operator of this pod says.
    pub fn log(&self, namespace: &str, pod: &str) -> PathBuf {
        self.rig.folder().join(format!("{namespace}-{pod}.log"))
    }
}
