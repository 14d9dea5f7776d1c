//! Which pod is to be deleted, so that its StatefulSet starts it anew with what it reads only at start.
//! One at a time: the database first, DHIS2 when the database serves again. Pure.

use super::{desired::Wanted, instance::Instance, kind::Kind, observe::Observed};
use crate::api::RESTART;

/// A pod that runs with something else than what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outdated {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// What restarting needs now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restart {
    /// All pods run with what is wanted.
    Settled,
    /// This one is next.
    Next(Outdated),
    /// One is outdated, but something else has to become ready first.
    Later,
}

/// The next step of restarting.
pub fn restart(instance: &Instance, observed: &Observed, wanted: &[Wanted]) -> Restart {
    let database = instance.child("database");
    let stale = |set: &str| outdated(set, observed, wanted);
    match (stale(&database), stale(&instance.name)) {
        (None, None) => Restart::Settled,
        (Some(pod), _) => Restart::Next(pod),
        (None, Some(pod)) if observed.set_is_ready(&database) || !observed.set_is_ready(&instance.name) => Restart::Next(pod),
        (None, Some(_)) => Restart::Later,
    }
}

/// The pod of a set, if its template is as wanted and the pod was started with another one.
fn outdated(set: &str, observed: &Observed, wanted: &[Wanted]) -> Option<Outdated> {
    let wish = wanted.iter().find(|wish| wish.kind == Kind::StatefulSet && wish.name == set)?;
    let applied = observed.slot(Kind::StatefulSet, set)?.satisfied.as_deref() == Some(&wish.digest());
    let (name, slot) = observed.pod_of_set(set)?;
    let pod = slot.pod()?;
    let due = wish.object.pointer("/spec/template/metadata/annotations")?.get(RESTART)?.as_str();
    (applied && !slot.deleting && pod.restart.as_deref() != due).then(|| Outdated { name: name.to_owned(), uid: slot.uid.clone() })
}
