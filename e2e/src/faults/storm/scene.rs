//! One run: an instance, a flow, an operator and the weather.

use std::time::{Duration, Instant};

use dhis2_operator::api::Dhis2Instance;
use kube::ResourceExt;
use kube::api::DynamicObject;

use super::replica::Replica;
use super::stage::Stage;
use crate::faults::cast::{Cast, LEADS};
use crate::faults::flow::{Act, Flow, Goal};
use crate::faults::invariants::{self, Seen, Violation};
use crate::faults::ledger::INSTANCE;
use crate::faults::person::{NAME, Person};
use crate::faults::snapshot;
use crate::rig::release::Release;
use crate::site::Outcome;

/// How long a step without a storm may take.
pub const LIMIT: Duration = Duration::from_mins(2);

/// How long an instance may take to be where a flow begins.
const PREPARED: Duration = Duration::from_mins(2);

/// So long nothing happens when all is done: longer than a watch takes that was just broken.
const REST: Duration = Duration::from_secs(2);

/// So long is watched whether something is written after that.
const WATCHED: Duration = Duration::from_secs(2);

/// How often is looked.
const LOOK: Duration = Duration::from_millis(50);

/// A run.
pub struct Scene<'s> {
    /// Where it takes place.
    pub stage: &'s Stage,
    /// What happens.
    pub flow: Flow,
    /// Where the instance is.
    pub namespace: String,
    /// The operator's account.
    pub release: Release,
    /// The operators. Usually there is one.
    pub replicas: Vec<Replica>,
    /// Who does what the flow says.
    pub person: Person,
    /// No operator: a flow that changes one can't be played here.
    nobody: Cast,
    /// When the part with the storm began.
    pub begun: Instant,
    from: usize,
}

