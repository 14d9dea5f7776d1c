//! An object, reduced to what is kept of it.

use std::sync::Arc;

use kube::api::DynamicObject;
use serde_json::Value;

use super::{Claim, Errand, Facts, Open, Pod, Request, Role, Slot, Told};
use crate::{
    api::{
        BUILDING, CLAIM, COPY, INSTANCE, MANAGER, REPLACED, RESTART, SET_FINALIZER, WANTED,
        errand::{Phase, Progress},
    },
    operator::{kind::Kind, trouble},
};

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
        Kind::PersistentVolumeClaim => Facts::Claim(Box::new(Claim {
            requested: text(data, "/spec/resources/requests/storage").unwrap_or_default(),
            capacity: text(data, "/status/capacity/storage"),
            role: role(object),
        })),
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
    let over = progress.phase.as_ref().and_then(|phase| phase.parse().ok()).filter(|phase: &Phase| phase.is_over());
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
        told: match over {
            Some(phase) => Told::Over(phase, progress.observed_generation),
            None => Told::Open(Box::new(Open { progress, copy: text(&object.data, "/spec/copy") })),
        },
    })
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
        copy: label(COPY),
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
