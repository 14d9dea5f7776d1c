//! All objects that instances are made of in a namespace, in a form that can be compared.

use std::collections::BTreeMap;

use dhis2_operator::api::{GROUP, INSTANCE, MANAGER, RESTART, WANTED};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::{Outcome, Story};

/// Kinds of objects that an instance has, as group, version and kind.
const KINDS: [(&str, &str, &str); 9] = [
    ("", "v1", "ConfigMap"),
    ("", "v1", "PersistentVolumeClaim"),
    ("", "v1", "Secret"),
    ("", "v1", "Service"),
    ("apps", "v1", "StatefulSet"),
    ("batch", "v1", "CronJob"),
    ("batch", "v1", "Job"),
    ("networking.k8s.io", "v1", "Ingress"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
];

/// What the cluster writes into metadata.
const OF_THE_CLUSTER: [&str; 7] = ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink", "finalizers"];

/// The objects of instances in a namespace.
///
/// # Errors
/// When the API server does not answer.
pub async fn list(story: &Story, namespace: &str) -> Outcome<Vec<DynamicObject>> {
    let mine = ListParams::default().labels(&format!("app.kubernetes.io/managed-by={MANAGER}"));
    let mut objects = Vec::new();
    for (group, version, kind) in KINDS {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> = Api::namespaced_with(story.client.clone(), namespace, &resource);
        objects.extend(api.list(&mine).await?.items.into_iter().map(|mut object| {
            object.types.get_or_insert_with(|| kube::api::TypeMeta { api_version: resource.api_version.clone(), kind: kind.to_owned() });
            object
        }));
    }
    Ok(objects)
}

/// Kind and name.
pub fn name(object: &DynamicObject) -> String {
    format!("{} {}", object.types.as_ref().map_or("", |types| types.kind.as_str()), object.name_any())
}

/// uid and resourceVersion of each, by kind and name: the same when nothing was written.
pub fn versions(objects: &[DynamicObject]) -> BTreeMap<String, String> {
    let version =
        |object: &DynamicObject| format!("{} {}", object.uid().unwrap_or_default(), object.resource_version().unwrap_or_default());
    objects.iter().map(|object| (name(object), version(object))).collect()
}

/// Each object by kind and name, without what differs between two instances that are alike: what the cluster gave it,
/// generated values, and these `words` (namespaces, hosts, uids), which are put in place of each other.
pub fn alike(objects: &[DynamicObject], words: &[(&str, &str)]) -> BTreeMap<String, Value> {
    objects.iter().map(|object| (name(object), plain(object, words))).collect()
}

fn plain(object: &DynamicObject, words: &[(&str, &str)]) -> Value {
    let mut text = json!(object).to_string();
    for (word, other) in words {
        text = text.replace(word, other);
    }
    let mut value: Value = serde_json::from_str(&text).unwrap_or_default();
    let fields = value.as_object_mut();
    let secret = object.types.as_ref().is_some_and(|types| types.kind == "Secret");
    for (field, content) in fields.into_iter().flatten() {
        match field.as_str() {
            "metadata" => metadata(content),
            "status" => *content = Value::Null,
            "spec" => spec(content),
            // Generated: only which keys there are.
            "data" if secret => content.as_object_mut().into_iter().flatten().for_each(|(_, generated)| *generated = Value::Null),
            _ => {}
        }
    }
    value
}

fn metadata(metadata: &mut Value) {
    let Some(fields) = metadata.as_object_mut() else {
        return;
    };
    for field in OF_THE_CLUSTER {
        fields.remove(field);
    }
    for owner in fields.get_mut("ownerReferences").and_then(Value::as_array_mut).into_iter().flatten() {
        owner["uid"] = Value::Null;
    }
    if let Some(annotations) = fields.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| key.contains(GROUP));
        digests(annotations);
    }
}

/// Digests of texts with names in them differ as the names do.
fn digests(annotations: &mut serde_json::Map<String, Value>) {
    for key in [INSTANCE, WANTED, RESTART] {
        if let Some(digest) = annotations.get_mut(key) {
            *digest = Value::Null;
        }
    }
}

fn spec(spec: &mut Value) {
    for given in ["clusterIP", "clusterIPs", "volumeName"] {
        if let Some(fields) = spec.as_object_mut() {
            fields.remove(given);
        }
    }
    let template = spec.pointer_mut("/template/metadata/annotations").and_then(Value::as_object_mut);
    template.into_iter().for_each(digests);
}
