//! One run of a flow: in a namespace of its own, with an operator and a proxy of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::cast::{Cast, LEADS, STANDS_BY};
use super::flow::{Flow, Goal};
use super::gate::{Gate, Script};
use super::invariants::Seen;
use super::kubelet;
use super::ledger::Ledger;
use super::person::Person;
use super::proxy::{Ends, Proxy};
use super::snapshot::{self, Snapshot};
use crate::product::binaries;
use crate::rig::operator::Start;
use crate::rig::release::{Chart, NAMESPACE, Release};
use crate::rig::{Parts, Rig};
use crate::site::{Outcome, chain};

/// Where all runs take place.
pub struct Stage {
    rig: Rig,
    chart: Chart,
    ends: Ends,
    ledger: Ledger,
    program: PathBuf,
    runs: AtomicUsize,
    room: Semaphore,
    _kubelet: JoinHandle<()>,
}

/// What takes away what belongs to something that is gone, and lets go of volumes that no pod uses.
const CONTROLLERS: &[&str] = &["garbage-collector-controller", "persistentvolumeclaim-protection-controller"];

/// How long a step may take.
const LIMIT: Duration = Duration::from_secs(40);

/// So long nothing happens when all is done: longer than the operator ever takes from one write to the next.
const REST: Duration = Duration::from_millis(400);

/// So long is watched whether something is written after that.
pub const WATCHED: Duration = Duration::from_secs(1);

/// What a run gave.
#[derive(Debug)]
pub struct Run {
    /// Its writes while faults were injected, in their order.
    pub writes: Vec<String>,
    /// What the invariants are asked about.
    pub seen: Seen,
    /// Whether the script had anything happen to one of them.
    pub met: bool,
}

impl Stage {
    /// Builds the operator, unless one is given, and starts a rig, for so many runs at a time.
    ///
    /// # Errors
    /// When something can't be built or started.
    pub async fn build(operator: Option<PathBuf>, at_a_time: usize) -> Outcome<Self> {
        let program = operator.map_or_else(|| binaries::build().map(|built| built.operator), Ok)?;
        let rig = Rig::start(Parts { controllers: CONTROLLERS, scheduler: false }).await?;
        kubelet::furnish(&rig.client()).await?;
        kubelet::collects(&rig.client()).await?;
        let chart = Chart::render(&json!({ "watchNamespaces": [NAMESPACE] }))?;
        let (listener, records) = tokio::sync::mpsc::unbounded_channel();
        let kubelet = tokio::spawn(kubelet::play(rig.client(), records));
        let ledger = Ledger::keep(&rig.client(), &listener);
        let ends = Ends::of(&rig)?;
        Ok(Self { rig, chart, ends, ledger, program, runs: AtomicUsize::new(0), room: Semaphore::new(at_a_time), _kubelet: kubelet })
    }

    /// Runs a flow with this script. With a `clean` run it is waited for until all is as it was there. When all is done it is watched for
    /// so long whether something is written.
    ///
    /// # Errors
    /// When the flow does not get where it should without any fault, or the machine does not play along.
    pub async fn run(&self, flow: &Flow, script: Script, clean: Option<&Seen>, watched: Duration) -> Outcome<Run> {
        let place = self.room.acquire().await?;
        let namespace = format!("{}-{}", flow.name, self.runs.fetch_add(1, Ordering::Relaxed));
        self.ledger.open(&namespace);
        let play = async {
            let (scene, from, stuck) = Box::pin(self.play(flow, script, clean, &namespace)).await?;
            let writes = scene.gate().seen();
            // Who only watches leaves the place to others.
            drop(place);
            tokio::time::sleep(watched).await;
            self.look(&scene, &namespace, from, writes, stuck).await
        };
        let run = play.await;
        self.ledger.close(&namespace);
        run
    }

    /// All that happens. Returns who is on the scene, the number of the first record of the part with faults, and what went wrong.
    async fn play(&self, flow: &Flow, script: Script, clean: Option<&Seen>, namespace: &str) -> Outcome<(Scene, usize, Option<String>)> {
        let release = self.rig.release(&self.chart, namespace).await?;
        let person = Person { client: self.rig.client(), namespace: namespace.to_owned(), ledger: self.ledger.clone() };
        let proxy = Proxy::start(self.ends.clone()).await?;
        let cast = Arc::new(self.cast(&release, &proxy, "operator-0", !flow.standby)?);
        cast.raise(LEADS).await?;
        let second = if flow.standby { Some(self.standby(&release).await?) } else { None };
        let scene = Scene { cast, _proxy: proxy, second };
        person.acts(&flow.given, &scene.cast).await?;
        self.rest(namespace, &scene).await?;

        let from = self.ledger.length(namespace);
        scene.gate().play(script);
        let keeper = tokio::spawn(Arc::clone(&scene.cast).keep(!flow.standby));
        person.acts(&flow.acts, &scene.cast).await?;
        let rested = self.converge(namespace, &scene, &person, flow.goal, clean.map(|clean| &clean.snapshot)).await;
        let kept = if keeper.is_finished() { keeper.await?.err() } else { None };
        let stuck = kept.or(rested.err()).map(|error| chain(&*error));
        match stuck {
            Some(stuck) if clean.is_none() => Err(stuck.into()),
            stuck => Ok((scene, from, stuck)),
        }
    }

