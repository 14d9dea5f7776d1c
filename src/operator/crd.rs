//! The custom resource definitions, as generated from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON};
use kube::CustomResourceExt;
use serde_json::json;

use crate::api::{Dhis2Backup, Dhis2Instance, Dhis2Restore, Dhis2RestoreTest};

/// All definitions.
pub fn all() -> [CustomResourceDefinition; 4] {
    [instance(), restore(), backup(), restore_test()]
}

/// The definition of `Dhis2Instance`.
pub fn instance() -> CustomResourceDefinition {
    with_default_status(Dhis2Instance::crd())
}

/// The definition of `Dhis2Restore`.
pub fn restore() -> CustomResourceDefinition {
    with_default_status(Dhis2Restore::crd())
}

/// The definition of `Dhis2Backup`.
pub fn backup() -> CustomResourceDefinition {
    with_default_status(Dhis2Backup::crd())
}

/// The definition of `Dhis2RestoreTest`.
pub fn restore_test() -> CustomResourceDefinition {
    with_default_status(Dhis2RestoreTest::crd())
}

/// The status has a default, `observedGeneration: -1`: a resource that the operator has not seen yet counts as being
/// worked on for tools that follow kstatus, and never as ready.
fn with_default_status(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) else { continue };
        let Some(properties) = schema.properties.as_mut() else { continue };
        schema.description = properties.get("spec").and_then(|spec| spec.description.clone());
        if let Some(status) = properties.get_mut("status") {
            status.default = Some(JSON(json!({ "observedGeneration": -1 })));
            status.nullable = None;
        }
    }
    crd
}
