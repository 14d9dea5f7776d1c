//! What is kept of an object: who it is, whether it is as wanted, and the few facts that decisions need.
//! The object itself is dropped on arrival.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::Value;

use super::{
    kind::Kind,
    trouble::{self, Silence, Trouble},
};
use crate::{
    api::{
        BUILDING, CLAIM, INSTANCE, MANAGER, REPLACED, RESTART, SET_FINALIZER, WANTED,
        backup::VerifyLevel,
        errand::{Phase, Progress},
        restore::{Dhis2RestoreSpec, Dhis2RestoreStatus},
    },
    report::Report,
};

/// What is kept of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Its uid.
    pub uid: Arc<str>,
    /// Its resourceVersion, as the number that it is (Kubernetes ≥ 1.35 promises that it can be compared).
    pub version: u64,
    /// Uid of the controller that owns it.
    pub owner: Option<Arc<str>>,
    /// Uid of the instance that made it, where it has no owner.
    pub maker: Option<Arc<str>>,
    /// Digest of the wish that it was last written for; a digest tells the instance as well.
    pub applied: Option<Arc<str>>,
    /// Is it being deleted?
    pub deleting: bool,
    /// Digest of the wish that it satisfies; none when it differs or was never compared.
    pub satisfied: Option<Arc<str>>,
    /// Facts by kind.
    pub facts: Facts,
}

/// Facts by kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Facts {
    /// Nothing beyond its being there.
    Plain,
    /// A claim.
    Claim {
        /// Storage asked for.
        requested: String,
        /// Storage given; none before it is bound.
        capacity: Option<Box<str>>,
        /// What it is for, if the instance is not served from it.
        role: Option<Role>,
    },
    /// A Job.
    Job {
        /// `true` complete, `false` failed, none still running.
        finished: Option<bool>,
    },
    /// A pod.
    Pod(Box<Pod>),
    /// A request to restore.
    Restore(Box<Request>),
    /// A request for a backup or a restore test.
    Errand(Box<Errand>),
}

/// What a claim is for that the instance is not served from: its label [`CLAIM`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A restore fills it.
    Building,
    /// A restore has replaced it.
    Replaced,
}

/// A request to restore.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What is asked for.
    pub spec: Dhis2RestoreSpec,
    /// What was told of it.
    pub status: Dhis2RestoreStatus,
    /// Its generation.
    pub generation: Option<i64>,
    /// When it was made.
    pub created: Option<Timestamp>,
}

/// A request for a backup or a restore test. Those that are over may be many: little is kept of them.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "each holds without regard to the others")]
pub struct Errand {
    /// The set that a restore test is asked for, none for the newest; the set that a backup made or stands for.
    pub set: Option<Box<str>>,
    /// Is it a backup that stands for a set, and asks for none?
    pub mirror: bool,
    /// Was it told that the set is gone?
    pub removed: bool,
    /// Is the set to go with a backup that is deleted?
    pub deletes: bool,
    /// Does it stay until that is done?
    pub held: bool,
    /// How far a restore test is to go.
    pub level: Option<VerifyLevel>,
    /// Was it told when the set was proven?
    pub proven: bool,
    /// Its generation.
    pub generation: Option<i64>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// What was told of it; phase and generation alone when it is over.
    pub progress: Progress,
}

/// Facts of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pod {
    /// The part of the instance that it is.
    pub component: String,
    /// Is it ready?
    pub ready: bool,
    /// Has it ended?
    pub ended: bool,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Digest of what it was started with.
    pub restart: Option<String>,
    /// Who of it was ready and does not answer as it should any more.
    pub silent: Option<Silence>,
    /// What keeps it from working.
    pub trouble: Option<Trouble>,
    /// The newest report of each container that left one.
    pub reports: Vec<Report>,
    /// DHIS2's image, by digest.
    pub image_id: Option<String>,
    /// How often DHIS2's container has ended and was started again, as far as that matters.
    pub starts: u32,
    /// Since when it runs.
    pub started: Option<Timestamp>,
}

