//! The shape that all pods share: who they run as, what they may do, where they run.

use k8s_openapi::{
    api::core::v1::{
        Affinity, Capabilities, Container, EnvVar, EnvVarSource, LocalObjectReference, PodSecurityContext, PodSpec, PodTemplateSpec,
        SeccompProfile, SecretKeySelector, SecurityContext, Volume,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    metadata::{Part, labels},
    resources,
    volume::{self, Attached},
};
use crate::{layout, operator::instance::Instance};

/// The agent in the operator's own image.
pub const AGENT_IN_IMAGE: &str = "/usr/local/bin/dhis2-agent";

/// Whom the processes of a pod run as; its volumes belong to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    user: i64,
    /// Whose its volumes are.
    volumes: i64,
}

/// User and group of the DHIS2 images, of backups and of the bootstrap (dhis2-core, `jib.yaml`: 65534 in every release since 2.38.2).
pub const DHIS2: Identity = Identity { user: 65534, volumes: 65534 };
/// User and group of the database, whatever its image calls them.
pub const POSTGRES: Identity = Identity { user: 999, volumes: 999 };
/// Who makes a database beside files and repository of DHIS2's group: PostgreSQL's data must be its user's.
pub const RESTORE: Identity = Identity { user: 999, volumes: 65534 };

/// A container and what it sees.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The container, without its mounts.
    pub container: Container,
    /// Its mounts with their volumes.
    pub attached: Vec<Attached>,
}

/// How the pod is placed on the cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum Placement {
    /// As the user says for DHIS2 and the database.
    Server,
    /// Where it fits, on nodes that the user allows, with this affinity.
    Near(Option<Box<Affinity>>),
}

/// A container that may do nothing but compute, with a root file system that nobody writes to.
pub fn container(name: &str, image: &str, pull_policy: &str, command: Vec<String>) -> Container {
    Container {
        name: name.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some(pull_policy.to_owned()),
        command: (!command.is_empty()).then_some(command),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            seccomp_profile: Some(seccomp()),
            ..SecurityContext::default()
        }),
        // The agent's report is the whole message, never the end of a log.
        termination_message_policy: Some("File".into()),
        ..Container::default()
    }
}

/// The init container that brings the agent into the pod.
pub fn install(instance: &Instance) -> Step {
    let command = [AGENT_IN_IMAGE, "install", layout::AGENT_DIR].map(str::to_owned).to_vec();
    Step {
        container: Container {
            resources: Some(resources::step(16, 64)),
            ..container("install", &instance.images.agent, &instance.images.agent_pull_policy, command)
        },
        attached: vec![volume::agent()],
    }
}

/// The command of a verb of the installed agent.
pub fn agent(arguments: &[&str]) -> Vec<String> {
    std::iter::once(&layout::AGENT).chain(arguments).map(|&argument| argument.to_owned()).collect()
}

/// An environment variable with a plain value.
pub fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None }
}

/// An environment variable from a key of a Secret.
pub fn secret_variable(name: &str, secret: &str, key: &str) -> EnvVar {
    let reference = SecretKeySelector { name: secret.to_owned(), key: key.to_owned(), optional: None };
    let source = EnvVarSource { secret_key_ref: Some(reference), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(source) }
}

/// A pod of these steps: those of `before` are done one after the other, then `main` run side by side.
pub fn spec(instance: &Instance, identity: Identity, placement: Placement, before: Vec<Step>, main: Vec<Step>) -> PodSpec {
    let volumes = volumes(before.iter().chain(&main));
    let user = &instance.pod;
    let server = placement == Placement::Server;
    let affinity = match placement {
        Placement::Server => user.affinity.clone(),
        Placement::Near(affinity) => affinity.map(|affinity| *affinity),
    };
    PodSpec {
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(security(identity)),
        image_pull_secrets: some(instance.images.pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect()),
        node_selector: (!user.node_selector.is_empty()).then(|| user.node_selector.clone()),
        tolerations: some(user.tolerations.clone()),
        affinity,
        topology_spread_constraints: server.then(|| user.topology_spread_constraints.clone()).and_then(some),
        priority_class_name: user.priority_class_name.clone().filter(|_| server),
        init_containers: some(before.into_iter().map(mounted).collect()),
        containers: main.into_iter().map(mounted).collect(),
        volumes: some(volumes),
        ..PodSpec::default()
    }
}

/// A pod template with the labels of its part and what the user adds.
pub fn template(instance: &Instance, part: Part, spec: PodSpec, annotations: &[(&str, &str)]) -> PodTemplateSpec {
    let mut all_labels = instance.pod.labels.clone();
    all_labels.extend(labels(instance, part));
    let mut all_annotations = instance.pod.annotations.clone();
    all_annotations.extend(annotations.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())));
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(all_labels),
            annotations: (!all_annotations.is_empty()).then_some(all_annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(spec),
    }
}

fn security(Identity { user, volumes }: Identity) -> PodSecurityContext {
    // Large volumes are not walked through at each start. But what restic wrote is its user's only until that was done once.
    let walk = if user == volumes { "OnRootMismatch" } else { "Always" };
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(user),
        run_as_group: Some(user),
        fs_group: Some(volumes),
        fs_group_change_policy: Some(walk.into()),
        seccomp_profile: Some(seccomp()),
        ..PodSecurityContext::default()
    }
}

fn seccomp() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }
}

fn mounted(step: Step) -> Container {
    Container { volume_mounts: some(step.attached.into_iter().map(|attached| attached.mount).collect()), ..step.container }
}

/// Each volume once, in order of first use.
fn volumes<'a>(steps: impl Iterator<Item = &'a Step>) -> Vec<Volume> {
    let mut volumes: Vec<Volume> = Vec::new();
    for Attached { volume, .. } in steps.flat_map(|step| &step.attached) {
        if volumes.iter().all(|known| known.name != volume.name) {
            volumes.push(volume.clone());
        }
    }
    volumes
}

/// An empty list is left out, as the API server does.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
