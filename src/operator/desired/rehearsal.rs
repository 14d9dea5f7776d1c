//! The rehearsal of an upgrade: the newest set's database on scratch space, a PostgreSQL on it, the new DHIS2 on that, in one pod that nothing else knows.

use k8s_openapi::api::{
    batch::v1::{Job, JobSpec},
    core::v1::{Container, PodSpec},
};

use super::{
    Policy, Wanted, application,
    job::{self, Retry},
    metadata::{Part, owned},
    on_a_copy,
    pod::{self, Step, agent},
    resources, restore,
    upgrade::rehearsal_name,
    volume,
};
use crate::{
    api::restore::Phase,
    layout,
    operator::{instance::Instance, kind::Kind},
};

/// Restoring a large set takes hours, before the new version has its time.
const RESTORING: i64 = 24 * 3600;

/// Does the new version serve on a copy, and after how long?
pub fn rehearsal(instance: &Instance) -> Option<Wanted> {
    let preparing = instance.preparing.filter(|preparing| preparing.phase == Phase::Rehearsing)?;
    let name = instance.child(&rehearsal_name(preparing.generation));
    let spec = JobSpec {
        // What the data does not allow it does not allow a moment later.
        backoff_limit: Some(0),
        active_deadline_seconds: Some(RESTORING + instance.patience),
        ..job::spec(instance, Part::Rehearsal, pod(instance), Retry::NewPod)
    };
    let job = Job { metadata: owned(instance, &name, Part::Rehearsal), spec: Some(spec), status: None };
    Some(Wanted::new(Kind::Job, &name, &job, Policy::Step))
}

fn pod(instance: &Instance) -> PodSpec {
    let database = volume::ephemeral("database", layout::DATA, &instance.database.storage);
    let restored = restore::copied(instance, "--rehearsal", None, vec![database.clone()]);
    on_a_copy::pod(instance, restored, &database, waits(instance))
}

fn waits(instance: &Instance) -> Step {
    let mut command = agent(&["rehearse"]);
    command.extend(on_a_copy::dhis2(instance));
    let container = pod::container("rehearse", &instance.images.postgres, "IfNotPresent", command);
    let attached = vec![volume::agent().read_only(), application::home_of_copy()];
    Step { container: Container { resources: Some(resources::step(16, 64)), ..container }, attached }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::desired::{desired, fixture};
    use serde_json::{Value, json};

    fn rehearsed() -> Value {
        let instance = fixture::upgrading(&fixture::plain(), Phase::Rehearsing);
        let all = desired(&instance);
        assert!(fixture::find(&all, Kind::StatefulSet, "play").is_none(), "what runs is left as it is");
        fixture::find(&all, Kind::Job, "play-rehearse-upgrade-7").unwrap()["spec"]["template"]["spec"].clone()
    }

    #[test]
    fn it_reads_the_repository_and_touches_nothing_of_the_instance() {
        let pod = rehearsed();
        let claims: Vec<&Value> =
            pod["volumes"].as_array().unwrap().iter().filter_map(|volume| volume.get("persistentVolumeClaim")).collect();
        assert_eq!(claims, [&json!({"claimName": "play-backups"})]);
        assert_eq!(pod["hostAliases"], json!([{"ip": "127.0.0.1", "hostnames": ["play-database"]}]));
        let mounts = |name: &str| {
            let containers = pod["initContainers"].as_array().unwrap().iter().chain(pod["containers"].as_array().unwrap());
            containers.clone().find(|container| container["name"] == name).unwrap()["volumeMounts"].to_string()
        };
        assert!(mounts("restore").contains("/backups"));
        for other in ["database", "dhis2", "rehearse"] {
            assert!(!mounts(other).contains("/backups") && !mounts(other).contains("/secrets/backup"), "{other}");
        }
    }

    #[test]
    fn servers_run_beside_and_dhis2_as_its_own_user() {
        let pod = rehearsed();
        let before = pod["initContainers"].as_array().unwrap();
        let policies: Vec<_> =
            before.iter().map(|container| (container["name"].as_str().unwrap(), container.get("restartPolicy").is_some())).collect();
        assert_eq!(policies, [("install", false), ("restore", false), ("database", true), ("dhis2", true)]);
        assert_eq!(before[3]["securityContext"]["runAsUser"], 65534);
        assert!(before[3].get("startupProbe").is_none(), "who waits for it begins at once");
        assert_eq!(before[3]["image"], "docker.io/dhis2/core:2.42.4.1");
    }
}
