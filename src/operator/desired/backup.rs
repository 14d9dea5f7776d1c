//! Backups: the schedule, and the first one.

use k8s_openapi::api::core::v1::{Affinity, Container, EnvVar, EnvVarSource, ObjectFieldSelector, PodAffinity, PodAffinityTerm, PodSpec};

use super::{
    Policy, Wanted,
    job::{self, Cron, Retry, job},
    metadata::{Part, pods},
    pod::{self, Placement, Step, agent, variable},
    repository, resources,
    volume::{self, Attached},
};
use crate::{api::restore::Phase, layout, operator::instance::Instance};

/// The scheduled backups, once the instance is secured.
pub fn schedule(instance: &Instance) -> Option<Wanted> {
    // One that begins before an upgrade would lock the tables that the new version changes, for as long as it lasts: one is made then anyway.
    let suspend = instance.backup.suspend || instance.stage.migrating;
    let cron = Cron { schedule: &instance.backup.schedule, suspend, late: 12, kept: 3 };
    job::scheduled(instance, Part::Backup, &cron, job::spec(instance, Part::Backup, pod(instance), Retry::NewPod))
}

/// The first backup, right after the instance is secured.
pub fn first(instance: &Instance) -> Option<Wanted> {
    let due = instance.stage.secured && instance.stage.first_backup;
    due.then(|| once(instance, "backup-first"))
}

/// The backup before an upgrade.
pub fn before_upgrade(instance: &Instance) -> Option<Wanted> {
    let preparing = instance.preparing.filter(|preparing| preparing.phase == Phase::BackingUp)?;
    Some(once(instance, &before_upgrade_name(preparing.generation)))
}

/// Another change of the spec is another upgrade, with a set of its own.
pub fn before_upgrade_name(generation: i64) -> String {
    format!("before-upgrade-{generation}")
}

/// One backup, whose set is named after this step.
pub fn once(instance: &Instance, step: &str) -> Wanted {
    job(instance, &instance.child(step), Part::Backup, pod(instance), Retry::NewPod, Policy::Step)
}

fn pod(instance: &Instance) -> PodSpec {
    let container = Container {
        env: Some(vec![variable("HOME", "/tmp"), set_id()]),
        resources: Some(resources::step(256, (instance.database.memory_mib / 2).clamp(1024, 4096))),
        ..pod::container("backup", &instance.images.postgres, "IfNotPresent", command(instance))
    };
    let main = Step { container, attached: attached(instance) };
    pod::spec(instance, pod::DHIS2, Placement::Near(Some(Box::new(beside_dhis2(instance)))), vec![pod::install(instance)], vec![main])
}

fn command(instance: &Instance) -> Vec<String> {
    let host = instance.child("database");
    let name = format!("{}/{}", instance.namespace, instance.name);
    // What runs says which tables can be made again.
    let version = instance.running.filter(|_| instance.stage.held).unwrap_or(instance.version).to_string();
    let mut command = agent(&["backup", "--host", &host, "--instance", &instance.uid, "--name", &name, "--version", &version]);
    // A pod that began before a restore has the files of before, and would meet the database of after.
    command.extend(instance.claims.system_identifier.iter().flat_map(|known| ["--system-identifier".to_owned(), known.clone()]));
    command.extend(repository::arguments(instance));
    // Of a volume the claim says whose it is; a bucket takes from everybody who has its key.
    command.extend((instance.adopt && !repository::is_on_a_node(instance)).then(|| "--adopt".to_owned()));
    command.extend(instance.backup.accepted.iter().flat_map(|set| ["--accept".to_owned(), set.clone()]));
    // What was before an upgrade stays as long as the new version tries to start, whatever is backed up meanwhile.
    let tries = instance.stage.upgrading && !instance.stage.held;
    command.extend(retention(instance, instance.backup.append_only || tries));
    command
}

/// Which sets are kept, as the agent is told.
pub fn retention(instance: &Instance, append_only: bool) -> Vec<String> {
    let kept = &instance.backup.retention;
    let kept = [("last", kept.last), ("daily", kept.daily), ("weekly", kept.weekly), ("monthly", kept.monthly), ("yearly", kept.yearly)];
    let mut arguments: Vec<String> =
        kept.into_iter().flat_map(|(period, number)| [format!("--keep-{period}"), number.to_string()]).collect();
    arguments.extend(append_only.then(|| "--append-only".to_owned()));
    arguments.extend(instance.backup.verify_suspend.then(|| "--verify-suspended".to_owned()));
    arguments
}

/// The set is named after the Job, so that all pods of one Job make the same set.
fn set_id() -> EnvVar {
    let field = ObjectFieldSelector { field_path: "metadata.labels['batch.kubernetes.io/job-name']".into(), api_version: None };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    EnvVar { name: "SET_ID".into(), value: None, value_from: Some(source) }
}

/// Everything that a set holds, the generated Secrets with it: one key recovers everything.
fn attached(instance: &Instance) -> Vec<Attached> {
    let directory = layout::RESOURCE.rsplit_once('/').map_or("/", |(directory, _)| directory);
    let mut attached = vec![volume::agent().read_only(), volume::files(instance).read_only()];
    attached.extend(repository::attached(instance));
    attached.extend(vec![
        volume::configuration(&instance.child("backup"), directory),
        volume::database_secret(instance, &volume::DATABASE_KEYS),
        volume::admin_secret(instance),
        volume::backup_secret(&instance.child("backup")),
        // restic's cache.
        volume::tmp(10 << 10),
    ]);
    attached.extend(volume::encryption_secret(instance));
    attached
}

