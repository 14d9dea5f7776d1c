//! A restore: the step that builds new volumes from a set, and the backup of the state that they replace.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::{
    Policy, Wanted, backup, configuration,
    job::{self, Retry},
    metadata::Part,
    pod::{self, Placement, Step, agent, variable},
    resources,
    volume::{self, Attached},
};
use crate::{
    api::restore::Phase,
    layout,
    operator::instance::{Instance, Restoring},
};

/// The step that builds the volumes, while DHIS2 serves from others.
pub fn build(instance: &Instance) -> Option<Wanted> {
    let restoring = instance.restoring.as_ref().filter(|restoring| restoring.phase == Phase::Building)?;
    let name = instance.child(&build_name(&restoring.uid));
    Some(job::job(instance, &name, Part::Restore, pod(instance, restoring), Retry::NewPod, Policy::Step))
}

/// The backup of the state that is about to be replaced.
pub fn safety_backup(instance: &Instance) -> Option<Wanted> {
    let restoring = instance.restoring.as_ref().filter(|restoring| restoring.phase == Phase::BackingUp)?;
    Some(backup::once(instance, &safety_name(&restoring.uid)))
}

/// Each request has steps of its own: what an earlier one left is never taken for its result.
pub fn build_name(request: &str) -> String {
    format!("restore-{}", short(request))
}

/// Its set is named after it, so that it has to differ from those of earlier restores.
pub fn safety_name(request: &str) -> String {
    format!("before-{}", short(request))
}

fn short(uid: &str) -> String {
    uid.chars().filter(char::is_ascii_alphanumeric).take(8).collect()
}

fn pod(instance: &Instance, restoring: &Restoring) -> PodSpec {
    let container = Container {
        env: Some(vec![variable("HOME", "/tmp")]),
        resources: Some(resources::step(512, (instance.database.memory_mib / 2).clamp(1024, 4096))),
        ..pod::container("restore", &instance.images.postgres, "IfNotPresent", command(instance, restoring))
    };
    let main = Step { container, attached: attached(instance, restoring) };
    // Not beside DHIS2, which may have no pod: its volumes may be what was lost. Where the volumes can be mounted the scheduler knows.
    pod::spec(instance, pod::RESTORE, Placement::Near(None), vec![pod::install(instance)], vec![main])
}

fn command(instance: &Instance, restoring: &Restoring) -> Vec<String> {
    let (name, major) = (format!("{}/{}", instance.namespace, instance.name), instance.database.major.to_string());
    let version = instance.version.to_string();
    let mut command = agent(&["restore", "--instance", &instance.uid, "--name", &name, "--postgresql", &major, "--version", &version]);
    let asked = [("--set", &restoring.set), ("--before", &restoring.before)];
    command.extend(asked.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value.clone()?])).flatten());
    command
}

fn attached(instance: &Instance, restoring: &Restoring) -> Vec<Attached> {
    let configuration = volume::configuration(&instance.child("database"), layout::POSTGRES_CONFIG);
    let mut attached = vec![
        volume::agent().read_only(),
        volume::backups(instance),
        configuration.file(configuration::PASSWD, "/etc/passwd"),
        volume::database_secret(instance, &volume::DATABASE_KEYS),
        volume::backup_secret(instance),
        // restic's cache, and the private server's shared memory segments.
        volume::tmp(10 << 10),
    ];
    attached.extend(volume::restored(restoring));
    attached.extend(volume::encryption_secret(instance));
    attached
}
