//! A history: its steps, one after the other, and the rest that it comes to.

use std::{
    collections::VecDeque,
    sync::{LazyLock, Mutex},
    time::Duration,
};

use proptest::sample::Index;
use serde_json::{Value, json};

use super::{
    end::End,
    nodes,
    process::{NAME, Process},
    promises::Promises,
    server::{Fault, NAMESPACE, Server, State, Write, merge},
};
use crate::operator::kind::Kind;

/// A change of the resource by a person.
#[derive(Clone, Debug)]
pub struct Change {
    pub spec: Value,
    /// How many servers read it only at their start.
    pub restarts: usize,
}

#[derive(Clone, Debug)]
pub enum Step {
    /// The operator looks at the instance, with what it knows.
    Pass,
    /// One watch tells the next thing that it has not told yet.
    Hear(Index),
    /// The watch of the resource tells how it is.
    HearOfResource,
    /// Controllers and nodes do one of the things that they can do.
    Happen(Index),
    /// The operator is killed, and started again.
    Kill,
    /// This goes wrong with the write after so many others.
    Fail(usize, Fault),
    /// What a killed operator has sent arrives.
    Arrive,
    /// A person edits an object.
    Edit(Index),
    /// A person deletes an object that can be made again.
    Remove(Index),
    /// A person changes the resource.
    Change(Change),
    /// A person asks for a backup, once.
    Ask,
    /// A volume or a generated Secret is lost.
    Lose(Index),
}

/// Where a history begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// With the resource.
    FirstDay,
    /// On a day on which all is well, after a life that has lasted from the first one.
    Settled,
    /// On such a day, with a start of the operator.
    Found,
}

/// How all is on such a day.
static FOUND: LazyLock<Mutex<Option<(State, Promises)>>> = LazyLock::new(Mutex::default);

/// Tells a history. Fails where a promise is broken.
pub fn tell(beginning: Beginning, steps: &[Step]) -> End {
    tell_of(&json!({}), beginning, steps)
}

pub fn tell_of(spec: &Value, beginning: Beginning, steps: &[Step]) -> End {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut life = match beginning {
            Beginning::Found => Life::found().await,
            Beginning::FirstDay | Beginning::Settled => Life::begin(spec),
        };
        if beginning == Beginning::Settled {
            life.settle().await;
        }
        for step in steps {
            life.step(step).await;
        }
        life.settle().await;
        life.end().await
    })
}

/// A life from the first day on in which this goes wrong with the write after so many others; and whether there was such a write.
pub fn tell_of_a_fault(after: usize, fault: Fault) -> (End, bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut life = Life::begin(&json!({}));
        life.server.state().fault = Some((after, fault));
        life.rest().await;
        let struck = life.server.state().fault.is_none();
        life.settle().await;
        (life.end().await, struck)
    })
}

/// The resource is gone, and before that is heard of what it had is being collected. Returns what is written then.
pub fn tell_of_an_end() -> Vec<Write> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut life = Life::begin(&json!({}));
        life.settle().await;
        let before = life.server.state().writes.len();
        {
            let mut state = life.server.state();
            state.ended = true;
            state.remove(Kind::Service, NAME);
            state.remove(Kind::Ingress, NAME);
        }
        let untold = std::mem::take(&mut life.server.state().untold);
        for (kind, told) in untold.iter().flat_map(|(kind, all)| all.iter().map(|told| (*kind, told))) {
            life.process.learn(kind, told);
            life.process.pass().await;
        }
        life.server.state().writes.split_off(before)
    })
}

struct Life {
    server: Server,
    process: Process,
    promises: Promises,
}

impl Life {
    fn begin(spec: &Value) -> Self {
        let server = Server::default();
        let mut resource = json!({
            "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance",
            "metadata": { "name": NAME, "namespace": NAMESPACE, "uid": "uid-1", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "version": "2.42.4", "web": { "host": "play.example.org" } },
        });
        merge(&mut resource["spec"], spec);
        {
            let mut state = server.state();
            resource["metadata"]["resourceVersion"] = state.next_version();
            state.resource = resource;
        }
        let process = Process::start(&server);
        Self { server, process, promises: Promises::default() }
    }

