//! A restore: the step that builds new volumes from a set, and the backup of the state that they replace.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::{
    Policy, Wanted, backup, configuration,
    job::{self, Retry},
    metadata::Part,
    pod::{self, Placement, Step, agent, variable},
    repository, resources,
    volume::{self, Attached},
};
use crate::{
    api::restore::Phase,
    layout,
    operator::instance::{Instance, Origin, Restoring, SetSource},
};

/// The step that builds the volumes, while DHIS2 serves from others.
pub fn build(instance: &Instance) -> Option<Wanted> {
    let restoring = instance.restoring.as_ref().filter(|restoring| restoring.phase == Phase::Building)?;
    let name = instance.child(&build_name(&restoring.uid));
    let pod = again(instance, restoring, restoring.from.as_ref()?);
    Some(job::job(instance, &name, Part::Restore, pod, Retry::NewPod, Policy::Step))
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

/// The pod that fills the volumes of a new instance from another one's set.
pub fn first(instance: &Instance, origin: &Origin) -> PodSpec {
    of_another(instance, origin, [volume::database(instance), volume::files(instance)])
}

fn of_another(instance: &Instance, origin: &Origin, volumes: [Attached; 2]) -> PodSpec {
    let which = Which { set: origin.set.as_deref(), before: origin.before.as_deref(), leaves_out: origin.leaves_out };
    let command = command(instance, repository::arguments_to_read(origin), &which);
    pod(instance, command, repository::attached_to_read(origin).into_iter().chain(volumes))
}

fn again(instance: &Instance, restoring: &Restoring, from: &SetSource) -> PodSpec {
    let volumes = volume::restored(restoring);
    if let SetSource::Other(origin) = from {
        return of_another(instance, origin, volumes);
    }
    let which = Which { set: restoring.set.as_deref(), before: restoring.before.as_deref(), leaves_out: restoring.leaves_out };
    let command = command(instance, repository::arguments(instance), &which);
    let key = volume::backup_secret(&instance.child("backup"));
    pod(instance, command, repository::attached(instance).into_iter().chain([key]).chain(volumes))
}

/// The step that restores this set, or the newest, to see on these volumes whether DHIS2 starts on it.
pub fn copied(instance: &Instance, purpose: &str, set: Option<&str>, volumes: Vec<Attached>) -> Step {
    let mut command = command(instance, repository::arguments(instance), &Which { set, ..Which::default() });
    command.push(purpose.to_owned());
    let key = volume::backup_secret(&instance.child("backup"));
    step(instance, command, repository::attached(instance).into_iter().chain([key]).chain(volumes))
}

fn step(instance: &Instance, command: Vec<String>, mounted: impl Iterator<Item = Attached>) -> Step {
    let container = Container {
        env: Some(vec![variable("HOME", "/tmp")]),
        resources: Some(resources::step(512, (instance.database.memory_mib / 2).clamp(1024, 4096))),
        ..pod::container("restore", &instance.images.postgres, "IfNotPresent", command)
    };
    Step { container, attached: attached(instance, mounted) }
}

fn pod(instance: &Instance, command: Vec<String>, mounted: impl Iterator<Item = Attached>) -> PodSpec {
    let main = step(instance, command, mounted);
    // Not beside DHIS2, which may have no pod: its volumes may be what was lost. Where the volumes can be mounted the scheduler knows.
    pod::spec(instance, pod::RESTORE, Placement::Near(None), vec![pod::install(instance)], vec![main])
}

/// Which set is restored; the newest unless something is said.
#[derive(Default)]
struct Which<'a> {
    set: Option<&'a str>,
    before: Option<&'a str>,
    /// Files that could not be read when it was made.
    leaves_out: bool,
}

fn command(instance: &Instance, repository: Vec<String>, which: &Which<'_>) -> Vec<String> {
    let (name, major) = (format!("{}/{}", instance.namespace, instance.name), instance.database.major.to_string());
    let version = instance.version.to_string();
    let mut command = agent(&["restore", "--instance", &instance.uid, "--name", &name, "--postgresql", &major, "--version", &version]);
    command.extend(repository);
    let asked = [("--set", which.set), ("--before", which.before)];
    command.extend(asked.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value?.to_owned()])).flatten());
    command.extend(which.leaves_out.then(|| "--leave-out-unreadable-files".to_owned()));
    command
}

