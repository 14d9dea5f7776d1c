//! Copies of finished sets: a schedule for each repository that they go to, and restore tests from there.

use k8s_openapi::api::{
    batch::v1::{Job, JobSpec},
    core::v1::{Container, PodSpec},
};

use super::{
    Policy, Wanted,
    backup::{beside_dhis2, retention},
    job::{self, Cron, Retry},
    metadata::{Part, owned},
    pod::{self, Placement, Step, agent, variable},
    repository, resources, verify,
    volume::{self, Attached},
};
use crate::{
    api::COPY,
    layout,
    operator::{
        instance::{BackupCopy, Instance, Repository},
        kind::Kind,
    },
};

/// Name of what belongs to one copy, without that of the instance.
pub fn suffix(copy: &str) -> String {
    format!("copy-{copy}")
}

/// Name of the scheduled restore tests from one copy, without that of the instance. No longer than the other: names of schedules are short.
pub fn tests_suffix(copy: &str) -> String {
    format!("test-{copy}")
}

/// The scheduled copies, and restore tests from there, once the instance is secured.
pub fn schedules(instance: &Instance) -> Vec<Wanted> {
    instance.copies.iter().flat_map(|copy| [schedule(instance, copy), tests(instance, copy)]).flatten().collect()
}

fn schedule(instance: &Instance, copy: &BackupCopy) -> Option<Wanted> {
    let cron = Cron { schedule: &copy.schedule, suspend: false, late: 12, kept: 1 };
    job::scheduled_as(instance, &instance.child(&suffix(&copy.name)), Part::Copy, &cron, spec(instance, copy, pod(instance, copy)))
}

fn tests(instance: &Instance, copy: &BackupCopy) -> Option<Wanted> {
    let schedule = copy.verify_schedule.as_ref()?;
    let cron = Cron { schedule, suspend: false, late: 24, kept: 1 };
    let spec = JobSpec { ttl_seconds_after_finished: Some(verify::KEPT), ..spec_of_test(instance, copy, None) };
    job::scheduled_as(instance, &instance.child(&tests_suffix(&copy.name)), Part::Copy, &cron, spec)
}

/// What works with a copy is known by it: nobody else reaches its server.
fn spec(instance: &Instance, copy: &BackupCopy, pod: PodSpec) -> JobSpec {
    let mut spec = job::spec(instance, Part::Copy, pod, Retry::NewPod);
    if let Some(metadata) = &mut spec.template.metadata {
        metadata.labels.get_or_insert_default().insert(COPY.to_owned(), copy.name.clone());
    }
    spec
}

/// One restore test of this set of a copy, or of the newest: with the copy and its key alone.
pub fn test(instance: &Instance, copy: &BackupCopy, step: &str, set: Option<&str>) -> Wanted {
    let name = instance.child(step);
    let job = Job { metadata: owned(instance, &name, Part::Copy), spec: Some(spec_of_test(instance, copy, set)), status: None };
    Wanted::new(Kind::Job, &name, &job, Policy::Step)
}

fn spec_of_test(instance: &Instance, copy: &BackupCopy, set: Option<&str>) -> JobSpec {
    let mut more = vec!["--copy".to_owned(), copy.name.clone()];
    more.extend(repository::address(&copy.bucket));
    more.extend(set.into_iter().flat_map(|set| ["--set".to_owned(), set.to_owned()]));
    let mut attached = vec![volume::agent().read_only()];
    attached.extend(way_into(copy));
    attached.extend(verify::space(instance));
    let main = Step { container: verify::container(instance, "verify", more), attached };
    let pod = pod::spec(instance, pod::DHIS2, Placement::Near(None), vec![pod::install(instance)], vec![main]);
    JobSpec { backoff_limit: Some(verify::TRIES), ..spec(instance, copy, pod) }
}

fn pod(instance: &Instance, copy: &BackupCopy) -> PodSpec {
    let container = Container {
        env: Some(vec![variable("HOME", "/tmp")]),
        resources: Some(resources::step(256, (instance.database.memory_mib / 2).clamp(1024, 4096))),
        ..pod::container("copy", &instance.images.postgres, "IfNotPresent", command(instance, copy))
    };
    let main = Step { container, attached: attached(instance, copy) };
    let placement = Placement::Near(repository::is_on_a_node(instance).then(|| Box::new(beside_dhis2(instance))));
    pod::spec(instance, pod::DHIS2, placement, vec![pod::install(instance)], vec![main])
}