/// Reduces an object to its slot. `wanted` is the wish for it, where there is one.
pub fn reduce(kind: Kind, object: &DynamicObject, satisfied: Option<Arc<str>>) -> Slot {
    let owner = object.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    Slot {
        uid: object.metadata.uid.as_deref().unwrap_or_default().into(),
        version: version(object),
        owner: owner.map(|owner| owner.uid.as_str().into()),
        maker: annotation(object, INSTANCE).map(Into::into),
        applied: applied(object).map(Into::into),
        deleting: object.metadata.deletion_timestamp.is_some(),
        satisfied,
        facts: facts(kind, object),
    }
}

/// The resourceVersion as a number; 0 where it is none.
pub fn version(object: &DynamicObject) -> u64 {
    object.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// The digest that we wrote onto the object when we last made it as wanted.
pub fn applied(object: &DynamicObject) -> Option<&str> {
    annotation(object, WANTED)
}

/// The field manager that changed the object last, beside ourselves.
pub fn changed_by(object: &DynamicObject) -> Option<String> {
    let entries = object.metadata.managed_fields.iter().flatten();
    let others = entries.filter(|entry| entry.subresource.is_none() && entry.manager.as_deref() != Some(MANAGER));
    others.max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?.manager.clone()
}

fn annotation<'a>(object: &'a DynamicObject, name: &str) -> Option<&'a str> {
    object.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    Some(value.pointer(pointer)?.as_str()?.to_owned())
}

fn facts(kind: Kind, object: &DynamicObject) -> Facts {
    let data = &object.data;
    match kind {
        Kind::PersistentVolumeClaim => Facts::Claim {
            requested: text(data, "/spec/resources/requests/storage").unwrap_or_default(),
            capacity: text(data, "/status/capacity/storage").map(Into::into),
            role: role(object),
        },
        Kind::Job => Facts::Job { finished: finished(data) },
        Kind::Pod => Facts::Pod(Box::new(pod(object))),
        Kind::Dhis2Restore => request(object).map_or(Facts::Plain, |request| Facts::Restore(Box::new(request))),
        Kind::Dhis2Backup => backup(object).map_or(Facts::Plain, |errand| Facts::Errand(Box::new(errand))),
        Kind::Dhis2RestoreTest => errand(object, "/spec/set").map_or(Facts::Plain, |errand| Facts::Errand(Box::new(errand))),
        _ => Facts::Plain,
    }
}

fn role(claim: &DynamicObject) -> Option<Role> {
    match claim.metadata.labels.as_ref()?.get(CLAIM)?.as_str() {
        BUILDING => Some(Role::Building),
        REPLACED => Some(Role::Replaced),
        _ => None,
    }
}

/// One that can't be read, of another version of the API, is left alone.
fn request(object: &DynamicObject) -> Option<Request> {
    Some(Request {
        spec: serde_json::from_value(object.data.get("spec")?.clone()).ok()?,
        status: object.data.get("status").and_then(|status| serde_json::from_value(status.clone()).ok()).unwrap_or_default(),
        generation: object.metadata.generation,
        created: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
    })
}

fn backup(object: &DynamicObject) -> Option<Errand> {
    let stands_for: Option<Box<str>> = text(&object.data, "/spec/set").map(Into::into);
    let errand = errand(object, "/status/set")?;
    Some(Errand { mirror: stands_for.is_some(), set: errand.set.or(stands_for), ..errand })
}

/// `set`: where its set is named.
fn errand(object: &DynamicObject, set: &str) -> Option<Errand> {
    let told = object.data.get("status").map_or(Some(Progress::default()), |status| serde_json::from_value(status.clone()).ok());
    let progress = told?;
    let over = progress.phase.as_ref().is_some_and(|phase| phase.parse().is_ok_and(Phase::is_over));
    Some(Errand {
        set: text(&object.data, set).map(Into::into),
        mirror: false,
        deletes: text(&object.data, "/spec/deletionPolicy").as_deref() == Some("Delete"),
        held: object.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == SET_FINALIZER),
        removed: object.data.pointer("/status/removed").is_some(),
        level: object.data.pointer("/spec/level").and_then(|level| serde_json::from_value(level.clone()).ok()),
        proven: object.data.pointer("/status/proven").is_some(),
        generation: object.metadata.generation,
        created: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
        progress: if over { brief(progress) } else { progress },
    })
}

fn brief(Progress { phase, observed_generation, .. }: Progress) -> Progress {
    Progress { observed_generation, phase, ..Progress::default() }
}

