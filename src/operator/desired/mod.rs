//! Every object that an instance is made of, in the order in which they are made. Pure: an instance in,
//! objects out.

pub mod metadata;

pub mod analytics;
mod application;
pub mod backup;
mod bootstrap;
mod claims;
mod configuration;
pub mod copies;
mod database;
mod dhis_conf;
pub mod errand;
mod import;
mod ingress;
mod job;
mod on_a_copy;
mod pod;
mod policies;
mod rehearsal;
mod removal;
mod repository;
mod resources;
mod restart;
pub mod restore;
mod secrets;
mod services;
mod stateful_set;
pub mod upgrade;
mod verify;
mod volume;
mod watch;

#[cfg(test)]
mod agreement;
#[cfg(test)]
pub(super) mod fixture;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod pod_security;

use std::sync::OnceLock;

use k8s_openapi::serde::Serialize;
use serde_json::{Value, json};

use super::{instance::Instance, kind::Kind};

/// All objects of an instance that are due at its stage, in the order in which they are made: doors are shut before anything
/// runs, and what a pod mounts is there before the pod.
pub fn desired(instance: &Instance) -> Vec<Wanted> {
    PARTS.iter().flat_map(|(_, part)| part(instance)).collect()
}

/// Those of one kind: whoever looks for one object need not have all of them made up.
pub fn of_kind(instance: &Instance, kind: Kind) -> impl Iterator<Item = Wanted> {
    PARTS.iter().filter(move |(of, _)| *of == kind).flat_map(|(_, part)| part(instance))
}

/// What makes up the objects of a kind.
type Part = (Kind, fn(&Instance) -> Vec<Wanted>);

const PARTS: [Part; 22] = [
    (Kind::NetworkPolicy, policies::policies),
    (Kind::Secret, secrets::secrets),
    (Kind::ConfigMap, configuration::configuration),
    (Kind::PersistentVolumeClaim, claims::claims),
    (Kind::Service, services::services),
    (Kind::Job, |instance| Vec::from_iter(database::build(instance))),
    (Kind::StatefulSet, |instance| Vec::from_iter(database::database(instance))),
    (Kind::StatefulSet, |instance| Vec::from_iter(application::application(instance))),
    (Kind::Job, |instance| Vec::from_iter(bootstrap::bootstrap(instance))),
    (Kind::Ingress, |instance| Vec::from_iter(ingress::ingress(instance))),
    (Kind::CronJob, |instance| Vec::from_iter(backup::schedule(instance))),
    (Kind::Job, |instance| Vec::from_iter(backup::first(instance))),
    (Kind::CronJob, |instance| Vec::from_iter(verify::schedule(instance))),
    (Kind::CronJob, copies::schedules),
    (Kind::Job, |instance| Vec::from_iter(upgrade::check(instance))),
    (Kind::Job, |instance| Vec::from_iter(verify::before_rehearsal(instance))),
    (Kind::Job, |instance| Vec::from_iter(rehearsal::rehearsal(instance))),
    (Kind::Job, |instance| Vec::from_iter(backup::before_upgrade(instance))),
    (Kind::Job, |instance| Vec::from_iter(restore::build(instance))),
    (Kind::Job, |instance| Vec::from_iter(restore::safety_backup(instance))),
    (Kind::Job, |instance| Vec::from_iter(errand::job(instance))),
    (Kind::Job, |instance| Vec::from_iter(analytics::analytics(instance))),
];

/// An object that should exist, and how it is brought about.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The object itself.
    pub object: Value,
    /// How it is brought about and kept.
    pub policy: Policy,
    /// Its digest, once it was asked for.
    pub(super) digest: OnceLock<String>,
}

impl Wanted {
    fn new(kind: Kind, name: &str, object: &impl Serialize, policy: Policy) -> Self {
        Self::of(kind, name, json!(object), policy)
    }

    /// A wish for this object.
    pub(super) fn of(kind: Kind, name: &str, object: Value, policy: Policy) -> Self {
        Self { kind, name: name.to_owned(), object, policy, digest: OnceLock::new() }
    }
}

impl PartialEq for Wanted {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.name, &self.object, &self.policy) == (other.kind, &other.name, &other.object, &other.policy)
    }
}

/// How an object is brought about and kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Policy {
    /// Created, then kept as wanted.
    Keep,
    /// Created once with generated values under these keys; content never read, never changed, never made again.
    Generate(Vec<Generated>),
    /// Created once; then only kept as wanted as far as the API allows (a claim grows, its owner changes).
    Claim,
    /// A step: created, deleted once its result is recorded; one that differs from what is wanted is
    /// deleted and made anew.
    Step,
}

/// A generated value of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// Key in the Secret.
    pub key: &'static str,
    /// What is generated.
    pub value: Generator,
}

/// What is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generator {
    /// A given text.
    Text(&'static str),
    /// 32 characters of A–Z, a–z, 0–9.
    Password,
    /// A password that DHIS2's rules accept: 24 characters with digit, upper, lower and special.
    Dhis2Password,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::instance::Stage;

    fn late(stage: Stage) -> Vec<String> {
        let instance = Instance { stage, ..fixture::plain() };
        let early = [Kind::Secret, Kind::ConfigMap, Kind::PersistentVolumeClaim, Kind::Service, Kind::NetworkPolicy];
        desired(&instance)
            .into_iter()
            .filter(|wanted| !early.contains(&wanted.kind))
            .map(|wanted| format!("{} {}", wanted.kind.name(), wanted.name))
            .collect()
    }

    #[test]
    fn each_part_makes_up_its_kind_alone() {
        for (instance, (kind, part)) in fixture::STAGES.into_iter().flat_map(|stage| {
            let instance = Instance { stage, ..fixture::plain() };
            PARTS.into_iter().map(move |part| (instance.clone(), part))
        }) {
            assert!(part(&instance).iter().all(|wanted| wanted.kind == kind), "{}", kind.name());
        }
    }

    #[test]
    fn each_stage_has_its_objects() {
        let [empty, prepared, built, started, secured] = fixture::STAGES.map(late);
        assert!(empty.is_empty());
        assert_eq!(prepared, ["Job play-database-build"]);
        assert_eq!(built, ["StatefulSet play-database"]);
        assert_eq!(started, ["StatefulSet play-database", "StatefulSet play", "Job play-bootstrap"]);
        assert_eq!(
            secured,
            [
                "StatefulSet play-database",
                "StatefulSet play",
                "Ingress play",
                "CronJob play-backup",
                "Job play-backup-first",
                "CronJob play-verify"
            ]
        );
    }

    #[test]
    fn doors_are_shut_and_mounts_are_there_before_anything_runs() {
        let kinds: Vec<Kind> = desired(&fixture::plain()).into_iter().map(|wanted| wanted.kind).collect();
        let last = |kind: Kind| kinds.iter().rposition(|known| *known == kind).unwrap();
        let first_pod = kinds.iter().position(|kind| matches!(kind, Kind::Job | Kind::StatefulSet)).unwrap();
        assert_eq!(kinds[0], Kind::NetworkPolicy);
        for kind in [Kind::NetworkPolicy, Kind::Secret, Kind::ConfigMap, Kind::PersistentVolumeClaim, Kind::Service] {
            assert!(last(kind) < first_pod);
        }
    }
}
