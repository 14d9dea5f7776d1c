//! All resources of all scopes, as the watches keep them: whoever asks for an address has to know who else does.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, StreamExt, stream};
use kube::{
    ResourceExt,
    core::DeserializeGuard,
    runtime::{
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use tokio::sync::watch;

use super::{addresses, parse::Refusal, reconcile::key_of, world::Key};
use crate::api::{Dhis2Instance, Reason};

/// The resources of a scope as the reflector keeps them.
pub type Resources = Store<DeserializeGuard<Dhis2Instance>>;

/// A change of a resource, after the store has taken it in.
pub type Event = watcher::Event<DeserializeGuard<Dhis2Instance>>;

/// All resources.
#[derive(Debug)]
pub struct Fleet {
    scopes: Vec<Resources>,
    index: Mutex<Index>,
    changes: watch::Sender<()>,
}

/// Who has to do with an address: of a thousand resources, one asks for it. Only where to look; what is so is in the stores.
#[derive(Debug, Default)]
struct Index {
    /// Those that ask for an address, or serve there.
    at: HashMap<String, HashSet<Key>>,
    /// The addresses of each.
    of: HashMap<Key, Vec<String>>,
    /// Those that were told to wait.
    waiting: HashSet<Key>,
}

impl Index {
    fn learn(&mut self, resource: &Dhis2Instance) {
        let key = key_of(resource);
        self.forget(&key);
        let addresses: Vec<String> =
            std::iter::once(addresses::asked(resource)).chain(addresses::served(resource).map(str::to_owned)).collect();
        for address in &addresses {
            self.at.entry(address.clone()).or_default().insert(key.clone());
        }
        if told(resource).is_some() {
            self.waiting.insert(key.clone());
        }
        self.of.insert(key, addresses);
    }

    fn forget(&mut self, key: &Key) {
        self.waiting.remove(key);
        for address in self.of.remove(key).into_iter().flatten() {
            if let Some(there) = self.at.get_mut(&address) {
                there.remove(key);
                if there.is_empty() {
                    self.at.remove(&address);
                }
            }
        }
    }
}

impl Fleet {
    /// The resources of these scopes.
    pub fn new(scopes: Vec<Resources>) -> Self {
        Self { scopes, index: Mutex::default(), changes: watch::Sender::new(()) }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in that a resource was made, changed or is gone.
    pub fn take(&self, event: &Event) {
        match event {
            watcher::Event::Apply(resource) => match &resource.0 {
                Ok(resource) => self.index().learn(resource),
                Err(_) => self.index().forget(&named(resource)),
            },
            watcher::Event::Delete(resource) => self.index().forget(&named(resource)),
            // What a list brings is in the store when the list is complete.
            watcher::Event::Init | watcher::Event::InitApply(_) => return,
            watcher::Event::InitDone => {
                let mut index = Index::default();
                self.each(|resource| index.learn(resource));
                *self.index() = index;
            }
        }
        self.changes.send_replace(());
    }

    /// Shows every resource that can be read.
    pub fn each(&self, mut show: impl FnMut(&Dhis2Instance)) {
        let all = self.scopes.iter().flat_map(Store::state);
        all.for_each(|resource| resource.0.iter().for_each(&mut show));
    }

    /// Why a resource does not get the address that it asks for.
    pub fn taken(&self, resource: &Dhis2Instance) -> Option<Refusal> {
        let there: Vec<Key> = self.index().at.get(&addresses::asked(resource)).into_iter().flatten().cloned().collect();
        let all: Vec<_> = there.iter().flat_map(|key| self.scopes.iter().filter_map(|scope| get(scope, key))).collect();
        addresses::taken(resource, all.iter().filter_map(|resource| resource.0.as_ref().ok()))
    }

    /// Those of a scope that were told to wait for an address and wait for it no longer, or for somebody else: after any change,
    /// since only another resource's change ends their wait.
    pub fn freed(self: Arc<Self>, scope: Resources) -> impl Stream<Item = Key> {
        let changes = stream::unfold(self.changes.subscribe(), async |mut changes| {
            changes.changed().await.ok()?;
            Some(((), changes))
        });
        changes.flat_map(move |()| {
            let waiting: Vec<Key> = self.index().waiting.iter().cloned().collect();
            let all: Vec<_> = waiting.iter().filter_map(|key| get(&scope, key)).collect();
            let waiting = all.iter().filter_map(|resource| resource.0.as_ref().ok());
            let freed = waiting.filter(|resource| {
                told(resource).is_some_and(|told| self.taken(resource).is_none_or(|now| !told.starts_with(&now.message)))
            });
            stream::iter(freed.map(key_of).collect::<Vec<_>>())
        })
    }
}

fn named(resource: &impl ResourceExt) -> Key {
    Key { namespace: resource.namespace().unwrap_or_default(), name: resource.name_any() }
}

fn get(scope: &Resources, key: &Key) -> Option<Arc<DeserializeGuard<Dhis2Instance>>> {
    scope.get(&ObjectRef::new(&key.name).within(&key.namespace))
}

/// What a resource that waits for an address was told; the page to read stands at its end.
fn told(resource: &Dhis2Instance) -> Option<&str> {
    let mut conditions = resource.status.iter().flat_map(|status| &status.conditions);
    let conflict = conditions.find(|condition| condition.type_ == "Exposed" && condition.reason == Reason::HostConflict.as_str())?;
    Some(&conflict.message)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt;
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;

    use super::*;

    fn resource(name: &str, created: u8, told: Option<&str>) -> DeserializeGuard<Dhis2Instance> {
        let exposed = told.map(|message| {
            json!({"type": "Exposed", "status": "False", "reason": "HostConflict", "message": message, "lastTransitionTime": "2026-11-25T12:00:00Z"})
        });
        serde_json::from_value(json!({
            "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance",
            "metadata": {"name": name, "namespace": "ns", "uid": name, "creationTimestamp": format!("2026-11-25T12:00:0{created}Z")},
            "spec": {"version": "2.42.4", "web": {"host": "h.org"}},
            "status": {"conditions": exposed.into_iter().collect::<Vec<_>>()}
        }))
        .unwrap()
    }

    #[test]
    fn whoever_waits_is_looked_at_when_somebody_else_is_in_the_way_or_nobody() {
        let (store, mut writer) = reflector::store();
        let fleet = Arc::new(Fleet::new(vec![store.clone()]));
        let mut freed = pin!(fleet.clone().freed(store));
        let mut after = |event| {
            writer.apply_watcher_event(&event);
            fleet.take(&event);
            freed.next().now_or_never().flatten().map(|key| key.name)
        };
        assert_eq!(after(Event::Apply(resource("first", 1, None))), None);
        let late = resource("late", 3, None);
        let told = fleet.taken(late.0.as_ref().unwrap()).unwrap().message + " See docs/runbooks/HostConflict.md";
        assert_eq!(after(Event::Apply(resource("late", 3, Some(&told)))), None);
        assert_eq!(after(Event::Apply(resource("second", 2, None))), None, "the first one is still in the way");
        assert_eq!(after(Event::Delete(resource("first", 1, None))).as_deref(), Some("late"), "it is told of the second one");
        assert_eq!(after(Event::Delete(resource("second", 2, None))).as_deref(), Some("late"), "the address is free");
    }

    #[test]
    fn an_address_is_found_after_a_list_and_after_its_owner_moved() {
        let (store, mut writer) = reflector::store();
        let fleet = Fleet::new(vec![store]);
        let mut after = |event| {
            writer.apply_watcher_event(&event);
            fleet.take(&event);
            fleet.taken(resource("late", 3, None).0.as_ref().unwrap()).is_some()
        };
        assert!(!after(Event::Init));
        assert!(!after(Event::InitApply(resource("first", 1, None))));
        assert!(after(Event::InitDone));
        let mut moved = resource("first", 1, None);
        moved.0.as_mut().unwrap().spec.web.host = "other.org".into();
        assert!(!after(Event::Apply(moved)));
        assert!(after(Event::Apply(resource("first", 1, None))));
        assert!(after(Event::Init), "an address is kept while a list is under way");
        assert!(!after(Event::InitDone), "the list does not hold it any more");
    }
}
