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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    use crate::{
        api::RESTART,
        operator::{desired::fixture, kind::Kind},
    };

    /// The digests of DHIS2's and of the database's pod.
    fn digests(instance: &Instance) -> [Value; 2] {
        ["play", "play-database"].map(|name| {
            let set = fixture::object(instance, Kind::StatefulSet, name);
            set["spec"]["template"]["metadata"]["annotations"][RESTART].clone()
        })
    }

    /// Which of the two pods restart when the instance changes: DHIS2, the database.
    fn restarts(change: impl Fn(&mut Instance)) -> [bool; 2] {
        let before = fixture::plain();
        let mut after = before.clone();
        change(&mut after);
        let (before, after) = (digests(&before), digests(&after));
        [before[0] != after[0], before[1] != after[1]]
    }

    fn parameter(name: &'static str, value: &'static str) -> impl Fn(&mut Instance) {
        move |instance| drop(instance.database.parameters.insert(name.to_owned(), value.to_owned()))
    }

    #[test]
    fn what_is_read_at_the_start_restarts() {
        assert_eq!(
            restarts(|instance| drop(instance.application.config.insert("max.sessions.per_user".into(), "5".into()))),
            [true, false]
        );
        assert_eq!(restarts(|instance| instance.application.memory_mib = 4096), [true, false]);
        assert_eq!(restarts(|instance| instance.images.dhis2 = "docker.io/dhis2/core:2.42.5.0".into()), [true, false]);
        assert_eq!(restarts(|instance| instance.web.host = "other.localhost".into()), [true, false]);
        assert_eq!(restarts(|instance| instance.database.memory_mib = 2048), [false, true]);
        assert_eq!(restarts(parameter("max_connections", "200")), [false, true]);
        assert_eq!(restarts(|instance| instance.pod.priority_class_name = Some("high".into())), [true, true]);
    }

    #[test]
    fn nothing_else_restarts() {
        assert_eq!(restarts(|instance| drop(instance.pod.labels.insert("team".into(), "hmis".into()))), [false, false]);
        assert_eq!(restarts(|instance| drop(instance.pod.annotations.insert("team".into(), "hmis".into()))), [false, false]);
        assert_eq!(restarts(|instance| instance.images.agent = "example.org/dhis2-operator:0.2.0".into()), [false, false]);
        assert_eq!(restarts(|instance| instance.images.agent_pull_policy = "Always".into()), [false, false]);
        assert_eq!(restarts(parameter("work_mem", "32MB")), [false, false]);
        assert_eq!(restarts(|instance| instance.backup.schedule = "0 0 * * *".into()), [false, false]);
        assert_eq!(restarts(|instance| instance.database.storage.size = "40Gi".into()), [false, false]);
        assert_eq!(restarts(|instance| instance.policies = false), [false, false]);
    }
}