impl<'s> Scene<'s> {
    /// Brings an instance and an operator to where the flow begins.
    ///
    /// # Errors
    /// When it does not get there.
    pub async fn open(stage: &'s Stage, flow: &Flow, name: &str) -> Outcome<Scene<'s>> {
        Box::pin(Self::open_with(stage, flow, name, &[])).await
    }

    /// The same, with an operator that has these values of variables.
    ///
    /// # Errors
    /// When it does not get there.
    pub async fn open_with(stage: &'s Stage, flow: &Flow, name: &str, with: &[(&str, &str)]) -> Outcome<Scene<'s>> {
        let mut scene = Box::pin(Self::bare(stage, flow, name)).await?;
        let replica = Replica::new(stage, &scene.release, "operator-0").await?;
        let mut replica = with.iter().fold(replica, |replica, (name, value)| replica.with(name, value));
        replica.spawn()?;
        replica.until(LEADS, LIMIT).await?;
        scene.replicas.push(replica);
        scene.given().await?;
        Ok(scene)
    }

    /// Without any operator.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn bare(stage: &'s Stage, flow: &Flow, name: &str) -> Outcome<Scene<'s>> {
        let release = stage.ground.release(name).await?;
        let namespace = release.namespace.clone();
        let person = Person { client: stage.ground.rig.client(), namespace: namespace.clone(), ledger: stage.ground.ledger.clone() };
        let spare = Replica::new(stage, &release, "nobody").await?;
        let nobody = Cast::new(spare.proxy.gate.clone(), spare.start.clone());
        Ok(Self { stage, flow: flow.clone(), namespace, release, replicas: Vec::new(), person, nobody, begun: Instant::now(), from: 0 })
    }

    /// Does what comes before, and begins to count.
    ///
    /// # Errors
    /// When something is refused or not reached.
    pub async fn given(&mut self) -> Outcome {
        for act in &self.flow.given {
            match act {
                Act::Until(goal) => self.reach(*goal).await?,
                act => self.act(std::slice::from_ref(act)).await?,
            }
        }
        self.rest().await?;
        self.begin();
        Ok(())
    }

    /// Waits for a goal for as long as a busy machine may take.
    async fn reach(&self, goal: Goal) -> Outcome {
        let begun = Instant::now();
        while !self.person.is(goal) {
            if begun.elapsed() > PREPARED {
                return Err(format!("not {goal:?} within {} s, before any storm", PREPARED.as_secs()).into());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// From now on it is the part with the storm.
    pub fn begin(&mut self) {
        self.from = self.stage.ground.ledger.length(&self.namespace);
        for replica in &self.replicas {
            replica.proxy.gate.play(Box::new(|_, _| crate::faults::gate::Fate::Pass));
        }
        self.begun = Instant::now();
    }

    /// Does what the flow is about.
    ///
    /// # Errors
    /// When something is refused or not reached.
    pub async fn acts(&self) -> Outcome {
        Box::pin(self.person.acts(&self.flow.acts, &self.nobody)).await
    }

    /// Does this.
    ///
    /// # Errors
    /// When something is refused or not reached.
    pub async fn act(&self, acts: &[Act]) -> Outcome {
        Box::pin(self.person.acts(acts, &self.nobody)).await
    }

    /// The first of the operators.
    ///
    /// # Errors
    /// When there is none.
    pub fn first(&mut self) -> Outcome<&mut Replica> {
        self.replicas.first_mut().ok_or_else(|| "no operator is there".into())
    }

    /// The instance, as it was last heard of.
    pub fn instance(&self) -> Option<Dhis2Instance> {
        let object = self.stage.ground.ledger.object(&self.namespace, INSTANCE, NAME)?;
        serde_json::from_value(serde_json::to_value(object.as_ref()).ok()?).ok()
    }

    /// Is there such an object?
    pub fn has(&self, kind: &'static str, name: &str) -> bool {
        self.stage.ground.ledger.object(&self.namespace, kind, name).is_some()
    }

    /// One object.
    pub fn object(&self, kind: &'static str, name: &str) -> Option<std::sync::Arc<DynamicObject>> {
        self.stage.ground.ledger.object(&self.namespace, kind, name)
    }

    /// When an object was told to have changed in the part with the storm.
    pub fn changes(&self, kind: &str, name: &str) -> Vec<Instant> {
        let records = self.stage.ground.ledger.records(&self.namespace);
        let of_it = records.iter().skip(self.from).filter(|record| record.kind == kind && record.object.name_any() == name);
        of_it.map(|record| record.at).collect()
    }

    fn quiet_for(&self) -> Duration {
        let writers = self.replicas.iter().map(|replica| replica.proxy.gate.quiet_for().min(replica.awake_for()));
        writers.chain([self.stage.ground.ledger.quiet_for(&self.namespace)]).min().unwrap_or_default()
    }

    /// Waits until nothing happens.
    ///
    /// # Errors
    /// When that does not come.
    pub async fn rest(&self) -> Outcome {
        let begun = Instant::now();
        while self.quiet_for() < REST {
            if begun.elapsed() > LIMIT {
                return Err("it does not come to rest".into());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Waits until the flow's goal is reached, all is as in the clean run, and nothing happens. Says how long that took.
    ///
    /// # Errors
    /// What differs when it is not so in time.
    pub async fn until_calm(&self, clean: Option<&Seen>, limit: Duration) -> Outcome<Duration> {
        let begun = Instant::now();
        let mut reached = None;
        loop {
            let differences = self.differences(clean);
            if self.person.is(self.flow.goal) && differences.is_empty() {
                // When it was so first: the rest is only looked at.
                let at = *reached.get_or_insert(begun.elapsed());
                if self.quiet_for() >= REST {
                    return Ok(at);
                }
            } else {
                reached = None;
            }
            if begun.elapsed() > limit {
                let conditions = self.instance().and_then(|instance| instance.status).map(|status| status.conditions);
                let told: Vec<String> = conditions
                    .into_iter()
                    .flatten()
                    .map(|condition| format!("{} {} {}: {}", condition.type_, condition.status, condition.reason, condition.message))
                    .collect();
                let differences: Vec<&String> = differences.iter().take(6).collect();
                return Err(format!("not as without a storm {} s after it: {differences:?}; {told:?}", limit.as_secs()).into());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn differences(&self, clean: Option<&Seen>) -> Vec<String> {
        let Some(clean) = clean else { return Vec::new() };
        let (records, present) = (self.stage.ground.ledger.records(&self.namespace), self.stage.ground.ledger.present(&self.namespace));
        snapshot::differences(&clean.snapshot, &snapshot::of(&self.namespace, &records, &present))
    }

    /// What the invariants are asked about, after a while in which nothing should happen.
    pub async fn seen(&mut self) -> Seen {
        let before: Vec<usize> = self.replicas.iter().map(|replica| replica.proxy.gate.seen().len()).collect();
        tokio::time::sleep(WATCHED).await;
        let late = self.replicas.iter().zip(before).flat_map(|(replica, before)| replica.proxy.gate.seen().split_off(before)).collect();
        let (records, present) = (self.stage.ground.ledger.records(&self.namespace), self.stage.ground.ledger.present(&self.namespace));
        let snapshot = snapshot::of(&self.namespace, &records, &present);
        let said = self.replicas.iter_mut().map(Replica::said).collect();
        let ended = self.replicas.iter_mut().find_map(Replica::ended);
        let usage = self.replicas.iter().find(|replica| replica.operator().is_some()).map(Replica::usage).unwrap_or_default();
        Seen { records, from: self.from, present, snapshot, stuck: None, ended, late, said, usage }
    }

    /// What does not hold in the end.
    pub async fn violations(&mut self, clean: &Seen) -> Vec<String> {
        let seen = self.seen().await;
        let found = invariants::violations(&self.flow, clean, &seen);
        found.into_iter().map(|Violation { invariant, what }| format!("{invariant}: {what}")).collect()
    }

    /// Names of all Jobs and Secrets that were ever made in the part with the storm.
    pub fn made(&self, kind: &str) -> Vec<String> {
        let records = self.stage.ground.ledger.records(&self.namespace);
        let made =
            records.iter().skip(self.from).filter(|record| record.kind == kind && record.change == crate::faults::ledger::Change::Made);
        made.map(|record| record.object.name_any()).collect()
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        self.stage.ground.ledger.close(&self.namespace);
    }
}
