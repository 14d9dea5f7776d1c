//! Watches of the children. Each object is compared with what is wanted and reduced to a slot on arrival;
//! a change that could matter asks for a pass over its instance.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures::{FutureExt, Stream, StreamExt, stream::BoxStream};
use kube::{
    Api, Client, ResourceExt,
    api::DynamicObject,
    runtime::{WatchStreamExt, reflector::ObjectRef, watcher},
};

use super::{
    arrived::Arrived,
    desired::{Wanted, of_kind},
    fleet::Resources,
    instance::{Instance, Stage},
    kind::Kind,
    lean::Lean,
    metrics::Metrics,
    missed,
    observe::Observed,
    others,
    parse::assume,
    relist::Relist,
    serve::Readiness,
    settings::Settings,
    slot::{self, Slot},
    world::{Key, Known, World},
};
use crate::api::{Dhis2Instance, MANAGER};

/// Objects of a page of a list: small pages keep the first lists from filling the memory.
pub const PAGE: u32 = 50;

/// The label that all owned objects have.
pub const OURS: &str = "app.kubernetes.io/managed-by=dhis2-operator";

/// The main kind's name.
pub const RESOURCE: &str = "Dhis2Instance";
/// Name of its definition.
pub const DEFINITION: &str = "dhis2instances.dhis2.hosting";

/// Stages that together have every object; the one at which most exist comes first.
const STAGES: [Stage; 3] = {
    let building = Stage {
        prepared: true,
        built: false,
        application: false,
        secured: false,
        taken: false,
        first_backup: false,
        upgrading: false,
        held: false,
        downgrade: false,
        migrating: false,
    };
    let starting = Stage { built: true, application: true, ..building };
    [Stage { secured: true, first_backup: true, ..starting }, starting, building]
};

/// What comparing an arriving object needs.
#[derive(Clone)]
pub struct Arrival {
    /// Slots.
    pub world: Arc<World>,
    /// The resources.
    pub resources: Resources,
    /// Settings of the operator.
    pub settings: Arc<Settings>,
}

/// How a watch goes, for `/readyz` and `/metrics`.
#[derive(Clone)]
pub struct Progress {
    /// Who is told.
    pub readiness: Readiness,
    /// Who counts.
    pub metrics: Arc<Metrics>,
    /// What is watched.
    pub kind: &'static str,
    /// Name of the watch.
    pub watch: String,
}

impl Progress {
    /// The first list is in.
    fn synced(&self) {
        self.readiness.granted(&self.watch);
        self.readiness.synced(&self.watch);
        if self.kind == RESOURCE {
            self.readiness.served(DEFINITION);
        }
    }

    /// Something came.
    fn moved(&self) {
        self.readiness.granted(&self.watch);
    }

    fn failed(&self, error: &watcher::Error) {
        tracing::warn!(watch = self.watch, %error, "watch");
        // One that breaks in the middle is counted where its answer comes in: most of those are not told here.
        if !matches!(error, watcher::Error::WatchFailed(kube::Error::ReadEvents(_))) {
            self.metrics.watch_restarted(self.kind, reason(error));
        }
        self.readiness.failed(&self.watch, error);
        if self.kind == RESOURCE && reason(error) == "NotFound" {
            self.readiness.missing(DEFINITION);
        }
    }
}

/// The connection was lost, or there was none.
pub const DISCONNECTED: &str = "Disconnected";

/// Why a watch has to begin again, in a word that `/metrics` may have as a label: no text of others.
fn reason(error: &watcher::Error) -> &'static str {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status,
        watcher::Error::NoResourceVersion => return "Invalid",
        _ => return DISCONNECTED,
    };
    match status.code {
        403 => "Forbidden",
        404 => "NotFound",
        410 => "Expired",
        429 | 500.. => "Unavailable",
        _ => "Other",
    }
}

