//! PostgreSQL: the server, and the step that makes its volume.

use k8s_openapi::api::core::v1::{Container, ContainerPort, ExecAction, PodSpec, Probe};
use serde_json::json;

use super::{
    Policy, Wanted, configuration, import,
    job::{Retry, job},
    metadata::Part,
    pod::{self, Placement, Step, agent},
    resources, restart, restore,
    services::{POSTGRESQL, POSTGRESQL_NAME},
    stateful_set::stateful_set,
    volume::{self, Attached},
    watch,
};
use crate::{
    dhis2::postgresql,
    layout,
    operator::instance::{Instance, Source},
};

/// The server, once its volume is built. It refuses a volume without the mark of the build.
pub fn database(instance: &Instance) -> Option<Wanted> {
    let name = instance.child("database");
    let at_start = json!(postgresql::read_at_start(&configuration::database_settings(instance)));
    let restart = restart::digest(instance, server, &at_start);
    instance.stage.built.then(|| stateful_set(instance, &name, Part::Database, name.clone(), server(instance), &restart))
}

/// The step that makes the volume: an empty database, or one that people bring.
pub fn build(instance: &Instance) -> Option<Wanted> {
    let due = instance.stage.prepared && !instance.stage.built;
    let pod = || match &instance.source {
        None => builder(instance),
        Some(Source::Dump(dump)) => import::pod(instance, dump),
        Some(Source::Backup(origin)) => restore::first(instance, origin),
    };
    due.then(|| job(instance, &instance.child("database-build"), Part::DatabaseBuild, pod(), Retry::InPlace, Policy::Step))
}

fn server(instance: &Instance) -> PodSpec {
    let command = agent(&["database", "run", "--instance", &instance.uid]);
    let container = Container {
        ports: Some(vec![ContainerPort { name: Some(POSTGRESQL_NAME.into()), container_port: POSTGRESQL, ..ContainerPort::default() }]),
        // An hour of crash recovery. No liveness probe: it could only kill a server that is busy with it.
        startup_probe: Some(Probe { failure_threshold: Some(360), ..check() }),
        ..container(instance, "database", command)
    };
    // A fast shutdown writes a checkpoint first.
    PodSpec { termination_grace_period_seconds: Some(300), ..postgres(instance, vec![main(instance, container), watch_database(instance)]) }
}

/// The server beside a DHIS2 in one pod, on this volume.
pub fn beside(instance: &Instance, database: &Attached) -> Step {
    let command = agent(&["database", "run", "--instance", &instance.uid]);
    let container = Container {
        startup_probe: Some(Probe { failure_threshold: Some(360), period_seconds: Some(2), ..check() }),
        ..container(instance, "database", command)
    };
    let others = attached(instance).into_iter().filter(|attached| attached.volume.name != database.volume.name);
    Step { container, attached: others.chain([database.clone()]).collect() }
}

fn builder(instance: &Instance) -> PodSpec {
    let (name, major) = (format!("{}/{}", instance.namespace, instance.name), instance.database.major.to_string());
    let mut command = agent(&["database", "build", "--instance", &instance.uid, "--name", &name, "--postgresql", &major]);
    command.extend(instance.adopt.then(|| "--adopt".to_owned()));
    postgres(instance, vec![main(instance, container(instance, "build", command))])
}

fn container(instance: &Instance, name: &str, command: Vec<String>) -> Container {
    let database = &instance.database;
    Container {
        resources: Some(resources::server(database.memory_mib, &database.cpu, database.cpu_limit.as_deref())),
        ..pod::container(name, &instance.images.postgres, "IfNotPresent", command)
    }
}

fn postgres(instance: &Instance, main: Vec<Step>) -> PodSpec {
    pod::spec(instance, pod::POSTGRES, Placement::Server, vec![pod::install(instance)], main)
}

fn main(instance: &Instance, container: Container) -> Step {
    Step { container, attached: attached(instance) }
}

