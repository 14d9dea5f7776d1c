//! All resources of all scopes, as the watches keep them: whoever asks for an address has to know who else does.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, StreamExt, stream};
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::watch;

use super::{
    addresses,
    arrived::Arrived,
    others::{self, Elsewhere},
    parse::Refusal,
    reconcile::key_of,
    world::Key,
};
use crate::api::{Dhis2Instance, Reason};

/// The resources of a scope as the reflector keeps them.
pub type Resources = Store<Arrived>;

/// All resources.
#[derive(Debug)]
pub struct Fleet {
    scopes: Vec<Resources>,
    directory: Mutex<Directory>,
    changes: watch::Sender<()>,
}

/// Who asks for an address or serves there. Looking through all resources at each pass would take longer the more there are.
#[derive(Debug, Default)]
struct Directory {
    /// By address.
    claimants: HashMap<String, HashSet<Key>>,
    /// The addresses of each.
    claims: HashMap<Key, Vec<String>>,
    /// The addresses whose claimants have changed since each scope looked.
    stirred: Vec<HashSet<String>>,
}

impl Directory {
    /// Takes in what a resource claims now; nothing when it is gone.
    fn put(&mut self, key: &Key, claims: Vec<String>) {
        let before = self.claims.remove(key).unwrap_or_default();
        for address in &before {
            if let Some(claimants) = self.claimants.get_mut(address) {
                claimants.remove(key);
                if claimants.is_empty() {
                    self.claimants.remove(address);
                }
            }
        }
        for address in &claims {
            self.claimants.entry(address.clone()).or_default().insert(key.clone());
        }
        for scope in &mut self.stirred {
            scope.extend(before.iter().chain(&claims).cloned());
        }
        if !claims.is_empty() {
            self.claims.insert(key.clone(), claims);
        }
    }

    fn at(&self, address: &str) -> Vec<Key> {
        self.claimants.get(address).into_iter().flatten().cloned().collect()
    }
}

impl Fleet {
    /// The resources of these scopes.
    pub fn new(scopes: Vec<Resources>) -> Self {
        let stirred = scopes.iter().map(|_| HashSet::new()).collect();
        let directory = Mutex::new(Directory { stirred, ..Directory::default() });
        Self { scopes, directory, changes: watch::Sender::new(()) }
    }

    fn directory(&self) -> MutexGuard<'_, Directory> {
        // A panic while the lock was held can at worst have left an address without a claimant, until the next list.
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &Key) -> Option<Arc<Arrived>> {
        let reference = ObjectRef::new(&key.name).within(&key.namespace);
        self.scopes.iter().find_map(|scope| scope.get(&reference))
    }

    /// A resource was made, changed or is gone.
    pub fn changed(&self, key: &Key) {
        let claims = self.get(key).and_then(|resource| Some(addresses::claimed(resource.0.as_ref().ok()?)));
        self.directory().put(key, claims.unwrap_or_default());
        self.changes.send_replace(());
    }

    /// A list of resources is in: any of them may have changed, and others may be gone.
    pub fn listed(&self) {
        let mut keys: HashSet<Key> = self.directory().claims.keys().cloned().collect();
        self.each(|resource| keys.extend([key_of(resource)]));
        for key in &keys {
            self.changed(key);
        }
    }

    /// The repository of another instance of a namespace.
    pub fn repository_of(&self, namespace: &str, name: &str) -> Option<Elsewhere> {
        let there = self.get(&Key { namespace: namespace.to_owned(), name: name.to_owned() })?;
        there.0.as_ref().ok().map(others::repository_of)
    }

    /// Shows every resource that can be read.
    pub fn each(&self, mut show: impl FnMut(&Dhis2Instance)) {
        let all = self.scopes.iter().flat_map(Store::state);
        all.for_each(|resource| resource.0.iter().for_each(&mut show));
    }

    /// Why a resource does not get the address that it asks for.
    pub fn taken(&self, resource: &Dhis2Instance) -> Option<Refusal> {
        let claimants = self.directory().at(&addresses::asked(resource));
        let claimants: Vec<_> = claimants.iter().filter_map(|key| self.get(key)).collect();
        addresses::taken(resource, claimants.iter().filter_map(|resource| resource.0.as_ref().ok()))
    }

    /// Those of the scope of this number that were told to wait for an address and wait for it no longer, or for somebody else: after
    /// a change of whoever asks for it, since nothing else ends their wait.
    pub fn freed(self: Arc<Self>, scope: usize) -> impl Stream<Item = Key> {
        let changes = stream::unfold(self.changes.subscribe(), async |mut changes| {
            changes.changed().await.ok()?;
            Some(((), changes))
        });
        changes.flat_map(move |()| stream::iter(self.freed_now(scope)))
    }

    fn freed_now(&self, scope: usize) -> Vec<Key> {
        let Some(resources) = self.scopes.get(scope) else { return Vec::new() };
        let claimants: HashSet<Key> = {
            let mut directory = self.directory();
            let stirred = directory.stirred.get_mut(scope).map(std::mem::take).unwrap_or_default();
            stirred.iter().flat_map(|address| directory.at(address)).collect()
        };
        let waits_for_another = |key: &Key| {
            let resource = resources.get(&ObjectRef::new(&key.name).within(&key.namespace))?;
            let resource = resource.0.as_ref().ok()?;
            let told = told(resource)?;
            Some(self.taken(resource).is_none_or(|now| !told.starts_with(&now.message)))
        };
        claimants.into_iter().filter(|key| waits_for_another(key) == Some(true)).collect()
    }
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

    fn resource(name: &str, created: u8, told: Option<&str>) -> Arrived {
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
        let fleet = Arc::new(Fleet::new(vec![store]));
        let mut freed = pin!(fleet.clone().freed(0));
        let mut after = |event| {
            writer.apply_watcher_event(&event);
            let (Event::Apply(resource) | Event::Delete(resource)) = &event else { panic!("no change") };
            fleet.changed(&key_of(resource.0.as_ref().unwrap()));
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
    fn who_was_not_heard_of_one_by_one_is_known_after_a_list() {
        let (store, mut writer) = reflector::store();
        let fleet = Arc::new(Fleet::new(vec![store]));
        let late = resource("late", 3, None);
        let late = late.0.as_ref().unwrap();
        let mut list = |resources: Vec<Arrived>| {
            let events = resources.into_iter().map(Event::InitApply);
            [Event::Init].into_iter().chain(events).chain([Event::InitDone]).for_each(|event| writer.apply_watcher_event(&event));
            fleet.listed();
            fleet.taken(late).is_some()
        };
        assert!(list(vec![resource("first", 1, None), resource("late", 3, None)]));
        assert!(!list(vec![resource("late", 3, None)]), "the first one went unseen");
        assert!(fleet.directory().claimants.values().all(|claimants| claimants.len() == 1), "who is gone claims nothing");
    }
}