    /// Such a day is lived to once.
    async fn found() -> Self {
        let known = FOUND.lock().unwrap().clone();
        let (state, promises) = if let Some(known) = known {
            known
        } else {
            let mut life = Self::begin(&json!({}));
            life.settle().await;
            let found = (life.server.state().clone(), life.promises.clone());
            FOUND.lock().unwrap().insert(found).clone()
        };
        let server = Server::holding(state);
        let process = Process::start(&server);
        Self { server, process, promises }
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Pass => self.pass().await,
            Step::Hear(which) => self.hear(*which),
            Step::HearOfResource => self.process.learn_resource(),
            Step::Happen(which) => {
                let mut state = self.server.state();
                let possible = nodes::possible(&state);
                if !possible.is_empty() {
                    nodes::carry_out(&mut state, which.get(&possible));
                }
            }
            Step::Kill => self.process = Process::start(&self.server),
            Step::Fail(after, fault) => self.server.state().fault = Some((*after, *fault)),
            Step::Arrive => self.server.state().arrive(),
            Step::Edit(which) => self.edit(*which),
            Step::Remove(which) => {
                self.remove(*which, |kind| !kind.of_people() && !matches!(kind, Kind::Pod | Kind::PersistentVolumeClaim | Kind::Secret));
            }
            Step::Lose(which) => self.remove(*which, |kind| matches!(kind, Kind::PersistentVolumeClaim | Kind::Secret)),
            Step::Change(change) => self.change(change),
            Step::Ask => self.ask(),
        }
    }

    /// One pass, and what must hold after it; a process that was killed in it is started again.
    async fn pass(&mut self) {
        self.process.pass().await;
        self.promises.look(&self.server.state());
        let killed = self.server.state().killed;
        if killed {
            self.process = Process::start(&self.server);
        }
    }

    fn hear(&mut self, which: Index) {
        let told = {
            let mut state = self.server.state();
            let kinds: Vec<Kind> = state.untold.iter().filter(|(_, untold)| !untold.is_empty()).map(|(kind, _)| *kind).collect();
            if kinds.is_empty() {
                return;
            }
            let kind = *which.get(&kinds);
            state.untold.get_mut(&kind).and_then(VecDeque::pop_front).map(|told| (kind, told))
        };
        if let Some((kind, told)) = told {
            self.process.learn(kind, &told);
        }
    }

    /// A person sets the first text that the operator wrote into the spec or the data of an object to something else.
    fn edit(&mut self, which: Index) {
        let mut state = self.server.state();
        let edited = [Kind::ConfigMap, Kind::Service, Kind::NetworkPolicy, Kind::Ingress, Kind::CronJob];
        let names: Vec<_> = state.objects.keys().filter(|(kind, _)| edited.contains(kind)).cloned().collect();
        if names.is_empty() {
            return;
        }
        let (kind, name) = which.get(&names).clone();
        let mut object = state.objects[&(kind, name)].clone();
        let part = if kind == Kind::ConfigMap { "data" } else { "spec" };
        if let Some(text) = first_text(&mut object[part]) {
            *text = json!("edited");
        }
        object["metadata"]["managedFields"].as_array_mut().unwrap().push(json!({ "manager": "somebody", "operation": "Update" }));
        state.change(kind, object);
    }

    fn remove(&mut self, which: Index, may: fn(Kind) -> bool) {
        let mut state = self.server.state();
        let names: Vec<_> = state.objects.keys().filter(|(kind, _)| may(*kind)).cloned().collect();
        if names.is_empty() {
            return;
        }
        let (kind, name) = which.get(&names);
        state.remove(*kind, name);
    }

    fn ask(&mut self) {
        const NOW: &str = "now";
        let mut state = self.server.state();
        if !state.objects.contains_key(&(Kind::Dhis2Backup, NOW.to_owned())) {
            let request = json!({
                "apiVersion": "dhis2.hosting/v1alpha1", "kind": Kind::Dhis2Backup.name(),
                "metadata": { "name": NOW, "namespace": NAMESPACE, "generation": 1 },
                "spec": { "instance": NAME },
            });
            state.create(Kind::Dhis2Backup, request, "somebody");
        }
    }

    fn change(&mut self, change: &Change) {
        let mut state = self.server.state();
        let before = state.resource["spec"].clone();
        merge(&mut state.resource["spec"], &change.spec);
        if state.resource["spec"] != before {
            let generation = state.resource["metadata"]["generation"].as_u64().unwrap();
            state.resource["metadata"]["generation"] = json!(generation + 1);
            state.resource["metadata"]["resourceVersion"] = state.next_version();
            self.promises.may_restart += change.restarts;
        }
    }

    /// Everything goes well from now on, until nothing happens any more.
    async fn settle(&mut self) {
        self.server.state().fault = None;
        self.server.state().arrive();
        self.rest().await;
    }

    /// Until nothing happens any more.
    async fn rest(&mut self) {
        // The first visit after a start asks for no Secret.
        let mut quiet = 0;
        for _ in 0..60 {
            let before = self.counts();
            self.process.learn_resource();
            let untold = std::mem::take(&mut self.server.state().untold);
            for (kind, told) in untold.iter().flat_map(|(kind, all)| all.iter().map(|told| (*kind, told))) {
                self.process.learn(kind, told);
            }
            tokio::time::advance(Duration::from_secs(61)).await;
            self.pass().await;
            let happened = {
                let mut state = self.server.state();
                let possible = nodes::possible(&state);
                for action in &possible {
                    nodes::carry_out(&mut state, action);
                }
                !possible.is_empty()
            };
            quiet = if happened || self.counts() != before { 0 } else { quiet + 1 };
            if quiet == 2 {
                return;
            }
        }
        panic!("it never comes to rest: {:?}", self.server.state().writes);
    }

    fn counts(&self) -> (usize, usize, usize) {
        let state = self.server.state();
        (state.writes.len(), state.statuses, state.untold.values().map(VecDeque::len).sum())
    }

    /// Nothing more is written, not even by a process that starts anew; then how all is.
    async fn end(mut self) -> End {
        let before = self.counts();
        self.process = Process::start(&self.server);
        self.pass().await;
        assert_eq!(self.counts(), before, "a start wrote: {:?}", &self.server.state().writes[before.0..]);
        End::of(&self.server.state())
    }
}

/// The first text below a value.
fn first_text(value: &mut Value) -> Option<&mut Value> {
    match value {
        Value::String(_) => Some(value),
        Value::Object(map) => map.values_mut().find_map(first_text),
        Value::Array(list) => list.iter_mut().find_map(first_text),
        _ => None,
    }
}
