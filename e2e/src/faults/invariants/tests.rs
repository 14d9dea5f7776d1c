//! Each invariant is broken once. Those that an operator can break are broken by `breaks` as well.

use std::sync::Arc;
use std::time::Instant;

use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::*;
use crate::faults::flow;

/// Something that happened to an object, at this version.
fn record(version: u64, kind: &'static str, name: &str, change: Change, more: &Value) -> Record {
    let mut object = json!({ "metadata": {
        "name": name, "namespace": "ns", "uid": format!("{kind}/{name}"), "resourceVersion": version.to_string(),
        "labels": { "app.kubernetes.io/managed-by": MANAGER }, "ownerReferences": [{ "apiVersion": "a", "kind": INSTANCE, "name": "play", "uid": "Dhis2Instance/play" }],
    } });
    for (field, value) in more.as_object().into_iter().flatten() {
        object[field.as_str()] = value.clone();
    }
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    Record { at: Instant::now(), kind, change, object: Arc::new(object) }
}

fn instance(version: u64, change: Change) -> Record {
    let spec = json!({ "version": "2.42.4", "web": { "host": "h.org" } });
    record(version, INSTANCE, "play", change, &json!({ "apiVersion": "dhis2.hosting/v1alpha1", "kind": INSTANCE, "spec": spec }))
}

fn seen(records: Vec<Record>) -> Seen {
    let mut present = Present::new();
    for record in &records {
        let key = (record.kind, record.object.name_any());
        match record.change {
            Change::Gone => drop(present.remove(&key)),
            _ => drop(present.insert(key, Arc::clone(&record.object))),
        }
    }
    let snapshot = snapshot::of("ns", &records, &present);
    Seen { records, from: 0, present, snapshot, stuck: None, ended: None, late: Vec::new(), said: String::new(), usage: Usage::default() }
}

fn flow(name: &str) -> Flow {
    flow::all().into_iter().find(|flow| flow.name == name).unwrap()
}

/// The invariants that a run breaks.
fn broken(flow_name: &str, records: Vec<Record>) -> Vec<&'static str> {
    let clean = seen(records.clone());
    violations(&flow(flow_name), &clean, &seen(records)).into_iter().map(|violation| violation.invariant).collect()
}

const CLAIM: &str = "PersistentVolumeClaim";

fn claim(version: u64, change: Change) -> Record {
    record(version, CLAIM, "play-database", change, &json!({}))
}

#[test]
fn a_volume_goes_only_after_its_instance_and_only_where_that_is_asked_for() {
    let lost = |flow| broken(flow, vec![instance(1, Change::Made), claim(2, Change::Made), claim(3, Change::Gone)]);
    for flow in ["create", "delete", "retain"] {
        assert_eq!(lost(flow), ["volumes stay"], "{flow}");
    }
    let after = |flow| {
        let life = vec![instance(1, Change::Made), claim(2, Change::Made), instance(3, Change::Gone), claim(4, Change::Gone)];
        broken(flow, life)
    };
    assert!(after("delete").is_empty());
    assert_eq!(after("retain"), ["volumes stay"]);
}

#[test]
fn what_belongs_to_nobody_is_found() {
    let nobodys =
        json!({ "metadata": { "name": "a", "namespace": "ns", "uid": "1", "labels": { "app.kubernetes.io/managed-by": MANAGER } } });
    let orphan = record(2, "ConfigMap", "play", Change::Made, &json!({}));
    assert_eq!(broken("create", vec![orphan.clone()]), ["nothing belongs to nobody"]);
    assert!(broken("create", vec![instance(1, Change::Made), orphan]).is_empty());
    let unmarked = record(3, "ConfigMap", "a", Change::Made, &nobodys);
    assert_eq!(broken("create", vec![instance(1, Change::Made), unmarked]), ["nothing belongs to nobody"]);
}

#[test]
fn content_that_changes_and_a_secret_that_goes_are_found() {
    let secret =
        |version, change, word: &str| record(version, "Secret", "play-encryption", change, &json!({ "data": { "password": word } }));
    let start = || vec![instance(1, Change::Made), secret(2, Change::Made, "b25l")];
    let after = |more: Record| broken("create", start().into_iter().chain([more]).collect());
    assert!(after(secret(3, Change::Changed, "b25l")).is_empty());
    assert_eq!(after(secret(3, Change::Changed, "dHdv")), ["Secrets keep their content"]);
    assert_eq!(after(secret(3, Change::Gone, "b25l")), ["Secrets keep their content"]);
}

#[test]
fn what_is_done_twice_or_too_late_or_differs_or_never_ends_is_found() {
    let job = |version| record(version, "Job", "play-bootstrap", Change::Made, &json!({}));
    let (clean, twice) = (seen(vec![instance(1, Change::Made), job(2)]), seen(vec![instance(1, Change::Made), job(2), job(3)]));
    let of = |seen: &Seen| violations(&flow("create"), &clean, seen).into_iter().map(|violation| violation.invariant).collect::<Vec<_>>();
    assert_eq!(of(&twice), ["nothing is done twice"]);
    assert_eq!(of(&seen(vec![instance(1, Change::Made)])), ["same objects as without faults"]);
    let same = || seen(vec![instance(1, Change::Made), job(2)]);
    assert!(of(&same()).is_empty());
    assert_eq!(of(&Seen { late: vec!["PUT a".into()], ..same() }), ["nothing is written when all is done"]);
    assert_eq!(of(&Seen { stuck: Some("not Ready".into()), ..same() }), ["the flow comes to its end"]);
    assert_eq!(of(&Seen { ended: Some("exit 1".into()), ..same() }), ["the operator ends when it is told to only"]);
    let usage = Usage { threads: 1, ..Usage::default() };
    assert_eq!(of(&Seen { usage, ..same() }), ["memory and threads stay as they were"]);
    let usage = Usage { resident: 9 << 10, ..Usage::default() };
    assert_eq!(of(&Seen { usage, ..same() }), ["memory and threads stay as they were"]);
}

#[test]
fn ready_of_another_generation_and_a_secret_value_elsewhere_are_found() {
    let told = |version, generation: i64, of_ready: i64| {
        let ready = json!([{ "type": "Ready", "status": "True", "reason": "Ready", "message": "", "observedGeneration": of_ready, "lastTransitionTime": "2026-01-01T00:00:00Z" }]);
        let Record { at, kind, change, object } = instance(version, Change::Changed);
        let mut object = serde_json::to_value(object.as_ref()).unwrap();
        object["metadata"]["generation"] = json!(generation);
        object["status"] = json!({ "observedGeneration": 1, "conditions": ready });
        Record { at, kind, change, object: Arc::new(serde_json::from_value(object).unwrap()) }
    };
    assert!(broken("create", vec![told(2, 1, 1)]).is_empty());
    assert_eq!(broken("create", vec![told(2, 2, 1)]), ["Ready is told of the newest generation"]);
    assert_eq!(broken("create", vec![told(2, 1, 0)]), ["Ready is told of the newest generation"]);

    // "sixteen-characters" and the same in another object.
    let secret = record(2, "Secret", "s", Change::Made, &json!({ "data": { "password": "c2l4dGVlbi1jaGFyYWN0ZXJz" } }));
    let map = |word: &str| record(3, "ConfigMap", "play", Change::Made, &json!({ "data": { "dhis.conf": word } }));
    let with = |word| broken("create", vec![instance(1, Change::Made), secret.clone(), map(word)]);
    assert!(with("something else").is_empty());
    assert_eq!(with("password = sixteen-characters"), ["no secret is told"]);
}