/// On the node of DHIS2's pod, whose volume of files can be mounted on one node only.
pub fn beside_dhis2(instance: &Instance) -> Affinity {
    let required = Some(vec![node_of_dhis2(instance)]);
    let affinity = PodAffinity { required_during_scheduling_ignored_during_execution: required, ..PodAffinity::default() };
    Affinity { pod_affinity: Some(affinity), ..Affinity::default() }
}

/// The node of DHIS2's pod, as a term of affinities.
pub fn node_of_dhis2(instance: &Instance) -> PodAffinityTerm {
    PodAffinityTerm {
        label_selector: Some(pods(instance, Part::Application)),
        topology_key: "kubernetes.io/hostname".into(),
        ..PodAffinityTerm::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::kind::Kind;
    use serde_json::json;

    use crate::operator::{desired::fixture, instance::Stage};

    #[test]
    fn the_schedule_is_kept_and_runs_do_not_overlap() {
        let mut instance = fixture::plain();
        instance.backup.time_zone = Some("Africa/Kigali".into());
        instance.backup.suspend = true;
        let spec = schedule(&instance).unwrap().object["spec"].clone();
        assert_eq!((&spec["schedule"], &spec["timeZone"]), (&json!("17 2 * * *"), &json!("Africa/Kigali")));
        assert_eq!((&spec["suspend"], &spec["concurrencyPolicy"]), (&json!(true), &json!("Forbid")));
    }

    #[test]
    fn no_scheduled_backup_begins_beside_an_upgrade() {
        let mut instance = fixture::plain();
        instance.stage.migrating = true;
        assert_eq!(schedule(&instance).unwrap().object["spec"]["suspend"], true);
    }

    #[test]
    fn nothing_is_backed_up_before_the_instance_is_secured() {
        let mut instance = fixture::plain();
        instance.stage = Stage { secured: false, first_backup: true, ..instance.stage };
        assert!(schedule(&instance).is_none() && first(&instance).is_none());
    }

    #[test]
    fn the_first_backup_is_like_all_others() {
        let mut instance = fixture::plain();
        assert!(first(&instance).is_none());
        instance.stage.first_backup = true;
        let first = first(&instance).unwrap().object["spec"].clone();
        let scheduled = schedule(&instance).unwrap().object["spec"]["jobTemplate"]["spec"].clone();
        assert_eq!(first, scheduled);
        assert_eq!(first["activeDeadlineSeconds"], 48 * 3600, "one that hangs does not hold the lock for ever");
    }

    #[test]
    fn retention_is_said_to_the_agent() {
        let mut instance = fixture::plain();
        let kept = "--keep-last 3 --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --keep-yearly 0";
        let said = command(&instance).join(" ");
        assert!(said.ends_with(kept), "{said}");
        assert!(said.contains(" --system-identifier 7 "), "whose files are attached: {said}");
        instance.backup.verify_suspend = true;
        let said = command(&instance).join(" ");
        assert!(said.ends_with(&format!("{kept} --verify-suspended")), "{said}");
    }

    #[test]
    fn it_runs_beside_dhis2_and_changes_no_file() {
        let pod = json!(pod(&fixture::plain()));
        let term = &pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
        assert_eq!(term["topologyKey"], "kubernetes.io/hostname");
        let labels = fixture::object(&fixture::plain(), Kind::StatefulSet, "play")["spec"]["template"]["metadata"]["labels"].clone();
        for (key, value) in term["labelSelector"]["matchLabels"].as_object().unwrap() {
            assert_eq!(labels[key], *value);
        }
        let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
        assert_eq!(mounts.iter().find(|mount| mount["name"] == "files").unwrap()["readOnly"], true);
    }

    #[test]
    fn before_an_upgrade_what_runs_is_backed_up_and_left_as_it_is() {
        let instance = fixture::upgrading(&fixture::plain(), Phase::BackingUp);
        let job = before_upgrade(&instance).unwrap();
        assert_eq!(job.name, "play-before-upgrade-7");
        let said = command(&instance).join(" ");
        assert!(said.contains("--version 2.41.8 "), "the tables of the old version: {said}");
        let there = |kind, name| fixture::find(&crate::operator::desired::desired(&instance), kind, name).is_some();
        assert!(!there(Kind::StatefulSet, "play") && there(Kind::StatefulSet, "play-database"));
        assert!(before_upgrade(&fixture::plain()).is_none());
    }

    #[test]
    fn while_a_new_version_tries_to_start_no_set_goes() {
        let says = |stage: Stage| command(&Instance { stage, ..fixture::plain() }).contains(&"--append-only".to_owned());
        let upgrading = Stage { upgrading: true, ..fixture::SECURED };
        assert!(says(upgrading));
        assert!(!says(Stage { held: true, ..upgrading }), "the backup before it may make room for itself");
        assert!(!says(fixture::SECURED));
    }
}