fn finished(job: &Value) -> Option<bool> {
    let conditions = job.pointer("/status/conditions")?.as_array()?;
    let is = |name: &str| {
        conditions
            .iter()
            .any(|c| c.get("type").and_then(Value::as_str) == Some(name) && c.get("status").and_then(Value::as_str) == Some("True"))
    };
    if is("Complete") { Some(true) } else { is("Failed").then_some(false) }
}

fn pod(object: &DynamicObject) -> Pod {
    let data = &object.data;
    let conditions = data.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|c| c.get("type").and_then(Value::as_str) == Some("Ready") && c.get("status").and_then(Value::as_str) == Some("True"));
    let label = |name: &str| object.metadata.labels.as_ref().and_then(|labels| labels.get(name)).cloned();
    Pod {
        component: label("app.kubernetes.io/component").unwrap_or_default(),
        ready: ready && object.metadata.deletion_timestamp.is_none(),
        ended: matches!(text(data, "/status/phase").as_deref(), Some("Succeeded" | "Failed")),
        created: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
        restart: annotation(object, RESTART).map(str::to_owned),
        silent: trouble::silence(data),
        trouble: trouble::of_pod(data),
        reports: trouble::reports(data),
        image_id: dhis2(data).and_then(|dhis2| text(dhis2, "/imageID")).filter(|id| !id.is_empty()),
        starts: starts_again(data),
        started: dhis2(data).and_then(|dhis2| text(dhis2, "/state/running/startedAt")?.parse().ok()),
    }
}

fn dhis2(pod: &Value) -> Option<&Value> {
    let mut containers = pod.pointer("/status/containerStatuses")?.as_array()?.iter();
    containers.find(|container| text(container, "/name").as_deref() == Some("dhis2"))
}

/// Nobody asks for more than a few: what ends for ever is not told anew each time.
fn starts_again(pod: &Value) -> u32 {
    const MANY: u64 = 3;
    let count = dhis2(pod).and_then(|dhis2| dhis2.get("restartCount")?.as_u64()).unwrap_or_default();
    u32::try_from(count.min(MANY)).unwrap_or_default()
}

impl Slot {
    /// Facts of a pod.
    pub fn pod(&self) -> Option<&Pod> {
        match &self.facts {
            Facts::Pod(pod) => Some(pod),
            _ => None,
        }
    }

    /// A request to restore.
    pub fn request(&self) -> Option<&Request> {
        match &self.facts {
            Facts::Restore(request) => Some(request),
            _ => None,
        }
    }

    /// A request for a backup or a restore test.
    pub fn errand(&self) -> Option<&Errand> {
        match &self.facts {
            Facts::Errand(errand) => Some(errand),
            _ => None,
        }
    }

    /// Has it changed in a way that a decision could depend on? The resourceVersion alone does not count.
    pub fn tells_something_new(&self, older: &Self) -> bool {
        Self { version: older.version, ..self.clone() } != *older
    }

    /// The same, with each text only once in memory: the children of an instance have one owner and one maker, and most satisfy what they
    /// were written for.
    #[must_use]
    pub fn sharing(mut self, other: Option<&Self>) -> Self {
        let texts: Vec<Arc<str>> = other.into_iter().flat_map(Self::texts).cloned().collect();
        for text in [&mut self.owner, &mut self.maker, &mut self.applied, &mut self.satisfied].into_iter().flatten() {
            if let Some(known) = texts.iter().find(|known| *known == text) {
                *text = known.clone();
            }
        }
        if self.maker == self.owner {
            self.maker.clone_from(&self.owner);
        }
        if self.satisfied == self.applied {
            self.satisfied.clone_from(&self.applied);
        }
        self
    }

    fn texts(&self) -> impl Iterator<Item = &Arc<str>> {
        [&self.owner, &self.maker, &self.applied, &self.satisfied].into_iter().flatten()
    }
}

/// Slots for tests.
#[cfg(test)]
pub mod fixture {
    use super::{Facts, Slot};

    /// Of an object of nobody's.
    pub fn slot(uid: &str, facts: Facts) -> Slot {
        Slot { uid: uid.into(), version: 1, owner: None, maker: None, applied: None, deleting: false, satisfied: None, facts }
    }

    /// Of an object of this owner's.
    pub fn owned(uid: &str, owner: &str, facts: Facts) -> Slot {
        Slot { owner: Some(owner.into()), ..slot(uid, facts) }
    }
}
