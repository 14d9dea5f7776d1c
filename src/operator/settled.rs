//! Passes that found nothing to do. What is wanted follows from an instance, and what is to be written from that and what was seen:
//! when both are as they were, nothing is to be written again, and what is wanted need not be made up.

use std::{
    collections::HashMap,
    fmt::{self, Write},
    hash::{DefaultHasher, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{children::Children, instance::Instance, observe::Observed, world::Key};
use crate::api::Dhis2InstanceStatus;

/// Everything that a pass decides on: the children, which it shares with the world and so compares without looking at them as a rule, and
/// all the rest as a hash.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    rest: u64,
    children: Children,
}

impl Picture {
    /// Of an instance, what was recorded of it, and what was seen.
    pub fn of(instance: &Instance, recorded: Option<&Dhis2InstanceStatus>, observed: &Observed) -> Self {
        // Each field by name: a new one does not compile until it is thought of.
        let Observed { instance: uid, children, secrets, taken, missing, others } = observed;
        let mut text = Hashed(DefaultHasher::new());
        // Derived, so that no field is left out. A hash takes every text.
        let _ = write!(text, "{instance:?}{recorded:?}{uid:?}{secrets:?}{taken:?}{missing:?}{others:?}");
        Self { rest: text.0.finish(), children: children.clone() }
    }
}

struct Hashed(DefaultHasher);

impl Write for Hashed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// The last picture of each instance that needed nothing.
#[derive(Debug, Default)]
pub struct Settled(Mutex<HashMap<Key, Picture>>);

impl Settled {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Picture>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Did a pass over this picture find nothing to do?
    pub fn is(&self, key: &Key, picture: &Picture) -> bool {
        self.lock().get(key) == Some(picture)
    }

    /// A pass over this picture found nothing to do.
    pub fn found(&self, key: &Key, picture: Picture) {
        self.lock().insert(key.clone(), picture);
    }

    /// Forgets an instance.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::bootstrap::SourceRepository;
    use crate::operator::{
        desired::fixture,
        kind::Kind,
        others::Elsewhere,
        slot::{Facts, fixture::slot},
    };

    #[test]
    fn another_instance_record_or_view_is_another_picture() {
        let (instance, observed, status) = (fixture::plain(), Observed::default(), Dhis2InstanceStatus::default());
        let picture = Picture::of(&instance, Some(&status), &observed);
        assert_eq!(Picture::of(&instance.clone(), Some(&status.clone()), &observed.clone()), picture);
        let other = Instance { adopt: true, ..instance.clone() };
        let recorded = Dhis2InstanceStatus { observed_generation: Some(2), ..status.clone() };
        let mut born = observed.clone();
        let facts = Facts::Job { finished: None };
        born.children.insert(Kind::Job, "play-bootstrap", slot("1", facts));
        let mut grown = born.clone();
        grown.children.insert(Kind::Job, "play-bootstrap", slot("1", Facts::Job { finished: Some(true) }));
        assert_ne!(Picture::of(&instance, None, &born), Picture::of(&instance, None, &grown));
        let repository = SourceRepository { volume_claim: Some("old-backups".to_owned()), s3: None };
        let elsewhere = Elsewhere { repository, password: "old-backup".to_owned() };
        let named = Observed { others: [("old".to_owned(), elsewhere)].into(), ..observed.clone() };
        let seen = Observed { missing: [("spec.web.tls.secretName".to_owned(), "cert".to_owned())].into(), ..observed.clone() };
        for another in [
            Picture::of(&other, Some(&status), &observed),
            Picture::of(&instance, Some(&recorded), &observed),
            Picture::of(&instance, None, &observed),
            Picture::of(&instance, Some(&status), &seen),
            Picture::of(&instance, Some(&status), &named),
            Picture::of(&instance, Some(&status), &born),
        ] {
            assert_ne!(another, picture);
        }
    }
}
