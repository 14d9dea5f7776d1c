//! Whose object is it? Pure.

use std::collections::HashSet;

use super::{desired::Wanted, instance::Instance, kind::Kind, observe::Observed, slot::Slot};

/// Whose an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This instance's.
    Ours,
    /// Left behind by a deleted instance.
    Retained,
    /// Somebody else's.
    Foreign,
}

/// Whose an object is: by its owner, and where it has none by the uid of its maker.
pub fn of(slot: &Slot, instance: &Instance) -> Ownership {
    match (&slot.owner, &slot.maker) {
        (Some(owner), _) if *owner == instance.uid => Ownership::Ours,
        (Some(_), _) | (None, None) => Ownership::Foreign,
        (None, Some(maker)) if *maker == instance.uid => Ownership::Ours,
        (None, Some(_)) => Ownership::Retained,
    }
}

/// Kinds of which this instance's objects go when they are no longer wanted. What serves users or holds
/// data is not among them: it goes with the resource only.
const PASSING: [Kind; 2] = [Kind::Job, Kind::NetworkPolicy];

/// Objects of this instance that are no longer wanted: finished steps, policies that were switched off.
pub fn superfluous(instance: &Instance, observed: &Observed, wanted: &[Wanted]) -> Vec<(Kind, String, String)> {
    let names: HashSet<(Kind, &str)> = wanted.iter().map(|wish| (wish.kind, wish.name.as_str())).collect();
    let passing = PASSING.into_iter().flat_map(|kind| observed.slots(kind).map(move |(name, slot)| (kind, name, slot)));
    passing
        .filter(|(kind, name, slot)| !names.contains(&(*kind, *name)) && slot.owner.as_deref() == Some(&instance.uid) && !slot.deleting)
        .map(|(kind, name, slot)| (kind, name.to_owned(), slot.uid.clone()))
        .collect()
}