/// Watches one kind in one namespace, or in all. Yields the instances that need a pass.
pub fn children(
    client: &Client,
    kind: Kind,
    namespace: Option<String>,
    arrival: Arrival,
    progress: Progress,
    relist: Relist,
) -> BoxStream<'static, Key> {
    let resource = kind.resource();
    let api: Api<Lean> = match &namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let all = watcher::Config::default().page_size(PAGE);
    let ours = selector(kind).map_or_else(|| all.clone(), |labels| all.clone().labels(labels));
    let check = {
        let (client, namespace, arrival) = (client.clone(), namespace.clone(), arrival.clone());
        move || {
            let (client, namespace, arrival) = (client.clone(), namespace.clone(), arrival.clone());
            async move { missed::children(&client, kind, namespace.as_deref(), &arrival).await }.boxed()
        }
    };
    let mut missing = HashSet::new();
    let failed = progress.clone();
    relist
        .of(move || watcher(api.clone(), ours.clone()), check)
        .default_backoff()
        .filter_map(move |event| std::future::ready(event.inspect_err(|error| failed.failed(error)).ok()))
        .flat_map(move |event| futures::stream::iter(arrival.take(kind, namespace.as_deref(), event, &mut missing, &progress)))
        .boxed()
}

impl Arrival {
    fn take(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        event: watcher::Event<Lean>,
        missing: &mut HashSet<Known>,
        progress: &Progress,
    ) -> Vec<Key> {
        match event {
            watcher::Event::Init => {
                *missing = self.world.known(kind, namespace);
                Vec::new()
            }
            watcher::Event::InitApply(Lean(object)) => {
                if let Some(key) = key_of(kind, &object) {
                    missing.remove(&Known { key, name: object.name_any(), uid: object.metadata.uid.as_deref().unwrap_or_default().into() });
                }
                self.arrive(kind, &object).into_iter().collect()
            }
            watcher::Event::InitDone => {
                progress.synced();
                let gone = std::mem::take(missing).into_iter();
                gone.filter(|gone| self.world.remove(&gone.key, kind, &gone.name, &gone.uid)).map(|gone| gone.key).collect()
            }
            watcher::Event::Apply(Lean(object)) => {
                progress.moved();
                self.arrive(kind, &object).into_iter().collect()
            }
            watcher::Event::Delete(Lean(object)) => {
                progress.moved();
                let key = key_of(kind, &object);
                let (name, uid) = (object.name_any(), object.metadata.uid.clone().unwrap_or_default());
                key.filter(|key| self.world.ended(key, kind, &name, &uid, slot::version(&object))).into_iter().collect()
            }
        }
    }

    /// Takes in an object. Returns its instance if that needs a pass.
    pub(super) fn arrive(&self, kind: Kind, object: &DynamicObject) -> Option<Key> {
        let key = key_of(kind, object)?;
        // Most events tell of our own writes, whose answers told all that there is to compare.
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        if self.world.knows(&key, kind, &object.name_any(), uid, slot::version(object)) {
            return None;
        }
        let reference = ObjectRef::new(&key.name).within(&key.namespace);
        let slot = slot::reduce(kind, object, None);
        if kind.of_people() {
            // It may wait for its instance.
            return self.world.put(&key, kind, &object.name_any(), slot).then_some(key);
        }
        // Objects that only claim to belong to an instance take no memory.
        let resource = self.resources.get(&reference)?;
        let satisfied = resource.0.as_ref().ok().and_then(|resource| self.satisfied(kind, object, resource, &key, &slot));
        let slot = Slot { satisfied, ..slot };
        self.world.put(&key, kind, &object.name_any(), slot).then_some(key)
    }

