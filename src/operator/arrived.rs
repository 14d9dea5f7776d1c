//! A resource as it arrives. One that can't be read, since it is of another version of the API, must not end the watch of all others.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource,
    core::{PartialObjectMeta, error_boundary::InvalidObject},
};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::value::RawValue;

use crate::api::Dhis2Instance;

/// A resource, or what can be known of one that can't be read.
///
/// kube's `DeserializeGuard` does the same for any format, and for that makes a tree of all that it is given, and a second one: most of the
/// work of a pass that has nothing to do, and of the memory of a start. This one keeps the text until it is read.
#[derive(Clone, Debug)]
pub struct Arrived(pub Result<Dhis2Instance, InvalidObject>);

impl<'de> Deserialize<'de> for Arrived {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let unreadable = |error: serde_json::Error| {
            let PartialObjectMeta { metadata, .. } = serde_json::from_str::<PartialObjectMeta<Dhis2Instance>>(text.get())?;
            Ok(Err(InvalidObject { error: error.to_string(), metadata }))
        };
        serde_json::from_str(text.get()).map(Ok).or_else(unreadable).map(Self).map_err(|error: serde_json::Error| D::Error::custom(error))
    }
}

impl Resource for Arrived {
    type DynamicType = ();
    type Scope = <Dhis2Instance as Resource>::Scope;

    fn kind(of: &()) -> Cow<'_, str> {
        Dhis2Instance::kind(of)
    }

    fn group(of: &()) -> Cow<'_, str> {
        Dhis2Instance::group(of)
    }

    fn version(of: &()) -> Cow<'_, str> {
        Dhis2Instance::version(of)
    }

    fn plural(of: &()) -> Cow<'_, str> {
        Dhis2Instance::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|invalid| &invalid.metadata, Resource::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|invalid| &mut invalid.metadata, Resource::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::WatchEvent;
    use serde_json::json;

    fn event(spec: &serde_json::Value) -> String {
        let object = json!({
            "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance", "metadata": {"name": "play", "namespace": "ns"}, "spec": spec
        });
        format!(r#"{{"type":"MODIFIED","object":{object}}}"#)
    }

    fn arrived(text: &str) -> Arrived {
        match serde_json::from_str(text).unwrap() {
            WatchEvent::Modified(arrived) => arrived,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_can_be_read_is_read() {
        let arrived = arrived(&event(&json!({"version": "2.42.4", "web": {"host": "play.example.org"}})));
        assert_eq!(arrived.meta().name.as_deref(), Some("play"));
        assert_eq!(arrived.0.unwrap().spec.version, "2.42.4");
    }

    #[test]
    fn of_what_cannot_be_read_the_name_is_known_and_why() {
        let arrived = arrived(&event(&json!({"version": 3})));
        assert_eq!(arrived.meta().namespace.as_deref(), Some("ns"));
        let invalid = arrived.0.unwrap_err();
        assert!(invalid.error.contains("invalid type: integer `3`"), "{}", invalid.error);
    }

    #[test]
    fn what_is_no_object_at_all_is_an_error() {
        assert!(serde_json::from_str::<Arrived>(r#"{"metadata": 1}"#).is_err());
        assert!(serde_json::from_str::<Arrived>("[]").is_err());
    }
}
