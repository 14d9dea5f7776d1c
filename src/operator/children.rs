//! The children of an instance, in little memory: a list in order, which copies share until one of them is changed.

use std::sync::Arc;

use super::{kind::Kind, slot::Slot};

/// Kind and name of a child.
pub type Id = (Kind, Arc<str>);

/// The children of an instance by kind and name.
///
/// A map of the standard library would keep room for nearly as many more, and each look at an instance would copy every slot.
#[derive(Clone, Debug, Default)]
pub struct Children(Arc<Vec<(Id, Slot)>>);

impl Children {
    fn place(&self, kind: Kind, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|((of, known), _)| (*of, &**known).cmp(&(kind, name)))
    }

    /// The slot of a child.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Slot> {
        self.0.get(self.place(kind, name).ok()?).map(|(_, slot)| slot)
    }

    /// The slot of a child, to be changed.
    pub fn get_mut(&mut self, kind: Kind, name: &str) -> Option<&mut Slot> {
        let place = self.place(kind, name).ok()?;
        Arc::make_mut(&mut self.0).get_mut(place).map(|(_, slot)| slot)
    }

    /// Takes in a slot, in place of the one that is known.
    pub fn insert(&mut self, kind: Kind, name: &str, slot: Slot) {
        let place = self.place(kind, name);
        let list = Arc::make_mut(&mut self.0);
        match place {
            Ok(known) => list.get_mut(known).into_iter().for_each(|(_, there)| *there = slot.clone()),
            Err(gap) => {
                // An instance has few children and keeps them: room for more would never be used.
                list.reserve_exact(1);
                list.insert(gap, ((kind, name.into()), slot));
            }
        }
    }

    /// Forgets a child. Says whether it was known.
    pub fn remove(&mut self, kind: Kind, name: &str) -> bool {
        let place = self.place(kind, name);
        place.map(|place| Arc::make_mut(&mut self.0).remove(place)).is_ok()
    }

    /// Forgets all but those of the kinds that are to stay.
    pub fn retain(&mut self, stays: impl Fn(Kind) -> bool) {
        Arc::make_mut(&mut self.0).retain(|((kind, _), _)| stays(*kind));
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &str, &Slot)> {
        self.0.iter().map(|((kind, name), slot)| (*kind, &**name, slot))
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Children {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::slot::{Facts, fixture};

    fn slot(uid: &str) -> Slot {
        fixture::slot(uid, Facts::Plain)
    }

    fn uids(children: &Children) -> Vec<&str> {
        children.iter().map(|(_, _, slot)| &*slot.uid).collect()
    }

    #[test]
    fn they_are_in_order_and_each_is_there_once() {
        let mut children = Children::default();
        for (kind, name, uid) in [(Kind::Job, "b", "1"), (Kind::Job, "a", "2"), (Kind::Service, "a", "3"), (Kind::Job, "b", "4")] {
            children.insert(kind, name, slot(uid));
        }
        let mut sorted: Vec<_> = children.iter().map(|(kind, name, _)| (kind, name.to_owned())).collect();
        sorted.sort();
        assert_eq!(children.iter().map(|(kind, name, _)| (kind, name.to_owned())).collect::<Vec<_>>(), sorted);
        assert_eq!(children.get(Kind::Job, "b").map(|slot| &*slot.uid), Some("4"));
        assert_eq!(children.get(Kind::Service, "b"), None);
        assert!(children.remove(Kind::Job, "b") && !children.remove(Kind::Job, "b"));
        assert_eq!(uids(&children).len(), 2);
    }

    #[test]
    fn a_copy_does_not_see_what_happens_later() {
        let mut children = Children::default();
        children.insert(Kind::Job, "a", slot("1"));
        let before = children.clone();
        assert_eq!(before, children);
        children.insert(Kind::Job, "b", slot("2"));
        children.get_mut(Kind::Job, "a").unwrap().uid = "3".into();
        assert_eq!((uids(&before), uids(&children)), (vec!["1"], vec!["3", "2"]));
        assert_ne!(before, children);
    }
}
