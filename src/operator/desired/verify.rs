//! The restore test: the newest set, or one that is asked for, restored on scratch space.

use k8s_openapi::api::{
    batch::v1::{Job, JobSpec},
    core::v1::{Container, PodSpec},
};

use super::{
    Policy, Wanted, application,
    backup::beside_dhis2,
    job::{self, Cron, Retry},
    metadata::{Part, owned},
    on_a_copy,
    pod::{self, Placement, Step, agent, variable},
    repository, resources, restore,
    upgrade::proof_name,
    volume::{self, Attached},
};
use crate::{
    api::{backup::VerifyLevel, restore::Phase},
    layout,
    operator::{instance::Instance, kind::Kind},
};

/// The scratch volume goes with the pod, and the pod with its Job: nobody pays longer for it than a person needs to read a log.
pub const KEPT: i32 = 6 * 3600;
/// How often a test is tried again: each try has a scratch volume of its own, and what is damaged stays damaged.
pub const TRIES: i32 = 1;

/// The scheduled restore tests, once the instance is secured.
pub fn schedule(instance: &Instance) -> Option<Wanted> {
    let cron = Cron { schedule: &instance.backup.verify_schedule, suspend: instance.backup.verify_suspend, late: 24, kept: 1 };
    let spec = JobSpec { ttl_seconds_after_finished: Some(KEPT), ..spec(instance, None, instance.backup.verify_level) };
    job::scheduled(instance, Part::Verify, &cron, spec)
}

/// One restore test, of this set or of the newest.
pub fn once(instance: &Instance, step: &str, set: Option<&str>, level: Option<VerifyLevel>) -> Wanted {
    let name = instance.child(step);
    let spec = spec(instance, set, level.unwrap_or(instance.backup.verify_level));
    let job = Job { metadata: owned(instance, &name, Part::Verify), spec: Some(spec), status: None };
    Wanted::new(Kind::Job, &name, &job, Policy::Step)
}

/// Is the set whole that an upgrade is tried on? Database and files: the rehearsal itself needs no files, and a way back does.
pub fn before_rehearsal(instance: &Instance) -> Option<Wanted> {
    let preparing = instance.preparing.filter(|preparing| preparing.phase == Phase::Proving)?;
    Some(once(instance, &proof_name(preparing.generation), None, Some(VerifyLevel::Data)))
}

fn spec(instance: &Instance, set: Option<&str>, level: VerifyLevel) -> JobSpec {
    let pod = match level {
        VerifyLevel::Data => pod(instance, set),
        VerifyLevel::Application => with_dhis2(instance, set),
    };
    JobSpec { backoff_limit: Some(TRIES), ..job::spec(instance, Part::Verify, pod, Retry::NewPod) }
}

fn pod(instance: &Instance, set: Option<&str>) -> PodSpec {
    let named = set.into_iter().flat_map(|set| ["--set".to_owned(), set.to_owned()]).collect();
    let main = Step { container: container(instance, "verify", of_the_repository(instance, named)), attached: attached(instance) };
    // Where backups are made: the volume of the repository can be mounted on one node only. A bucket is everywhere.
    let placement = Placement::Near(repository::is_on_a_node(instance).then(|| Box::new(beside_dhis2(instance))));
    pod::spec(instance, pod::DHIS2, placement, vec![pod::install(instance)], vec![main])
}

/// The set is restored by one step, as for a restore; the other waits for DHIS2 on it, and notes the proof.
fn with_dhis2(instance: &Instance, set: Option<&str>) -> PodSpec {
    let scratch = volume::ephemeral("database", layout::DATA, &instance.scratch);
    let database = scratch.clone().part("database", layout::DATA);
    let restored = restore::copied(instance, "--scratch", set, vec![database.clone(), scratch.part("files", layout::FILES)]);
    let mut attached = vec![volume::agent().read_only()];
    attached.extend(repository::attached(instance));
    attached.extend([
        volume::backup_secret(&instance.child("backup")),
        database.clone().read_only(),
        application::home_of_copy(),
        volume::tmp(10 << 10),
    ]);
    // What it writes to the repository belongs to whom all of it belongs to.
    let arguments = of_the_repository(instance, on_a_copy::dhis2(instance).into());
    let main = on_a_copy::as_dhis2(Step { container: container(instance, "prove", arguments), attached });
    on_a_copy::pod(instance, restored, &database, main)
}

fn of_the_repository(instance: &Instance, more: Vec<String>) -> Vec<String> {
    [repository::arguments(instance), more].concat()
}

