//! The step that replaces DHIS2's default password, while nobody but it can connect.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::{
    Policy, Wanted,
    job::{Retry, job},
    metadata::Part,
    pod::{self, AGENT_IN_IMAGE, Placement, Step},
    resources,
    services::{HTTP, pods_of_application},
    volume,
};
use crate::operator::instance::Instance;

/// The bootstrap, until the default password is known to be refused.
pub fn bootstrap(instance: &Instance) -> Option<Wanted> {
    let due = instance.stage.application && !instance.stage.secured;
    due.then(|| job(instance, &instance.child("bootstrap"), Part::Bootstrap, pod(instance), Retry::InPlace, Policy::Step))
}

fn pod(instance: &Instance) -> PodSpec {
    let url = format!("http://{}.{}.svc:{HTTP}{}", pods_of_application(instance), instance.namespace, instance.web.context);
    let command = [AGENT_IN_IMAGE, "bootstrap", "--url", &url, "--version", &instance.version.to_string()].map(str::to_owned).to_vec();
    let container = Container {
        resources: Some(resources::step(16, 64)),
        ..pod::container("bootstrap", &instance.images.agent, &instance.images.agent_pull_policy, command)
    };
    let main = Step { container, attached: vec![volume::admin_secret(instance), volume::tmp(16)] };
    pod::spec(instance, pod::DHIS2, Placement::Near(None), Vec::new(), main)
}
