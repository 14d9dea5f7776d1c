//! The frame of both servers: one pod, restarted only when the operator deletes it.

use k8s_openapi::api::{
    apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy},
    core::v1::PodSpec,
};

use super::{
    Policy, Wanted,
    metadata::{Part, owned, pods},
    pod::template,
};
use crate::{
    api::{RESTART, restore::Phase},
    operator::{instance::Instance, kind::Kind},
};

/// What `kubectl logs` and `kubectl exec` mean when no container is named.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// A server of one pod, or of none while the volumes below it are changed; `restart` is the digest of what its pod reads only at its start.
pub fn stateful_set(instance: &Instance, name: &str, part: Part, service: String, pod: PodSpec, restart: &str) -> Wanted {
    let main = pod.containers.first().map(|container| container.name.clone()).unwrap_or_default();
    let stateful_set = StatefulSet {
        metadata: owned(instance, name, part),
        spec: Some(StatefulSetSpec {
            replicas: Some(i32::from(!instance.is(Phase::Stopping))),
            service_name: Some(service),
            selector: pods(instance, part),
            // With the default policy a pod that never becomes ready would hold up its own replacement.
            pod_management_policy: Some("Parallel".into()),
            update_strategy: Some(StatefulSetUpdateStrategy { type_: Some("OnDelete".into()), rolling_update: None }),
            revision_history_limit: Some(2),
            template: template(instance, part, pod, &[(RESTART, restart), (DEFAULT_CONTAINER, &main)]),
            ..StatefulSetSpec::default()
        }),
        status: None,
    };
    Wanted::new(Kind::StatefulSet, name, &stateful_set, Policy::Keep)
}