    /// The digest of the wish for this object, if it is as wanted. Others of the instance may not have
    /// arrived yet: whether they are there is not asked here.
    fn satisfied(&self, kind: Kind, object: &DynamicObject, resource: &Dhis2Instance, key: &Key, slot: &Slot) -> Option<Arc<str>> {
        if kind == Kind::Pod {
            return None;
        }
        let name = object.name_any();
        let mut observed = Observed { children: self.world.children(key), ..Observed::default() };
        observed.children.insert(kind, &name, slot.clone());
        observed.others = others::named(resource, &observed.children, |other| {
            let there = self.resources.get(&ObjectRef::new(other).within(&key.namespace))?;
            there.0.as_ref().ok().map(others::repository_of)
        });
        let instance = assume(resource, &observed, &self.settings).ok()?;
        let wish = wish(&instance, kind, &name)?;
        wish.is_satisfied_by(object).then(|| wish.digest().into())
    }
}

/// What is wanted of an object of an instance, at whatever stage that is.
fn wish(instance: &Instance, kind: Kind, name: &str) -> Option<Wanted> {
    STAGES.into_iter().find_map(|stage| {
        // No stage on the way, but what is to be backed up meanwhile.
        let stage = Stage { held: instance.stage.held, ..stage };
        let instance = Instance { stage, ..instance.clone() };
        of_kind(&instance, kind).find(|wish| wish.name == name)
    })
}

/// Do the watches tell what becomes of this object, as one of this instance's?
pub(super) fn tells_of(object: &DynamicObject, key: &Key) -> bool {
    let manager = object.labels().get("app.kubernetes.io/managed-by");
    manager.is_some_and(|manager| manager == MANAGER) && labelled(object).as_ref() == Some(key)
}

/// The labels of what is watched; none where people make it.
pub(super) fn selector(kind: Kind) -> Option<&'static str> {
    (!kind.of_people()).then_some(OURS)
}

/// The instance that an object belongs to.
fn key_of(kind: Kind, object: &DynamicObject) -> Option<Key> {
    if !kind.of_people() {
        return labelled(object);
    }
    let name = object.data.pointer("/spec/instance")?.as_str()?.to_owned();
    Some(Key { namespace: object.namespace()?, name })
}

fn labelled(object: &DynamicObject) -> Option<Key> {
    let name = object.metadata.labels.as_ref()?.get("app.kubernetes.io/instance")?.clone();
    Some(Key { namespace: object.namespace()?, name })
}

