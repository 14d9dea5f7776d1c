//! Whose object is it? Pure.

use std::collections::HashSet;

use super::{
    desired::{Wanted, copies},
    instance::Instance,
    kind::Kind,
    observe::Observed,
    slot::Slot,
};

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

/// Whose an object is: by its owner, and where it has none by the wish that it was written for, or by the uid of its maker.
pub fn of(slot: &Slot, wish: &Wanted, instance: &Instance) -> Ownership {
    match (&slot.owner, &slot.maker) {
        (Some(owner), _) if **owner == *instance.uid => Ownership::Ours,
        // Somebody took a mark away. Wishes name the instance's uid, so no other instance's digest is the same.
        (None, _) if slot.applied.as_deref() == Some(&wish.digest()) => Ownership::Ours,
        (Some(_), _) | (None, None) => Ownership::Foreign,
        (None, Some(maker)) if **maker == *instance.uid => Ownership::Ours,
        (None, Some(_)) => Ownership::Retained,
    }
}

/// Kinds of which this instance's objects go when they are no longer wanted. What serves users or holds
/// data is not among them: it goes with the resource only.
const PASSING: [Kind; 3] = [Kind::Job, Kind::NetworkPolicy, Kind::CronJob];

/// Objects of this instance that are no longer wanted: finished steps, policies that were switched off, copies that are asked for no more.
/// Other schedules go with the resource.
pub fn superfluous(instance: &Instance, observed: &Observed, wanted: &[Wanted]) -> Vec<(Kind, String, String)> {
    let names: HashSet<(Kind, &str)> = wanted.iter().map(|wish| (wish.kind, wish.name.as_str())).collect();
    let passing = PASSING.into_iter().flat_map(|kind| observed.slots(kind).map(move |(name, slot)| (kind, name, slot)));
    let of_copies = [copies::suffix(""), copies::tests_suffix("")].map(|suffix| instance.child(&suffix));
    passing
        .filter(|(kind, name, _)| *kind != Kind::CronJob || of_copies.iter().any(|begin| name.starts_with(begin)))
        .filter(|(kind, name, slot)| !names.contains(&(*kind, *name)) && slot.owner.as_deref() == Some(&instance.uid) && !slot.deleting)
        .map(|(kind, name, slot)| (kind, name.to_owned(), slot.uid.to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{
        desired::{desired, fixture},
        slot::{
            Facts,
            fixture::{owned, slot},
        },
    };

    fn ownership(owner: Option<&str>, maker: Option<&str>, applied: Option<String>) -> Ownership {
        let instance = fixture::plain();
        let wish = desired(&instance).remove(0);
        let ([owner, maker], applied) = ([owner, maker].map(|uid| uid.map(Into::into)), applied.map(Into::into));
        let slot = Slot { owner, maker, applied, ..slot("1", Facts::Plain) };
        of(&slot, &wish, &instance)
    }

    #[test]
    fn whoever_is_named_as_owner_or_maker_has_it() {
        assert_eq!(ownership(Some("uid-1"), None, None), Ownership::Ours);
        assert_eq!(ownership(None, Some("uid-1"), None), Ownership::Ours);
        assert_eq!(ownership(None, Some("uid-0"), None), Ownership::Retained);
        assert_eq!(ownership(Some("uid-0"), Some("uid-1"), None), Ownership::Foreign);
        assert_eq!(ownership(None, None, None), Ownership::Foreign);
    }

    #[test]
    fn the_schedules_of_a_copy_go_with_the_copy_and_no_other_does() {
        let instance = fixture::plain();
        let mut observed = Observed { instance: "uid-1".into(), ..Observed::default() };
        for (name, owner) in
            [("play-backup", "uid-1"), ("play-copy-away", "uid-1"), ("play-copy-theirs", "uid-2"), ("play-test-away", "uid-1")]
        {
            observed.children.insert(Kind::CronJob, name, owned(name, owner, Facts::Plain));
        }
        let gone = |instance: &Instance| {
            superfluous(instance, &observed, &desired(instance)).into_iter().map(|(_, name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(gone(&instance), ["play-copy-away", "play-test-away"]);
        assert!(gone(&fixture::copying(&instance)).is_empty());
        let early = Instance { stage: fixture::STAGES[0], ..instance };
        assert_eq!(gone(&early), ["play-copy-away", "play-test-away"], "the backups are not stopped by a status that was lost");
    }

    #[test]
    fn an_object_that_lost_its_owner_is_known_by_the_wish_that_it_was_written_for() {
        let written = desired(&fixture::plain()).remove(0).digest();
        assert_eq!(ownership(None, None, Some(written.clone())), Ownership::Ours);
        assert_eq!(ownership(Some("uid-0"), None, Some(written)), Ownership::Foreign, "somebody else's it is all the same");
        let before = Instance { uid: "uid-0".into(), ..fixture::plain() };
        let before = Instance {
            owner: k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference { uid: "uid-0".into(), ..before.owner.clone() },
            ..before
        };
        let former = desired(&before).remove(0).digest();
        assert_eq!(ownership(None, None, Some(former)), Ownership::Foreign, "a deleted instance's of the same name");
    }
}
