//! The restore test: the newest set, or one that is asked for, restored on scratch space.

use k8s_openapi::api::{
    batch::v1::{Job, JobSpec},
    core::v1::{Container, PodSpec},
};

use super::{
    Policy, Wanted,
    backup::beside_dhis2,
    job::{self, Cron, Retry},
    metadata::{Part, owned},
    pod::{self, Placement, Step, agent, variable},
    repository, resources,
    volume::{self, Attached},
};
use crate::{
    layout,
    operator::{instance::Instance, kind::Kind},
};

/// The scratch volume goes with the pod, and the pod with its Job: nobody pays longer for it than a person needs to read a log.
const KEPT: i32 = 6 * 3600;

/// The scheduled restore tests, once the instance is secured.
pub fn schedule(instance: &Instance) -> Option<Wanted> {
    let cron = Cron { schedule: &instance.backup.verify_schedule, suspend: instance.backup.verify_suspend, late: 24, kept: 1 };
    let spec = JobSpec { ttl_seconds_after_finished: Some(KEPT), ..spec(instance, None) };
    job::scheduled(instance, Part::Verify, &cron, spec)
}

/// One restore test, of this set or of the newest.
pub fn once(instance: &Instance, step: &str, set: Option<&str>) -> Wanted {
    let name = instance.child(step);
    let job = Job { metadata: owned(instance, &name, Part::Verify), spec: Some(spec(instance, set)), status: None };
    Wanted::new(Kind::Job, &name, &job, Policy::Step)
}

fn spec(instance: &Instance, set: Option<&str>) -> JobSpec {
    // Each try has a scratch volume of its own, and what is damaged stays damaged.
    JobSpec { backoff_limit: Some(1), ..job::spec(instance, Part::Verify, pod(instance, set), Retry::NewPod) }
}

fn pod(instance: &Instance, set: Option<&str>) -> PodSpec {
    let name = format!("{}/{}", instance.namespace, instance.name);
    let mut command = agent(&["verify", "--instance", &instance.uid, "--name", &name]);
    command.extend(repository::arguments(instance));
    command.extend(set.into_iter().flat_map(|set| ["--set".to_owned(), set.to_owned()]));
    let container = Container {
        env: Some(vec![variable("HOME", "/tmp")]),
        resources: Some(resources::step(512, (instance.database.memory_mib / 2).clamp(1024, 4096))),
        ..pod::container("verify", &instance.images.postgres, "IfNotPresent", command)
    };
    let main = Step { container, attached: attached(instance) };
    // Where backups are made: the volume of the repository can be mounted on one node only. A bucket is everywhere.
    let placement = Placement::Near(repository::is_on_a_node(instance).then(|| Box::new(beside_dhis2(instance))));
    pod::spec(instance, pod::DHIS2, placement, vec![pod::install(instance)], vec![main])
}

/// The repository, its key, and space: a set has to be enough without anything else of the instance.
fn attached(instance: &Instance) -> Vec<Attached> {
    let mut attached = vec![volume::agent().read_only()];
    attached.extend(repository::attached(instance));
    attached.extend([
        volume::backup_secret(&instance.child("backup")),
        volume::ephemeral("scratch", layout::SCRATCH, &instance.scratch),
        // restic's cache, and the private server's shared memory segments.
        volume::tmp(10 << 10),
    ]);
    attached
}