/// What the watch of the resources tells, for those who keep something about them.
#[derive(Clone, Copy, Debug)]
pub enum Heard<'a> {
    /// A list has this one, which was not known.
    Found(&'a Key),
    /// This one is there, or has changed.
    Is(&'a Key),
    /// This one is gone.
    Gone(&'a Key),
    /// A list is in. Only now the store has what it says.
    Listed,
}

/// Watches the resources themselves, kept in the reflector's store. Yields those that need a pass: of a list, what was not known as it is.
pub fn resources(
    stream: impl Stream<Item = watcher::Result<watcher::Event<Arrived>>> + Send + 'static,
    hear: impl Fn(Heard<'_>) + Send + 'static,
    progress: Progress,
) -> BoxStream<'static, Key> {
    let failed = progress.clone();
    let (mut known, mut missing) = (HashMap::new(), HashMap::new());
    stream
        .filter_map(move |event| std::future::ready(event.inspect_err(|error| failed.failed(error)).ok()))
        .filter_map(move |event| {
            let key = match event {
                watcher::Event::Init => {
                    // A list that broke off begins anew.
                    missing.extend(known.drain());
                    None
                }
                watcher::Event::InitDone => {
                    for (gone, _) in missing.drain() {
                        hear(Heard::Gone(&gone));
                    }
                    hear(Heard::Listed);
                    progress.synced();
                    None
                }
                watcher::Event::InitApply(resource) => named(&resource).filter(|key| {
                    let version = resource.resource_version();
                    let before = missing.remove(key);
                    known.insert(key.clone(), version.clone());
                    if before.is_none() {
                        hear(Heard::Found(key));
                    }
                    before != Some(version)
                }),
                watcher::Event::Apply(resource) => {
                    progress.moved();
                    named(&resource).inspect(|key| {
                        known.insert(key.clone(), resource.resource_version());
                        hear(Heard::Is(key));
                    })
                }
                watcher::Event::Delete(resource) => {
                    progress.moved();
                    named(&resource).inspect(|key| {
                        known.remove(key);
                        hear(Heard::Gone(key));
                    });
                    None
                }
            };
            std::future::ready(key)
        })
        .boxed()
}

fn named(resource: &Arrived) -> Option<Key> {
    Some(Key { namespace: resource.namespace()?, name: resource.name_any() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{
        desired::{desired, fixture},
        instance::Task,
    };

    #[test]
    fn ours_are_those_that_are_written_as_ours() {
        assert_eq!(OURS, format!("app.kubernetes.io/managed-by={MANAGER}"));
    }

    /// The Job of a restore was made a second time by a start that had not heard of the request.
    #[test]
    fn what_people_ask_for_is_known_before_what_it_shapes() {
        let mut asked = <Kind as strum::IntoEnumIterator>::iter().filter(|kind| kind.of_people());
        assert!(asked.all(|kind| crate::operator::controller::FIRST.contains(&kind)));
    }

    #[test]
    fn what_a_start_finds_at_any_stage_is_known_as_wanted() {
        let stages = fixture::STAGES.map(|stage| Instance { stage, ..fixture::plain() });
        let restores = fixture::PHASES.map(|phase| fixture::restoring(&fixture::plain(), phase));
        let asked = [Task::Backup, Task::RestoreTest].map(|task| fixture::asked(&fixture::plain(), task, None));
        let upgrades = fixture::PREPARATIONS.map(|phase| fixture::upgrading(&fixture::plain(), phase));
        for instance in stages.into_iter().chain(asked).chain(restores).chain(upgrades) {
            for wanted in desired(&instance) {
                let there: DynamicObject = serde_json::from_value(wanted.stamped()).unwrap();
                let known = wish(&instance, wanted.kind, &wanted.name).is_some_and(|wish| wish.is_satisfied_by(&there));
                assert!(
                    known,
                    "{} {} at {:?}, {:?} would be written or deleted",
                    wanted.kind.name(),
                    wanted.name,
                    instance.stage,
                    instance.restoring
                );
            }
        }
    }

    #[tokio::test]
    async fn an_instance_that_is_gone_is_forgotten() {
        let resource = || -> Arrived {
            serde_json::from_value(serde_json::json!({
                "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance", "metadata": {"name": "play", "namespace": "ns"},
                "spec": {"version": "2.42.4", "web": {"host": "play.example.org"}}
            }))
            .unwrap()
        };
        let gone_unseen = [watcher::Event::Apply(resource()), watcher::Event::Init, watcher::Event::InitDone];
        for events in [vec![watcher::Event::Apply(resource()), watcher::Event::Delete(resource())], gone_unseen.into()] {
            let events = events.into_iter().map(Ok).collect::<Vec<_>>();
            let forgotten = Arc::new(std::sync::Mutex::new(Vec::new()));
            let told = Arc::clone(&forgotten);
            let progress = Progress {
                readiness: Readiness::new([], []),
                metrics: Arc::new(Metrics::new()),
                kind: "Dhis2Instance",
                watch: "Dhis2Instance".into(),
            };
            let hear = move |heard: Heard<'_>| {
                if let Heard::Gone(key) = heard {
                    told.lock().unwrap().push(key.clone());
                }
            };
            let asked = resources(futures::stream::iter(events), hear, progress);
            let asked: Vec<Key> = asked.collect().await;
            assert_eq!(asked, [Key { namespace: "ns".into(), name: "play".into() }], "a resource that is gone needs no pass");
            assert_eq!(*forgotten.lock().unwrap(), asked);
        }
    }
}