fn attached(instance: &Instance, mounted: impl Iterator<Item = Attached>) -> Vec<Attached> {
    let configuration = volume::configuration(&instance.child("database"), layout::POSTGRES_CONFIG);
    let mut attached = vec![volume::agent().read_only()];
    attached.extend(mounted);
    attached.extend([
        configuration.file(configuration::PASSWD, "/etc/passwd"),
        volume::database_secret(instance, &volume::DATABASE_KEYS),
        // restic's cache, and the private server's shared memory segments.
        volume::tmp(10 << 10),
    ]);
    attached.extend(volume::encryption_secret(instance));
    attached
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{
        desired::{desired, fixture},
        kind::Kind,
    };

    #[test]
    fn the_agent_is_told_which_set_and_on_what_it_is_to_start() {
        let mut instance = fixture::restoring(&fixture::plain(), Phase::Building);
        let said = |instance: &Instance| {
            let job = build(instance).unwrap().object;
            serde_json::from_value::<Vec<String>>(job["spec"]["template"]["spec"]["containers"][0]["command"].clone()).unwrap().join(" ")
        };
        let all = "/agent/dhis2-agent restore --instance uid-1 --name demo/play --postgresql 17 --version 2.42.4.1";
        assert_eq!(said(&instance), format!("{all} --set kept"));
        let restoring = instance.restoring.as_mut().unwrap();
        (restoring.set, restoring.before) = (None, Some("2026-11-29T12:00:00Z".into()));
        assert_eq!(said(&instance), format!("{all} --before 2026-11-29T12:00:00Z"));
        instance.restoring.as_mut().unwrap().leaves_out = true;
        assert!(said(&instance).ends_with(" --leave-out-unreadable-files"));
    }

    #[test]
    fn it_fills_the_new_volumes_and_sees_no_other() {
        let job = build(&fixture::restoring(&fixture::plain(), Phase::Building)).unwrap().object;
        let pod = &job["spec"]["template"]["spec"];
        let claims: Vec<&str> =
            pod["volumes"].as_array().unwrap().iter().filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str()).collect();
        assert_eq!(claims, ["play-backups", "play-database-2", "play-files-2"]);
        let security = &pod["securityContext"];
        assert_eq!((&security["runAsUser"], &security["fsGroup"]), (&serde_json::json!(999), &serde_json::json!(65534)));
        assert_eq!(security["fsGroupChangePolicy"], "Always", "what restic wrote is its user's only");
    }

    #[test]
    fn a_set_of_another_repository_is_read_with_its_key_and_over_its_way_only() {
        let instance = fixture::restoring_from_a_copy(&fixture::plain());
        let pod = build(&instance).unwrap().object["spec"]["template"]["spec"].clone();
        let command = serde_json::from_value::<Vec<String>>(pod["containers"][0]["command"].clone()).unwrap().join(" ");
        assert!(command.contains(" --read-only=copy --s3 s3:https://s3.example.org:443/sets/demo/play "), "{command}");
        let named = |kind: &str, name: &str| {
            let volumes = pod["volumes"].as_array().unwrap().iter();
            volumes.filter_map(|volume| Some(volume[kind][name].as_str()?.to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(named("persistentVolumeClaim", "claimName"), ["play-database-2", "play-files-2"], "its own repository is not seen");
        let secrets = named("secret", "secretName");
        assert!(secrets.contains(&"old-backup".to_owned()) && !secrets.contains(&"play-backup".to_owned()), "{secrets:?}");
        let egress = |instance: &Instance| fixture::find(&desired(instance), Kind::NetworkPolicy, "play-restore");
        let reached = egress(&instance).unwrap()["spec"]["egress"].to_string();
        assert!(reached.contains("443"), "{reached}");
        assert!(egress(&fixture::restoring(&fixture::plain(), Phase::Building)).is_none(), "a volume is mounted");
    }

    #[test]
    fn nothing_is_built_from_a_repository_that_is_not_known() {
        let mut instance = fixture::restoring(&fixture::plain(), Phase::Building);
        assert!(build(&instance).is_some());
        instance.restoring.as_mut().unwrap().from = None;
        assert!(build(&instance).is_none());
    }

    #[test]
    fn nothing_runs_while_the_volumes_below_are_changed_and_no_backup_begins() {
        for phase in fixture::PHASES {
            let instance = fixture::restoring(&fixture::plain(), phase);
            let replicas = i32::from(phase != Phase::Stopping);
            for set in ["play", "play-database"] {
                assert_eq!(fixture::object(&instance, Kind::StatefulSet, set)["spec"]["replicas"], replicas, "{set} while {phase:?}");
            }
            for schedule in ["play-backup", "play-verify"] {
                assert_eq!(fixture::object(&instance, Kind::CronJob, schedule)["spec"]["suspend"], true, "{schedule} while {phase:?}");
            }
        }
    }

    #[test]
    fn names_of_steps_are_short_enough_for_labels() {
        let longest = "a".repeat(40);
        for step in [build_name, safety_name] {
            assert!(format!("{longest}-{}", step("01234567-89ab-cdef-0123-456789abcdef")).len() <= 63);
        }
    }
}
