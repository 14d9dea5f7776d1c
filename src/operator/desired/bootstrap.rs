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
    pod::spec(instance, pod::DHIS2, Placement::Near(None), Vec::new(), vec![main])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{desired::fixture, instance::Stage};

    #[test]
    fn it_runs_until_the_default_password_is_refused() {
        let mut instance = fixture::plain();
        assert!(bootstrap(&instance).is_none());
        instance.stage = Stage { secured: false, ..instance.stage };
        instance.web.context = "/hmis".into();
        let job = bootstrap(&instance).unwrap().object;
        let command = &job["spec"]["template"]["spec"]["containers"][0]["command"];
        assert_eq!(command[3], "http://play-pods.demo.svc:8080/hmis");
        assert_eq!(command[5], "2.42.4.1");
        instance.stage = Stage { application: false, ..instance.stage };
        assert!(bootstrap(&instance).is_none());
    }
}