fn command(instance: &Instance, copy: &BackupCopy) -> Vec<String> {
    let name = format!("{}/{}", instance.namespace, instance.name);
    let mut command = agent(&["copy", "--copy", &copy.name, "--instance", &instance.uid, "--name", &name]);
    let mut bucket = copy.bucket.clone();
    if let Repository::S3(own) = &instance.repository {
        command.extend(["--from-s3".to_owned(), own.url.clone()]);
        // One option holds for both: of two regions the servers are asked.
        bucket.region = bucket.region.filter(|region| own.region.as_ref() == Some(region));
    }
    command.extend(repository::address(&bucket));
    command.extend(instance.adopt.then(|| "--adopt".to_owned()));
    command.extend(retention(instance, copy.append_only));
    command
}

/// The repository, which is only read, its key, and the way into the copy: nothing else of the instance.
fn attached(instance: &Instance, copy: &BackupCopy) -> Vec<Attached> {
    let mut attached = vec![volume::agent().read_only()];
    attached.extend(repository::is_on_a_node(instance).then(|| volume::backups(instance).read_only()));
    attached.extend(way_into(copy));
    attached.extend([
        volume::backup_secret(&instance.child("backup")),
        // restic's cache.
        volume::tmp(10 << 10),
    ]);
    attached
}