/// What restores and compares. `more`: where the set is, and which.
pub fn container(instance: &Instance, verb: &str, more: Vec<String>) -> Container {
    let name = format!("{}/{}", instance.namespace, instance.name);
    let mut command = agent(&[verb, "--instance", &instance.uid, "--name", &name]);
    command.extend(more);
    Container {
        env: Some(vec![variable("HOME", "/tmp")]),
        resources: Some(resources::step(512, (instance.database.memory_mib / 2).clamp(1024, 4096))),
        ..pod::container("verify", &instance.images.postgres, "IfNotPresent", command)
    }
}

/// The repository, its key, and space: a set has to be enough without anything else of the instance.
fn attached(instance: &Instance) -> Vec<Attached> {
    let mut attached = vec![volume::agent().read_only()];
    attached.extend(repository::attached(instance));
    attached.push(volume::backup_secret(&instance.child("backup")));
    attached.extend(space(instance));
    attached
}

/// Where a set is restored, and what restic and PostgreSQL need beside.
pub fn space(instance: &Instance) -> [Attached; 2] {
    // restic's cache, and the private server's shared memory segments.
    [volume::ephemeral("scratch", layout::SCRATCH, &instance.scratch), volume::tmp(10 << 10)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::desired::{desired, fixture};
    use serde_json::{Value, json};

    fn pod_of(instance: &Instance, level: Option<VerifyLevel>) -> Value {
        once(instance, "test", Some("kept"), level).object["spec"]["template"]["spec"].clone()
    }

    fn mounts<'a>(pod: &'a Value, container: &str) -> &'a Vec<Value> {
        let all = ["initContainers", "containers"].into_iter().flat_map(|list| pod[list].as_array().unwrap());
        all.into_iter().find(|known| known["name"] == container).unwrap()["volumeMounts"].as_array().unwrap()
    }

    #[test]
    fn dhis2_is_started_where_the_instance_or_the_request_says_so() {
        let (plain, starting) = (fixture::plain(), fixture::testing_with_dhis2(&fixture::plain()));
        let starts = |instance: &Instance, level| pod_of(instance, level)["initContainers"].to_string().contains("\"dhis2\"");
        assert!(!starts(&plain, None) && starts(&plain, Some(VerifyLevel::Application)));
        assert!(starts(&starting, None) && !starts(&starting, Some(VerifyLevel::Data)));
        let scheduled = fixture::object(&starting, Kind::CronJob, "play-verify").to_string();
        assert!(scheduled.contains("\"prove\"") && scheduled.contains("\"--scratch\""));
    }

    #[test]
    fn what_an_upgrade_is_tried_on_is_proven_before_while_the_old_version_serves() {
        let starting = fixture::testing_with_dhis2(&fixture::plain());
        let all = desired(&fixture::upgrading(&starting, Phase::Proving));
        let job = fixture::find(&all, Kind::Job, "play-prove-upgrade-7").unwrap();
        let asked = once(&starting, "test", None, Some(VerifyLevel::Data)).object;
        assert_eq!(job["spec"]["template"]["spec"], asked["spec"]["template"]["spec"], "DHIS2 is started by the rehearsal");
        assert!(fixture::find(&all, Kind::StatefulSet, "play").is_none(), "what runs is left as it is");
        assert!(fixture::find(&all, Kind::Job, "play-rehearse-upgrade-7").is_none(), "one after the other");
    }

    #[test]
    fn what_is_started_sees_the_restored_database_and_nothing_else_of_the_instance_nor_the_repository() {
        let pod = pod_of(&fixture::plain(), Some(VerifyLevel::Application));
        let claims: Vec<&Value> =
            pod["volumes"].as_array().unwrap().iter().filter_map(|volume| volume.get("persistentVolumeClaim")).collect();
        assert_eq!(claims, [&json!({"claimName": "play-backups"})]);
        for server in ["database", "dhis2"] {
            let seen = json!(mounts(&pod, server)).to_string();
            assert!(!seen.contains("/backups") && !seen.contains("/secrets/backup"), "{server}");
        }
        let of_scratch = |container: &str, path: &str| {
            let mount = mounts(&pod, container).iter().find(|mount| mount["mountPath"] == path).unwrap();
            (mount["name"].clone(), mount["subPath"].clone())
        };
        assert_eq!(of_scratch("restore", layout::DATA), (json!("database"), json!("database")));
        assert_eq!(of_scratch("restore", layout::FILES), (json!("database"), json!("files")));
        assert_eq!(of_scratch("database", layout::DATA), (json!("database"), json!("database")));
        // What it writes to the repository is DHIS2's, as all of it.
        assert_eq!(pod["containers"][0]["securityContext"]["runAsUser"], 65534);
        assert_eq!(pod["containers"][0]["name"], "verify");
    }
}