    /// What there is to see in the end.
    async fn look(&self, scene: &Scene, namespace: &str, from: usize, writes: Vec<String>, stuck: Option<String>) -> Outcome<Run> {
        let (records, present) = (self.ledger.records(namespace), self.ledger.present(namespace));
        let snapshot = snapshot::of(namespace, &records, &present);
        let said = std::fs::read_to_string(self.log(namespace)).unwrap_or_default() + &scene.cast.called().await;
        let late = scene.gate().seen().split_off(writes.len());
        let late = late.into_iter().chain(scene.late()).collect();
        let (usage, ended) = (scene.acting().usage().await, scene.ended().await);
        let seen = Seen { records, from, present, snapshot, stuck, ended, late, said, usage };
        Ok(Run { writes, seen, met: scene.gate().met() })
    }

    fn log(&self, namespace: &str) -> PathBuf {
        self.rig.folder().join(format!("{namespace}.log"))
    }

    fn cast(&self, release: &Release, proxy: &Proxy, pod: &str, alone: bool) -> Outcome<Cast> {
        let authority = crate::cluster::files::read(&self.rig.keys().path("ca.crt"))?;
        let kubeconfig = self.rig.kubeconfig(release, &proxy.server(), &authority)?;
        let start = Start::new(&self.program, release, &kubeconfig, pod, &self.log(&release.namespace));
        // A machine under load takes longer than the shortest term to renew a Lease. Where nobody else stands for it, its length is nothing
        // that is waited for.
        let term = if alone { "300" } else { "15" };
        let start = start.with("LEASE_TTL", term);
        Ok(Cast::new(proxy.gate.clone(), start))
    }

    /// A second operator, with a proxy of its own that lets everything pass.
    async fn standby(&self, release: &Release) -> Outcome<Second> {
        let proxy = Proxy::start(self.ends.clone()).await?;
        let cast = self.cast(release, &proxy, "operator-1", false)?;
        cast.raise(STANDS_BY).await?;
        Ok(Second { cast, proxy, rested: AtomicUsize::new(0) })
    }

    /// Waits until nothing happens any more.
    async fn rest(&self, namespace: &str, scene: &Scene) -> Outcome {
        let begun = Instant::now();
        loop {
            let quiet = self.ledger.quiet_for(namespace).min(scene.quiet_for().await);
            if quiet >= REST {
                return Ok(());
            }
            if begun.elapsed() > LIMIT {
                return Err(format!("it does not come to rest: {:?}", scene.gate().seen()).into());
            }
            tokio::time::sleep(REST.saturating_sub(quiet).max(Duration::from_millis(10))).await;
        }
    }

    /// Waits until the goal is reached, all is as in the clean run, and nothing happens any more.
    async fn converge(&self, namespace: &str, scene: &Scene, person: &Person, goal: Goal, clean: Option<&Snapshot>) -> Outcome {
        let begun = Instant::now();
        loop {
            person.until(goal).await?;
            self.rest(namespace, scene).await?;
            let now = snapshot::of(namespace, &self.ledger.records(namespace), &self.ledger.present(namespace));
            let same = clean.is_none_or(|clean| snapshot::differences(clean, &now).is_empty());
            if same && person.is(goal) {
                scene.rests();
                return Ok(());
            }
            if begun.elapsed() > LIMIT {
                return Err("it comes to rest somewhere else".into());
            }
            // At rest somewhere else: until something happens again, nothing is to be seen.
            self.ledger.until(namespace, REST, || self.ledger.quiet_for(namespace) < REST).await;
        }
    }
}

/// Who takes part in a run.
struct Scene {
    cast: Arc<Cast>,
    _proxy: Proxy,
    second: Option<Second>,
}

/// A second operator, behind a proxy of its own.
struct Second {
    cast: Cast,
    proxy: Proxy,
    /// Its writes until all came to rest.
    rested: AtomicUsize,
}

impl Scene {
    /// What decides about the writes of the first operator.
    fn gate(&self) -> &Gate {
        &self.cast.gate
    }

    /// The operator that acts in the end.
    fn acting(&self) -> &Cast {
        self.second.as_ref().map_or(&self.cast, |second| &second.cast)
    }

    async fn quiet_for(&self) -> Duration {
        let first = self.gate().quiet_for().min(self.cast.awake_for().await);
        self.second.iter().fold(first, |quiet, second| quiet.min(second.proxy.gate.quiet_for()))
    }

    /// All has come to rest now.
    fn rests(&self) {
        if let Some(second) = &self.second {
            second.rested.store(second.proxy.gate.seen().len(), Ordering::Relaxed);
        }
    }

    /// What the second operator wrote since then.
    fn late(&self) -> Vec<String> {
        self.second.iter().flat_map(|second| second.proxy.gate.seen().split_off(second.rested.load(Ordering::Relaxed))).collect()
    }

    /// How one of them ended, if it did by itself.
    async fn ended(&self) -> Option<String> {
        let second = match &self.second {
            Some(second) => second.cast.ended().await,
            None => None,
        };
        second.or(self.cast.ended().await)
    }
}
