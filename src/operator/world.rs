//! What the watches have told: for each instance the slots of its children. The only state of the
//! operator, rebuilt from the first lists after a start.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{children::Children, kind::Kind, slot::Slot};

/// Namespace and name of an instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// Slots of all instances.
#[derive(Default)]
pub struct World {
    instances: Mutex<HashMap<Key, Instance>>,
    /// The last objects that a watch told the end of, and the version of that. An answer may be taken in after it that tells how the
    /// object was before, and no watch would ever tell that again. Locked after the instances, where both are.
    gone: Mutex<VecDeque<(String, u64)>>,
}

/// So many uids are remembered: between an answer and its being taken in there is next to no time.
const REMEMBERED: usize = 256;

/// An object that is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    /// Its instance.
    pub key: Key,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: Arc<str>,
}

/// What is known of an instance.
#[derive(Default)]
struct Instance {
    children: Children,
    /// resourceVersion of our own last write to the resource: older copies of it are not acted upon.
    written: u64,
    /// How often something made it doubtful whether the resource is there as it is known: it came with a list, or a child of it went.
    doubts: u64,
    /// How many of them there were when the API server was asked.
    resolved: u64,
}

impl World {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Instance>> {
        // A panic while the lock was held can't leave a slot half written: slots are replaced whole.
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of an instance's children at this moment.
    pub fn children(&self, key: &Key) -> Children {
        self.lock().get(key).map(|known| known.children.clone()).unwrap_or_default()
    }

    /// Is this object known as it was at this version, or later? Then an event of it tells nothing.
    pub fn knows(&self, key: &Key, kind: Kind, name: &str, uid: &str, version: u64) -> bool {
        let instances = self.lock();
        let known = instances.get(key).and_then(|known| known.children.get(kind, name));
        known.is_some_and(|known| &*known.uid == uid && known.version >= version)
    }

    /// Takes in a slot, unless a newer one of the same object is known. Says whether it tells something new.
    pub fn put(&self, key: &Key, kind: Kind, name: &str, slot: Slot) -> bool {
        let mut instances = self.lock();
        if self.gone.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|(uid, end)| **uid == *slot.uid && slot.version < *end) {
            return false;
        }
        let children = &mut instances.entry(key.clone()).or_default().children;
        match children.get(kind, name) {
            Some(known) if known.uid == slot.uid && known.version >= slot.version => false,
            known => {
                let new = known.is_none_or(|known| slot.tells_something_new(known));
                let beside = children.iter().next().map(|(_, _, slot)| slot);
                let slot = slot.sharing(known.or(beside));
                children.insert(kind, name, slot);
                new
            }
        }
    }

    /// Records that an object satisfies a wish as it was at this version, although it did not change. Of one that has changed since, that
    /// says nothing.
    pub fn satisfied(&self, key: &Key, kind: Kind, name: &str, (uid, version): (&str, u64), digest: &str) {
        let mut instances = self.lock();
        let known = instances.get_mut(key).and_then(|known| known.children.get_mut(kind, name));
        if let Some(slot) = known.filter(|slot| &*slot.uid == uid && slot.version == version) {
            slot.satisfied = Some(digest.into());
        }
    }

    /// A watch told the end of an object: it is gone, or has our labels no more, and may have them again. Says whether it was known.
    pub fn ended(&self, key: &Key, kind: Kind, name: &str, uid: &str, version: u64) -> bool {
        {
            let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
            gone.push_back((uid.to_owned(), version));
            if gone.len() > REMEMBERED {
                gone.pop_front();
            }
        }
        self.remove(key, kind, name, uid)
    }

    /// Forgets an object that is gone. Says whether it was known.
    pub fn remove(&self, key: &Key, kind: Kind, name: &str, uid: &str) -> bool {
        let mut instances = self.lock();
        let Some(instance) = instances.get_mut(key) else { return false };
        let known = instance.children.get(kind, name).is_some_and(|slot| &*slot.uid == uid) && instance.children.remove(kind, name);
        instance.doubts += u64::from(known && !matches!(kind, Kind::Job | Kind::Pod) && !kind.of_people());
        known
    }

    /// A list told of the resource: it may be older than what happened since, as after a restore or from a server that lags behind.
    pub fn doubt(&self, key: &Key) {
        self.lock().entry(key.clone()).or_default().doubts += 1;
    }

    /// How many reasons there are to ask, before anything is written, whether the resource is there as it is known; none if it was asked
    /// since the last one. A child that goes is such a reason: when it is collected with its owner, it is not to be made again.
    pub fn doubts(&self, key: &Key) -> Option<u64> {
        self.lock().get(key).filter(|known| known.doubts > known.resolved).map(|known| known.doubts)
    }

    /// The resource was as it is known after so many of them.
    pub fn resolved(&self, key: &Key, doubts: u64) {
        if let Some(known) = self.lock().get_mut(key) {
            known.resolved = known.resolved.max(doubts);
        }
    }

    /// The objects of a kind that are known before a list begins: those of them that are not in it are gone.
    /// What is made while the list is under way is not among them.
    pub fn known(&self, kind: Kind, namespace: Option<&str>) -> HashSet<Known> {
        let instances = self.lock();
        let here = instances.iter().filter(|(key, _)| namespace.is_none_or(|wanted| wanted == key.namespace));
        here.flat_map(|(key, instance)| {
            let of_kind = instance.children.iter().filter(|(of, _, _)| *of == kind);
            of_kind.map(|(_, name, slot)| Known { key: key.clone(), name: name.to_owned(), uid: slot.uid.clone() })
        })
        .collect()
    }

