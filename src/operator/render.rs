//! Every object that a resource gives when all is well, without a cluster.

use kube::ResourceExt;
use serde_json::Value;

use super::{
    desired::desired,
    instance::Stage,
    observe::Observed,
    parse::{Refusal, parse},
    settings::Settings,
};
use crate::api::Dhis2Instance;

/// The uid and namespace of a resource that no cluster has seen.
const NO_UID: &str = "00000000-0000-0000-0000-000000000000";

/// All objects of a resource, in the order in which they are made. Generated values are left out: they
/// are made in the cluster.
///
/// # Errors
/// What the condition `Stalled` would say.
pub fn render(mut resource: Dhis2Instance, settings: &Settings) -> Result<Vec<Value>, Refusal> {
    resource.metadata.uid.get_or_insert_with(|| NO_UID.into());
    if resource.namespace().is_none() {
        resource.metadata.namespace = Some("default".into());
    }
    resource.status = None;
    let mut instance = parse(&resource, &Observed::default(), settings)?;
    instance.stage = Stage { prepared: true, built: false, application: true, secured: false, first_backup: true, ..Stage::default() };
    let steps = desired(&instance);
    instance.stage = Stage { built: true, secured: true, ..instance.stage };
    let mut objects: Vec<Value> = Vec::new();
    for wish in desired(&instance).into_iter().chain(steps) {
        if !objects.contains(&wish.object) {
            objects.push(wish.object);
        }
    }
    Ok(objects)
}
