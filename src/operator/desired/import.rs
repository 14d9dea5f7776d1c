//! The step that makes the volumes of a new instance from a dump that people bring.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::{
    configuration,
    pod::{self, Placement, Step, agent, variable},
    resources,
    volume::{self, Attached},
};
use crate::{api::bootstrap::FromDump, layout, operator::instance::Instance};

/// Its pod.
pub fn pod(instance: &Instance, dump: &FromDump) -> PodSpec {
    let container = Container {
        env: Some(vec![variable("HOME", "/tmp")]),
        resources: Some(resources::step(512, (instance.database.memory_mib / 2).clamp(1024, 4096))),
        ..pod::container("import", &instance.images.postgres, "IfNotPresent", command(instance, dump))
    };
    let main = Step { container, attached: attached(instance, dump) };
    pod::spec(instance, pod::RESTORE, Placement::Near(None), vec![pod::install(instance)], vec![main])
}

fn command(instance: &Instance, dump: &FromDump) -> Vec<String> {
    let (name, major) = (format!("{}/{}", instance.namespace, instance.name), instance.database.major.to_string());
    let version = instance.version.to_string();
    let mut command = agent(&["import", "--instance", &instance.uid, "--name", &name, "--postgresql", &major, "--version", &version]);
    command.push(format!("--dump={}", dump.path));
    command.extend(dump.files_path.as_ref().map(|files| format!("--files={files}")));
    command
}

fn attached(instance: &Instance, dump: &FromDump) -> Vec<Attached> {
    let configuration = volume::configuration(&instance.child("database"), layout::POSTGRES_CONFIG);
    let mut attached = vec![
        volume::agent().read_only(),
        volume::database(instance),
        volume::files(instance),
        volume::source(&dump.volume_claim),
        configuration.file(configuration::PASSWD, "/etc/passwd"),
        volume::database_secret(instance, &volume::DATABASE_KEYS),
        // The private server's shared memory segments.
        volume::tmp(10 << 10),
    ];
    attached.extend(volume::encryption_secret(instance));
    attached
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::desired::fixture;

    #[test]
    fn what_people_brought_is_only_read() {
        let pod = pod(&fixture::plain(), &fixture::dump());
        let volume = pod.volumes.unwrap().into_iter().find(|volume| volume.name == "source").unwrap();
        let claim = volume.persistent_volume_claim.unwrap();
        // Also by whoever mounts it: nothing on it is given to another group.
        assert_eq!((claim.claim_name.as_str(), claim.read_only), ("old-server", Some(true)));
        let mounts = pod.containers[0].volume_mounts.clone().unwrap();
        assert!(mounts.iter().all(|mount| mount.name != "source" || mount.read_only == Some(true)));
    }

    #[test]
    fn the_agent_is_told_where_the_dump_and_the_files_are() {
        let said = |dump: &FromDump| command(&fixture::plain(), dump).join(" ");
        let all = "/agent/dhis2-agent import --instance uid-1 --name demo/play --postgresql 17 --version 2.42.4.1 --dump=old/dhis2.sql.gz";
        assert_eq!(said(&fixture::dump()), format!("{all} --files=old/files"));
        assert_eq!(said(&FromDump { files_path: None, ..fixture::dump() }), all);
    }
}
