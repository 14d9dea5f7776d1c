//! The examples are real objects: the CRD takes them, and together they show every field of the spec.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::{collections::BTreeSet, path::Path};

use dhis2_operator::api::{Dhis2Backup, Dhis2Instance, Dhis2Restore, Dhis2RestoreTest};
use kube::CustomResourceExt;
use serde_json::Value;

/// Alternatives of what the examples show: they say so in a comment.
const ALTERNATIVES: [&str; 8] = [
    "image.digest",
    "web.tls.upstream",
    "web.tls.none",
    "encryption.generated",
    "encryption.defaultKey",
    "bootstrap.fromBackup.instance",
    "bootstrap.fromBackup.repository.volumeClaim",
    "bootstrap.fromBackup.before",
];

fn examples() -> Vec<(String, Value)> {
    all().into_iter().filter(|(_, example)| example["kind"] == "Dhis2Instance").collect()
}

fn all() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap(),
            )
        })
        .collect()
}

/// The schema of the spec, as the CRD says it.
fn schema() -> Value {
    let crd = serde_json::to_value(Dhis2Instance::crd()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

/// Paths of all fields of a schema. What is embedded from Kubernetes is one field.
fn fields(schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    const EMBEDDED: [&str; 4] = ["pod.affinity", "pod.tolerations", "pod.topologySpreadConstraints", "network.allowFrom"];
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        if !EMBEDDED.contains(&path.as_str()) {
            fields(inner, &path, found);
        }
        found.insert(path);
    }
}

/// Paths of all fields of a value; `known` stops at maps and embedded objects.
fn given(value: &Value, at: &str, known: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    for (name, inner) in value.as_object().into_iter().flatten() {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        let has_fields = known.iter().any(|field| field.starts_with(&format!("{path}.")));
        if has_fields {
            given(inner, &path, known, found);
        }
        found.insert(path);
    }
}

#[test]
fn every_example_is_understood_whole() {
    let mut known = BTreeSet::new();
    fields(&schema(), "", &mut known);
    for (file, example) in examples() {
        let resource: Dhis2Instance = serde_json::from_value(example.clone()).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut found = BTreeSet::new();
        given(&example["spec"], "", &known, &mut found);
        let unknown: Vec<_> = found.difference(&known).collect();
        assert!(unknown.is_empty(), "{file}: the spec has no {unknown:?}");
        kube::core::cel::validate_cel(&resource).unwrap_or_else(|errors| panic!("{file}: {errors:?}"));
    }
}

#[test]
fn together_they_show_every_field() {
    let (mut known, mut found) = (BTreeSet::new(), BTreeSet::new());
    fields(&schema(), "", &mut known);
    for (_, example) in examples() {
        given(&example["spec"], "", &known, &mut found);
    }
    let missing: Vec<_> = known.iter().filter(|field| !found.contains(*field) && !ALTERNATIVES.contains(&field.as_str())).collect();
    assert!(missing.is_empty(), "no example shows {missing:?}");
    let shown: Vec<_> = ALTERNATIVES.iter().filter(|field| found.contains(**field) || !known.contains(**field)).collect();
    assert!(shown.is_empty(), "shown after all, or no field: {shown:?}");
}

#[test]
fn the_requests_are_understood() {
    is_understood::<Dhis2Restore>("Dhis2Restore");
    is_understood::<Dhis2Backup>("Dhis2Backup");
    is_understood::<Dhis2RestoreTest>("Dhis2RestoreTest");
}

/// There is one example of this kind; the CRD takes it and nothing of it is lost.
fn is_understood<K: CustomResourceExt + serde::Serialize + serde::de::DeserializeOwned>(kind: &str) {
    let requests: Vec<_> = all().into_iter().filter(|(_, example)| example["kind"] == kind).collect();
    let [(file, example)] = requests.as_slice() else { panic!("{} of {kind}", requests.len()) };
    let resource: K = serde_json::from_value(example.clone()).unwrap();
    kube::core::cel::validate_cel(&resource).unwrap_or_else(|errors| panic!("{file}: {errors:?}"));
    assert_eq!(serde_json::to_value(&resource).unwrap()["spec"]["instance"], example["spec"]["instance"]);
}

#[test]
fn the_least_is_ten_lines() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/minimal.yaml")).unwrap();
    assert!(text.lines().filter(|line| !line.starts_with('#')).count() <= 10);
}
