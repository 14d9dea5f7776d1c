//! One run of a flow: in a namespace of its own, with an operator and a proxy of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::cast::{Cast, LEADS, STANDS_BY};
use super::flow::{Flow, Goal};
use super::gate::{Gate, Script};
use super::ground::Ground;
use super::invariants::Seen;
use super::person::Person;
use super::proxy::Proxy;
use super::snapshot::{self, Snapshot};
use crate::rig::release::Release;
use crate::site::{Outcome, chain};

/// Where all runs take place.
pub struct Stage {
    ground: Ground,
    room: Semaphore,
}

/// What takes away what belongs to something that is gone, and lets go of volumes that no pod uses.
const CONTROLLERS: &[&str] = &["garbage-collector-controller", "persistentvolumeclaim-protection-controller"];

/// The pods that operators stand for.
const FIRST: &str = "operator-0";
const SECOND: &str = "operator-1";

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
        Ok(Self { ground: Ground::build(operator, CONTROLLERS, None).await?, room: Semaphore::new(at_a_time) })
    }

    /// Runs a flow with this script. With a `clean` run it is waited for until all is as it was there. When all is done it is watched for
    /// so long whether something is written.
    ///
    /// # Errors
    /// When the flow does not get where it should without any fault, or the machine does not play along.
    pub async fn run(&self, flow: &Flow, script: Script, clean: Option<&Seen>, watched: Duration) -> Outcome<Run> {
        let place = self.room.acquire().await?;
        let release = self.ground.release(flow.name).await?;
        let namespace = release.namespace.clone();
        let play = async {
            let (scene, from, stuck) = Box::pin(self.play(flow, script, clean, &release)).await?;
            let writes = scene.gate().seen();
            // Who only watches leaves the place to others.
            drop(place);
            tokio::time::sleep(watched).await;
            self.look(&scene, &namespace, from, writes, stuck).await
        };
        let run = play.await;
        self.ground.ledger.close(&namespace);
        run
    }

    /// All that happens. Returns who is on the scene, the number of the first record of the part with faults, and what went wrong.
    async fn play(&self, flow: &Flow, script: Script, clean: Option<&Seen>, release: &Release) -> Outcome<(Scene, usize, Option<String>)> {
        let namespace = release.namespace.as_str();
        let person = Person { client: self.ground.rig.client(), namespace: namespace.to_owned(), ledger: self.ground.ledger.clone() };
        let (cast, proxy) = self.cast(release, FIRST, !flow.standby).await?;
        let cast = Arc::new(cast);
        cast.raise(LEADS).await?;
        let second = if flow.standby { Some(self.standby(release).await?) } else { None };
        let scene = Scene { cast, _proxy: proxy, second };
        person.acts(&flow.given, &scene.cast).await?;
        self.rest(namespace, &scene).await?;
        // What is told late would count as made while faults were injected.
        self.ground.ledger.catch_up(&person.client, namespace, LIMIT).await?;

        let from = self.ground.ledger.length(namespace);
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
        let (records, present) = (self.ground.ledger.records(namespace), self.ground.ledger.present(namespace));
        let snapshot = snapshot::of(namespace, &records, &present);
        let logs = [FIRST, SECOND].map(|pod| std::fs::read_to_string(self.ground.log(namespace, pod)).unwrap_or_default());
        let said = logs.concat() + &scene.cast.called().await;
        let late = scene.gate().seen().split_off(writes.len());
        let late = late.into_iter().chain(scene.late()).collect();
        let (usage, ended) = (scene.acting().usage().await, scene.ended().await);
        let seen = Seen { records, from, present, snapshot, stuck, ended, late, said, usage };
        Ok(Run { writes, seen, met: scene.gate().met() })
    }

    async fn cast(&self, release: &Release, pod: &str, alone: bool) -> Outcome<(Cast, Proxy)> {
        let (proxy, start) = self.ground.operator(release, pod).await?;
        // A machine under load takes longer than the shortest term to renew a Lease. Where nobody else stands for it, its length is nothing
        // that is waited for.
        let term = if alone { "300" } else { "15" };
        Ok((Cast::new(proxy.gate.clone(), start.with("LEASE_TTL", term)), proxy))
    }

    /// A second operator, with a proxy of its own that lets everything pass.
    async fn standby(&self, release: &Release) -> Outcome<Second> {
        let (cast, proxy) = self.cast(release, SECOND, false).await?;
        cast.raise(STANDS_BY).await?;
        Ok(Second { cast, proxy, rested: AtomicUsize::new(0) })
    }

    /// Waits until nothing happens any more.
    async fn rest(&self, namespace: &str, scene: &Scene) -> Outcome {
        let begun = Instant::now();
        loop {
            let quiet = self.ground.ledger.quiet_for(namespace).min(scene.quiet_for().await);
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
            let now = snapshot::of(namespace, &self.ground.ledger.records(namespace), &self.ground.ledger.present(namespace));
            let same = clean.is_none_or(|clean| snapshot::differences(clean, &now).is_empty());
            if same && person.is(goal) {
                scene.rests();
                return Ok(());
            }
            if begun.elapsed() > LIMIT {
                return Err("it comes to rest somewhere else".into());
            }
            // At rest somewhere else: until something happens again, nothing is to be seen.
            self.ground.ledger.until(namespace, REST, || self.ground.ledger.quiet_for(namespace) < REST).await;
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
