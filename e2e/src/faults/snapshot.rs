//! What is in a namespace, without what differs from run to run: identities, versions, times, the values of Secrets, and the digests
//! of all that names an identity.

use std::collections::BTreeMap;

use dhis2_operator::api::{RESTART, WANTED};
use dhis2_operator::operator::kind::Kind;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Map, Value, json};
use strum::IntoEnumIterator;

use super::ledger::{Change, EVENT, Present, Record};

/// Objects by `Kind/name`.
pub type Snapshot = BTreeMap<String, Value>;

/// What is there now, but for events; the records tell of what was there before.
pub fn of(namespace: &str, records: &[Record], present: &Present) -> Snapshot {
    // Pods of a finished step name a Job that is gone.
    let uids = records.iter().filter(|record| record.change == Change::Made);
    let uids = uids.filter_map(|record| Some((record.object.uid()?, format!("<uid of {}/{}>", record.kind, record.object.name_any()))));
    let mut names: Vec<(String, String)> = uids.collect();
    names.extend(short_uids(records).into_iter().map(|short| (short, "<short uid>".to_owned())));
    names.push((namespace.to_owned(), "<namespace>".to_owned()));
    let objects = present.iter().filter(|((kind, _), _)| *kind != EVENT);
    objects
        .map(|((kind, name), object)| {
            let mut value = serde_json::to_value(object.as_ref()).unwrap_or_default();
            forget(kind, &mut value);
            walk(&mut value, &names);
            // The object of a set that a restore has made first is named after the restore.
            let mut name = json!(name);
            walk(&mut name, &names);
            (format!("{kind}/{}", name.as_str().unwrap_or_default()), value)
        })
        .collect()
}

/// What the names of the steps of requests end with: twelve digits of the uid, or eight of a restore.
pub fn short_uids(records: &[Record]) -> Vec<String> {
    let made = records.iter().filter(|record| record.change == Change::Made);
    let digits = |record: &&Record| match Kind::iter().find(|kind| kind.name() == record.kind)? {
        Kind::Dhis2Restore => Some(8),
        Kind::Dhis2Backup | Kind::Dhis2RestoreTest => Some(12),
        _ => None,
    };
    let short = |record: &Record, digits: usize| Some(record.object.uid()?.chars().filter(|c| *c != '-').take(digits).collect());
    made.filter_map(|record| short(record, digits(&record)?)).collect()
}

/// Fields that the API server gives, and those whose value is random or a digest over something that is.
fn forget(kind: &str, object: &mut Value) {
    // Of an object that a list brought neither is there; its kind is in its name here.
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|field, _| field != "apiVersion" && field != "kind");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"] {
            metadata.remove(field);
        }
    }
    for place in ["/metadata/annotations", "/spec/template/metadata/annotations"] {
        if let Some(annotations) = object.pointer_mut(place).and_then(Value::as_object_mut) {
            hide(annotations, &[WANTED, RESTART]);
        }
    }
    match kind {
        "Secret" => {
            let data = object.get_mut("data").and_then(Value::as_object_mut);
            for value in data.into_iter().flat_map(Map::values_mut) {
                *value = json!(format!("<{} characters>", value.as_str().unwrap_or_default().len()));
            }
        }
        "Service" => {
            if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
                && spec.get("clusterIP").is_some_and(|address| address != "None")
            {
                hide(spec, &["clusterIP", "clusterIPs"]);
            }
        }
        _ => {}
    }
}

fn hide(fields: &mut Map<String, Value>, names: &[&str]) {
    for name in names {
        if let Some(value) = fields.get_mut(*name) {
            *value = json!("<differs>");
        }
    }
}

fn walk(value: &mut Value, names: &[(String, String)]) {
    match value {
        // A report, or the resource as it is part of a backup.
        Value::String(text)
            if text.starts_with('{')
                && let Ok(mut within) = serde_json::from_str::<Value>(text) =>
        {
            walk(&mut within, names);
            *text = within.to_string();
        }
        Value::String(text) => {
            if text.parse::<Timestamp>().is_ok() {
                "<time>".clone_into(text);
            }
            for (from, to) in names {
                if text.contains(from.as_str()) {
                    *text = text.replace(from.as_str(), to);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, names)),
        Value::Object(fields) => fields.values_mut().for_each(|field| walk(field, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What differs between two snapshots, a line each.
pub fn differences(clean: &Snapshot, other: &Snapshot) -> Vec<String> {
    let mut told = Vec::new();
    for name in clean.keys().filter(|name| !other.contains_key(*name)) {
        told.push(format!("{name} is missing"));
    }
    for (name, value) in other {
        match clean.get(name) {
            None => told.push(format!("{name} is too much")),
            Some(wanted) => differ(name, wanted, value, &mut told),
        }
    }
    told
}

fn differ(place: &str, clean: &Value, other: &Value, told: &mut Vec<String>) {
    match (clean, other) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let (a, b) = (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                differ(&format!("{place}.{key}"), a, b, told);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differ(&format!("{place}[{index}]"), a, b, told);
            }
        }
        (a, b) if a == b => {}
        (a, b) => told.push(format!("{place} is {b} instead of {a}")),
    }
}
