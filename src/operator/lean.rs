//! An object as a watch tells it, without what nobody looks at.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::{
    Resource,
    api::{ApiResource, DynamicObject, TypeMeta},
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value};

/// An object, but for who changed which field of it: that is the larger half of one that a server has applied, and a tree of it takes ten times
/// its text.
///
/// kube's own type reads that, and makes each object twice on the way: most of the time and of the memory of a start.
#[derive(Clone, Debug)]
pub struct Lean(pub DynamicObject);

/// What is read of its metadata.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    annotations: Option<BTreeMap<String, String>>,
    creation_timestamp: Option<Time>,
    deletion_grace_period_seconds: Option<i64>,
    deletion_timestamp: Option<Time>,
    finalizers: Option<Vec<String>>,
    generate_name: Option<String>,
    generation: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    name: Option<String>,
    namespace: Option<String>,
    owner_references: Option<Vec<OwnerReference>>,
    resource_version: Option<String>,
    uid: Option<String>,
}

impl From<Metadata> for ObjectMeta {
    fn from(read: Metadata) -> Self {
        Self {
            annotations: read.annotations,
            creation_timestamp: read.creation_timestamp,
            deletion_grace_period_seconds: read.deletion_grace_period_seconds,
            deletion_timestamp: read.deletion_timestamp,
            finalizers: read.finalizers,
            generate_name: read.generate_name,
            generation: read.generation,
            labels: read.labels,
            name: read.name,
            namespace: read.namespace,
            owner_references: read.owner_references,
            resource_version: read.resource_version,
            uid: read.uid,
            managed_fields: None,
            self_link: None,
        }
    }
}

impl<'de> Deserialize<'de> for Lean {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Lean;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Lean, A::Error> {
        let (mut metadata, mut api_version, mut kind, mut data) = (Metadata::default(), None, None, Map::new());
        while let Some(field) = map.next_key::<String>()? {
            match field.as_str() {
                "metadata" => metadata = map.next_value()?,
                "apiVersion" => api_version = map.next_value()?,
                "kind" => kind = map.next_value()?,
                _ => drop(data.insert(field, map.next_value()?)),
            }
        }
        let types = api_version.zip(kind).map(|(api_version, kind)| TypeMeta { api_version, kind });
        Ok(Lean(DynamicObject { types, metadata: metadata.into(), data: Value::Object(data) }))
    }
}

impl Resource for Lean {
    type DynamicType = ApiResource;
    type Scope = <DynamicObject as Resource>::Scope;

    fn kind(of: &ApiResource) -> Cow<'_, str> {
        DynamicObject::kind(of)
    }

    fn group(of: &ApiResource) -> Cow<'_, str> {
        DynamicObject::group(of)
    }

    fn version(of: &ApiResource) -> Cow<'_, str> {
        DynamicObject::version(of)
    }

    fn plural(of: &ApiResource) -> Cow<'_, str> {
        DynamicObject::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.0.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.0.metadata
    }
}

#[cfg(test)]
mod tests {
    use kube::{api::ObjectList, core::WatchEvent};
    use serde_json::json;

    use super::*;

    fn object() -> Value {
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": "play-build", "generateName": "play-", "namespace": "ns", "uid": "u", "resourceVersion": "7", "generation": 2,
                "creationTimestamp": "2026-11-24T01:00:00Z", "deletionTimestamp": "2026-11-24T02:00:00Z", "deletionGracePeriodSeconds": 0,
                "labels": { "a": "b" }, "annotations": { "c": "d" }, "finalizers": ["e"],
                "ownerReferences": [{ "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance", "name": "play", "uid": "v", "controller": true }],
                "managedFields": [{ "manager": "kubectl", "operation": "Apply", "fieldsV1": { "f:spec": {} } }]
            },
            "spec": { "parallelism": 1 }, "status": { "succeeded": 1 }, "data": null
        })
    }

    /// All that kube's own type has, but for the fields' managers.
    #[test]
    fn nothing_else_is_left_out() {
        let mut whole: DynamicObject = serde_json::from_value(object()).unwrap();
        whole.metadata.managed_fields = None;
        let lean: Lean = serde_json::from_str(&object().to_string()).unwrap();
        assert_eq!(json!(lean.0), json!(whole));
        let event = json!({ "type": "MODIFIED", "object": object() }).to_string();
        let WatchEvent::Modified(told) = serde_json::from_str::<WatchEvent<Lean>>(&event).unwrap() else { panic!("{event}") };
        assert_eq!(json!(told.0), json!(whole));
    }

    /// What a list has says no kind of its own.
    #[test]
    fn an_object_of_a_list_is_read() {
        let mut item = object();
        item.as_object_mut().unwrap().retain(|field, _| field != "kind" && field != "apiVersion");
        let list = json!({ "apiVersion": "batch/v1", "kind": "JobList", "metadata": { "resourceVersion": "9" }, "items": [item] });
        let list: ObjectList<Lean> = serde_json::from_str(&list.to_string()).unwrap();
        let only = &list.items[0].0;
        assert_eq!((only.types.is_none(), only.metadata.name.as_deref()), (true, Some("play-build")));
        assert!(serde_json::from_str::<Lean>("[]").is_err() && serde_json::from_str::<Lean>(r#"{"metadata": {"name": 1}}"#).is_err());
    }
}
