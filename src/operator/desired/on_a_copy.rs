//! DHIS2 on a restored set, in one pod that nothing else knows: the set on scratch space, a PostgreSQL on it, DHIS2 on that, and who waits for it.

use k8s_openapi::api::core::v1::{Container, HostAlias, PodSpec, SecurityContext};

use super::{
    application, backup, database,
    pod::{self, Placement, Step},
    repository,
    services::HTTP,
    volume::Attached,
};
use crate::operator::instance::Instance;

/// DHIS2's image runs as this user.
const DHIS2: i64 = 65534;

/// `restored` has filled the volume of the database when the servers start; `main` ends the pod.
pub fn pod(instance: &Instance, restored: Step, database: &Attached, main: Step) -> PodSpec {
    let before = vec![
        pod::install(instance),
        restored,
        beside(database::beside(instance, database)),
        beside(as_dhis2(application::on_a_copy(instance))),
    ];
    // Where the repository can be mounted. A bucket is everywhere.
    let placement = Placement::Near(repository::is_on_a_node(instance).then(|| Box::new(backup::beside_dhis2(instance))));
    PodSpec {
        // The copy's configuration is the instance's: the name of its database leads to the copy's.
        host_aliases: Some(vec![HostAlias { ip: "127.0.0.1".into(), hostnames: Some(vec![instance.child("database")]) }]),
        // Nothing in it is needed any more, and it is to send nothing.
        termination_grace_period_seconds: Some(1),
        ..pod::spec(instance, pod::RESTORE, placement, before, vec![main])
    }
}

/// DHIS2's own user in a pod of PostgreSQL's.
pub fn as_dhis2(step: Step) -> Step {
    let context = step.container.security_context.clone().unwrap_or_default();
    let context = SecurityContext { run_as_user: Some(DHIS2), run_as_group: Some(DHIS2), ..context };
    Step { container: Container { security_context: Some(context), ..step.container }, ..step }
}

/// What the agent is told of the DHIS2 that it waits for.
pub fn dhis2(instance: &Instance) -> [String; 6] {
    let url = format!("http://127.0.0.1:{HTTP}{}", instance.web.context);
    ["--url", &url, "--version", &instance.version.to_string(), "--timeout", &instance.patience.to_string()].map(str::to_owned)
}

/// Runs until the others have ended.
fn beside(step: Step) -> Step {
    Step { container: Container { restart_policy: Some("Always".into()), ..step.container }, ..step }
}
