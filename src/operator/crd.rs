//! The custom resource definitions, as generated from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON};
use kube::CustomResourceExt;
use serde_json::json;

use crate::api::Dhis2Instance;

/// The definition of `Dhis2Instance`.
///
/// Its status has a default, `observedGeneration: -1`: a resource that the operator has not seen yet counts as being
/// worked on for tools that follow kstatus, and never as ready.
pub fn instance() -> CustomResourceDefinition {
    let mut crd = Dhis2Instance::crd();
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
