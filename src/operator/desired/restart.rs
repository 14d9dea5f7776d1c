//! What a pod reads only at its start, as a digest in its annotations: a pod with another digest than the wanted one is to be
//! restarted, and no other.

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::{Value, json};

use crate::operator::{
    compare,
    instance::{Images, Instance},
};

/// The digest of a pod: its spec, but for the agent's image, and what it reads from files at its start. Labels and annotations
/// that the user adds are no part of the spec; a new operator brings a new agent image, which is taken at the next start.
pub fn digest(instance: &Instance, pod: fn(&Instance) -> PodSpec, files: &Value) -> String {
    let images = Images { agent: String::new(), agent_pull_policy: String::new(), ..instance.images.clone() };
    let pod = pod(&Instance { images, ..instance.clone() });
    compare::digest(&json!({ "pod": pod, "files": files }))
}
