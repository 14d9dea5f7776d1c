//! The operator's process: what it keeps in memory, and loses when it is killed.

use std::sync::Arc;

use kube::{
    api::DynamicObject,
    runtime::{
        events::Reporter,
        reflector::{self, store::Writer},
        watcher,
    },
};
use serde_json::Value;

use super::server::{NAMESPACE, Server, Told};
use crate::{
    api::{Dhis2Instance, MANAGER},
    operator::{
        arrived::Arrived,
        controller::FIRST,
        fleet::Fleet,
        kind::Kind,
        leader::Leadership,
        metrics::Metrics,
        reconcile::{Context, reconcile},
        settings::Settings,
        slot,
        watch::{Arrival, Heard},
        world::Key,
    },
};

pub const NAME: &str = "play";

pub struct Process {
    server: Server,
    context: Arc<Context>,
    arrival: Arrival,
    writer: Writer<Arrived>,
}

impl Process {
    /// Starts it: the first lists tell what is there now.
    pub fn start(server: &Server) -> Self {
        let (store, writer) = reflector::store();
        let settings = settings();
        let context = {
            let reporter = Reporter { controller: MANAGER.into(), instance: None };
            let (fleet, leadership) = (Arc::new(Fleet::new(vec![store.clone()])), Leadership::uncontested());
            Arc::new(Context::new(server.client(), fleet, settings.clone(), leadership, Arc::new(Metrics::new()), reporter))
        };
        let arrival = Arrival { world: context.world.clone(), resources: store, settings: Arc::new(settings) };
        let mut process = Self { server: server.clone(), context, arrival, writer };
        process.learn_resource();
        process.context.hear(Heard::Found(&key()));
        let (mut objects, first) = {
            let mut state = server.state();
            state.killed = false;
            state.untold.clear();
            let of = |first: bool| {
                let all = state.objects.iter().filter(move |((kind, _), _)| FIRST.contains(kind) == first);
                all.map(|((kind, _), object)| (*kind, object.clone())).collect::<Vec<_>>()
            };
            (of(false), of(true))
        };
        // As the controller does it.
        objects.splice(0..0, first);
        for (kind, object) in objects {
            process.learn(kind, &Told::Is(object));
        }
        process
    }

    /// The watch of the resource tells how it is now.
    pub fn learn_resource(&mut self) {
        let resource = self.server.state().resource.clone();
        let resource: Dhis2Instance = serde_json::from_value(resource).unwrap();
        self.writer.apply_watcher_event(&watcher::Event::Apply(Arrived(Ok(resource))));
    }

    /// The watch of a kind tells this.
    pub fn learn(&self, kind: Kind, told: &Told) {
        if kind == Kind::Secret {
            return; // not watched
        }
        match told {
            Told::Is(object) => drop(self.arrival.arrive(kind, &read(object))),
            Told::Gone(object) => {
                let object = read(object);
                let version = slot::version(&object);
                let (name, uid) = (object.metadata.name.unwrap_or_default(), object.metadata.uid.unwrap_or_default());
                self.context.world.ended(&key(), kind, &name, &uid, version);
            }
        }
    }

    /// One pass over the instance as it is known.
    pub async fn pass(&self) {
        if let Some(resource) = self.arrival.resources.state().into_iter().next() {
            // What went wrong is in the status as far as it is to be told; the model asks again.
            let _ = reconcile(resource, self.context.clone()).await;
        }
    }
}

fn read(object: &Value) -> DynamicObject {
    serde_json::from_value(object.clone()).unwrap()
}

fn key() -> Key {
    Key { namespace: NAMESPACE.into(), name: NAME.into() }
}

fn settings() -> Settings {
    Settings {
        image: "dhis2-operator:1".into(),
        image_pull_policy: "IfNotPresent".into(),
        dhis2_repository: "docker.io/dhis2/core".into(),
        postgres_image: "postgis:16".into(),
        ..Settings::default()
    }
}