/// What a copy's server asks for, and the copy's key.
fn way_into(copy: &BackupCopy) -> impl Iterator<Item = Attached> {
    let (directory, key) = layout::COPY_PASSWORD.rsplit_once('/').unwrap_or_default();
    repository::secrets(&copy.bucket).into_iter().chain([volume::repository_secret(&copy.password, directory, &[key])])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::restore::Phase,
        operator::{
            desired::{desired, fixture},
            instance::Endpoint,
        },
    };
    use serde_json::json;

    #[test]
    fn each_copy_has_a_schedule_that_reads_the_repository_and_changes_nothing_in_it() {
        let instance = fixture::copying(&fixture::plain());
        let spec = fixture::object(&instance, Kind::CronJob, "play-copy-away")["spec"].clone();
        assert_eq!(
            (&spec["schedule"], &spec["concurrencyPolicy"], &spec["suspend"]),
            (&json!("40 6 * * *"), &json!("Forbid"), &json!(false))
        );
        let pod = &spec["jobTemplate"]["spec"]["template"]["spec"];
        let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
        assert_eq!(mounts.iter().find(|mount| mount["mountPath"] == layout::BACKUPS).unwrap()["readOnly"], true);
        assert!(pod["affinity"]["podAffinity"].is_object(), "where the volume is");
        let secrets: Vec<&str> =
            pod["volumes"].as_array().unwrap().iter().filter_map(|volume| volume["secret"]["secretName"].as_str()).collect();
        assert_eq!(secrets, ["s3-credentials", "s3-ca", "key-of-theirs", "play-backup"]);
        for phase in fixture::PHASES {
            let restoring = fixture::restoring(&instance, phase);
            assert_eq!(fixture::object(&restoring, Kind::CronJob, "play-copy-away")["spec"]["suspend"], true, "{phase:?}");
        }
    }

    #[test]
    fn a_copy_that_is_tested_by_the_clock_has_a_second_schedule() {
        let instance = fixture::copying(&fixture::plain());
        let scheduled = fixture::object(&instance, Kind::CronJob, "play-test-away")["spec"].clone();
        assert_eq!((&scheduled["schedule"], &scheduled["suspend"]), (&json!("0 12 1 * *"), &json!(false)));
        let asked = fixture::testing_a_copy(&instance, "away");
        let asked = fixture::object(&asked, Kind::Job, "play-test-fedcba987654")["spec"].clone();
        assert_eq!(scheduled["jobTemplate"]["spec"]["template"], asked["template"], "the same test");
        assert_eq!(scheduled["jobTemplate"]["spec"]["ttlSecondsAfterFinished"], verify::KEPT, "its scratch volume goes");
        let restoring = fixture::restoring(&instance, Phase::Building);
        assert_eq!(fixture::object(&restoring, Kind::CronJob, "play-test-away")["spec"]["suspend"], true);
        let mut without = instance;
        without.copies[0].verify_schedule = None;
        assert!(fixture::find(&desired(&without), Kind::CronJob, "play-test-away").is_none());
    }

    #[test]
    fn the_agent_is_told_from_where_to_where() {
        let said = |instance: &Instance| command(instance, &instance.copies[0]).join(" ");
        let instance = fixture::copying(&fixture::plain());
        let beginning = "/agent/dhis2-agent copy --copy away --instance uid-1 --name demo/play";
        assert!(said(&instance).starts_with(&format!("{beginning} --s3 s3:https://away.example.org:443/")), "{}", said(&instance));
        let mut between = fixture::copying(&fixture::in_bucket(Endpoint { host: "s3.example.org".into(), port: 443 }));
        assert!(said(&between).starts_with(&format!("{beginning} --from-s3 s3:https://s3.example.org:443/")), "{}", said(&between));
        assert!(said(&between).contains("--s3-region eu-west-1"));
        between.copies[0].bucket.region = Some("eu-west-2".into());
        assert!(!said(&between).contains("--s3-region"));
        between.copies[0].append_only = true;
        assert!(said(&between).ends_with("--append-only"));
    }

    #[test]
    fn a_test_of_a_copy_has_its_key_and_server_and_nothing_of_the_repository() {
        for plain in [fixture::plain(), fixture::in_bucket(Endpoint { host: "s3.example.org".into(), port: 443 })] {
            let instance = fixture::testing_a_copy(&fixture::copying(&plain), "away");
            let spec = fixture::object(&instance, Kind::Job, "play-test-fedcba987654")["spec"].clone();
            let pod = &spec["template"]["spec"];
            let command: Vec<String> = serde_json::from_value(pod["containers"][0]["command"].clone()).unwrap();
            let command = command.join(" ");
            let beginning = "/agent/dhis2-agent verify --instance uid-1 --name demo/play --copy away --s3 s3:https://away.example.org:443/";
            assert!(command.starts_with(beginning) && !command.contains("s3.example.org"), "{command}");
            let volumes = pod["volumes"].as_array().unwrap();
            let secrets: Vec<&str> = volumes.iter().filter_map(|volume| volume["secret"]["secretName"].as_str()).collect();
            assert_eq!(secrets, ["s3-credentials", "s3-ca", "key-of-theirs"]);
            assert!(volumes.iter().all(|volume| volume["persistentVolumeClaim"].is_null()) && pod["affinity"].is_null(), "{volumes:?}");
            let policy = fixture::object(&instance, Kind::NetworkPolicy, "play-copy-away");
            for (key, value) in policy["spec"]["podSelector"]["matchLabels"].as_object().unwrap() {
                assert_eq!(spec["template"]["metadata"]["labels"][key], *value, "its way out");
            }
        }
        let gone = fixture::testing_a_copy(&fixture::copying(&fixture::plain()), "gone");
        assert!(fixture::find(&desired(&gone), Kind::Job, "play-test-fedcba987654").is_none());
    }

    #[test]
    fn its_pods_reach_its_server_and_no_other_pods_do() {
        let instance = fixture::copying(&fixture::plain());
        let policy = fixture::object(&instance, Kind::NetworkPolicy, "play-copy-away")["spec"].clone();
        assert_eq!(policy["podSelector"]["matchLabels"][COPY], "away");
        let labels =
            &fixture::object(&instance, Kind::CronJob, "play-copy-away")["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"];
        for (key, value) in policy["podSelector"]["matchLabels"].as_object().unwrap() {
            assert_eq!(labels[key], *value);
        }
        assert_eq!(policy["egress"].as_array().unwrap().len(), 2, "names, and the server");
        let between = fixture::copying(&fixture::in_bucket(Endpoint { host: "10.0.0.5".into(), port: 9000 }));
        let policy = fixture::object(&between, Kind::NetworkPolicy, "play-copy-away");
        assert_eq!(policy["spec"]["egress"].as_array().unwrap().len(), 3);
        assert!(fixture::find(&desired(&fixture::plain()), Kind::NetworkPolicy, "play-copy-away").is_none());
        assert!(
            fixture::find(&desired(&fixture::restoring(&fixture::plain(), Phase::Building)), Kind::CronJob, "play-copy-away").is_none()
        );
    }
}