    /// Forgets an instance, but for what people made that may wait for another one of this name.
    pub fn forget(&self, key: &Key) {
        let mut instances = self.lock();
        let Some(mut instance) = instances.remove(key) else { return };
        instance.children.retain(Kind::of_people);
        if !instance.children.is_empty() {
            instances.insert(key.clone(), Instance { children: instance.children, ..Instance::default() });
        }
    }

    /// The instance whose child of this kind and name is known; one without a name where none is.
    pub fn whose(&self, kind: Kind, child: &Key) -> Key {
        let instances = self.lock();
        let mut here = instances.iter().filter(|(key, _)| key.namespace == child.namespace);
        let found = here.find(|(_, instance)| instance.children.get(kind, &child.name).is_some());
        found.map_or_else(|| Key { namespace: child.namespace.clone(), name: String::new() }, |(key, _)| key.clone())
    }

    /// Remembers our own write to the resource.
    pub fn wrote(&self, key: &Key, version: u64) {
        let mut instances = self.lock();
        let known = instances.entry(key.clone()).or_default();
        known.written = known.written.max(version);
    }

    /// Is this copy of the resource older than our own last write to it?
    pub fn is_stale(&self, key: &Key, version: u64) -> bool {
        self.lock().get(key).is_some_and(|known| version < known.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::slot::{Facts, fixture};

    fn slot(uid: &str, version: u64, satisfied: &str) -> Slot {
        Slot { version, satisfied: Some(satisfied.into()), ..fixture::slot(uid, Facts::Plain) }
    }

    fn key() -> Key {
        Key { namespace: "ns".into(), name: "play".into() }
    }

    #[test]
    fn an_older_event_does_not_undo_a_newer_answer() {
        let world = World::default();
        assert!(world.put(&key(), Kind::Service, "play", slot("a", 7, "x")));
        assert!(!world.put(&key(), Kind::Service, "play", slot("a", 6, "y")));
        let knows = |name, uid, version| world.knows(&key(), Kind::Service, name, uid, version);
        assert!(knows("play", "a", 6) && knows("play", "a", 7));
        assert!(!knows("play", "a", 8) && !knows("play", "b", 7) && !knows("other", "a", 7));
        assert!(!world.put(&key(), Kind::Service, "play", slot("a", 8, "x")), "a new version alone is no news");
        assert!(world.put(&key(), Kind::Service, "play", slot("b", 3, "x")), "another object of the same name is news");
    }

    #[test]
    fn a_late_delete_of_a_former_object_does_not_hide_its_successor() {
        let world = World::default();
        world.put(&key(), Kind::Job, "play-bootstrap", slot("new", 9, "x"));
        assert!(!world.remove(&key(), Kind::Job, "play-bootstrap", "old"));
        assert!(world.remove(&key(), Kind::Job, "play-bootstrap", "new"));
    }

    #[test]
    fn what_is_gone_is_not_taken_in_by_a_late_answer() {
        let world = World::default();
        assert!(!world.ended(&key(), Kind::Job, "play-bootstrap", "a", 6), "it was not known");
        assert!(!world.put(&key(), Kind::Job, "play-bootstrap", slot("a", 5, "x")));
        assert!(world.children(&key()).is_empty());
        assert!(world.put(&key(), Kind::Job, "play-bootstrap", slot("b", 5, "x")));
        for number in 0..2 * REMEMBERED {
            world.ended(&key(), Kind::Job, "another", &number.to_string(), 9);
        }
        assert_eq!(world.gone.lock().unwrap().len(), REMEMBERED);
    }

    #[test]
    fn what_lost_its_labels_and_has_them_again_is_known_again() {
        let world = World::default();
        world.put(&key(), Kind::Service, "play", slot("a", 5, "x"));
        assert!(world.ended(&key(), Kind::Service, "play", "a", 6), "its change at 6 took them");
        assert!(world.put(&key(), Kind::Service, "play", slot("a", 6, "y")), "as it is found");
        assert!(world.put(&key(), Kind::Service, "play", slot("a", 7, "x")), "as it is mended");
    }

    #[test]
    fn a_loss_or_a_list_asks_once_whether_the_resource_is_there() {
        let world = World::default();
        for (kind, name) in [(Kind::Service, "a"), (Kind::Ingress, "b"), (Kind::Job, "c"), (Kind::Pod, "d")] {
            world.put(&key(), kind, name, slot(name, 1, "x"));
        }
        world.remove(&key(), Kind::Job, "c", "c");
        world.remove(&key(), Kind::Pod, "d", "d");
        assert_eq!(world.doubts(&key()), None, "work that is over");
        world.remove(&key(), Kind::Service, "a", "a");
        let doubts = world.doubts(&key()).unwrap();
        world.remove(&key(), Kind::Ingress, "b", "b");
        world.resolved(&key(), doubts);
        let later = world.doubts(&key()).expect("it went after the question");
        world.resolved(&key(), later);
        assert_eq!(world.doubts(&key()), None);
        world.doubt(&key());
        assert!(world.doubts(&key()).is_some());
    }

    #[test]
    fn a_list_asks_for_those_that_were_known_before_it() {
        let world = World::default();
        world.put(&key(), Kind::Job, "a", slot("1", 1, "x"));
        world.put(&key(), Kind::Service, "a", slot("2", 1, "x"));
        let known = world.known(Kind::Job, None);
        world.put(&key(), Kind::Job, "b", slot("3", 2, "x"));
        assert_eq!(known.into_iter().map(|known| (known.name, known.uid)).collect::<Vec<_>>(), [("a".to_owned(), "1".into())]);
        assert!(world.known(Kind::Job, Some("other")).is_empty());
    }
}