/// Whether the server answers and takes writes, and its volume has room and keeps what is written.
fn watch_database(instance: &Instance) -> Step {
    let attached = vec![
        volume::agent().read_only(),
        volume::database(instance),
        volume::tmp(TMP_MIB),
        volume::scratch("sockets", layout::SOCKETS, SOCKETS_MIB).read_only(),
    ];
    watch::watch("database", &instance.images.postgres, "IfNotPresent", attached)
}

/// Space for PostgreSQL's scripts, in MiB.
const TMP_MIB: i64 = 1024;
/// Space for its socket, in MiB.
const SOCKETS_MIB: i64 = 16;

fn attached(instance: &Instance) -> Vec<Attached> {
    let configuration = volume::configuration(&instance.child("database"), layout::POSTGRES_CONFIG);
    let mut attached = vec![
        volume::agent().read_only(),
        volume::database(instance),
        configuration.clone(),
        configuration.file(configuration::PASSWD, "/etc/passwd"),
        volume::database_secret(instance, &volume::DATABASE_KEYS),
        volume::tmp(TMP_MIB),
        volume::scratch("sockets", layout::SOCKETS, SOCKETS_MIB),
        // Parallel queries; Docker's 64 MB are too few.
        volume::memory("shm", "/dev/shm", (instance.database.memory_mib / 4).max(64)),
    ];
    attached.extend(volume::encryption_secret(instance));
    attached
}

/// Has it started: does it answer, and is it out of recovery?
fn check() -> Probe {
    Probe {
        exec: Some(ExecAction { command: Some(agent(&["database", "check"])) }),
        period_seconds: Some(10),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{desired::fixture, instance::Stage, kind::Kind};

    #[test]
    fn the_server_waits_for_its_volume() {
        let instance = Instance { stage: Stage { prepared: true, ..Stage::default() }, ..fixture::plain() };
        assert!(database(&instance).is_none());
        let job = build(&instance).unwrap().object;
        let command = &job["spec"]["template"]["spec"]["containers"][0]["command"];
        assert_eq!(
            *command,
            json!(["/agent/dhis2-agent", "database", "build", "--instance", "uid-1", "--name", "demo/play", "--postgresql", "17"])
        );
        assert!(build(&fixture::plain()).is_none());
    }

    #[test]
    fn adopting_is_said_to_the_build() {
        let instance = Instance { adopt: true, stage: Stage { prepared: true, ..Stage::default() }, ..fixture::plain() };
        let command = build(&instance).unwrap().object["spec"]["template"]["spec"]["containers"][0]["command"].clone();
        assert_eq!(command.as_array().unwrap().last().unwrap(), "--adopt");
    }

    #[test]
    fn nothing_kills_a_recovering_server() {
        let pod = fixture::object(&fixture::plain(), Kind::StatefulSet, "play-database")["spec"]["template"]["spec"].clone();
        let container = &pod["containers"][0];
        assert!(container.get("livenessProbe").is_none());
        let probe = &container["startupProbe"];
        assert!(probe["periodSeconds"].as_i64().unwrap() * probe["failureThreshold"].as_i64().unwrap() >= 3600);
        assert!(pod["terminationGracePeriodSeconds"].as_i64().unwrap() >= 300);
    }

    #[test]
    fn configuration_follows_changes_while_the_server_runs() {
        let pod = fixture::object(&fixture::plain(), Kind::StatefulSet, "play-database")["spec"]["template"]["spec"].clone();
        let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
        let configuration = mounts.iter().find(|mount| mount["mountPath"] == layout::POSTGRES_CONFIG).unwrap();
        assert!(configuration.get("subPath").is_none());
    }

    #[test]
    fn shared_memory_stays_within_the_limit() {
        let pod = fixture::object(&fixture::plain(), Kind::StatefulSet, "play-database")["spec"]["template"]["spec"].clone();
        let shm = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "shm").unwrap();
        assert_eq!(shm["emptyDir"], json!({"medium": "Memory", "sizeLimit": "256Mi"}));
        assert_eq!(pod["containers"][0]["resources"]["limits"]["memory"], "1Gi");
    }
}
