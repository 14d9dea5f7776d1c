//! The pods and the agent agree: it understands the commands that it is given and finds what it reads and writes.

use clap::Parser;
use serde_json::Value;

use super::fixture;
use crate::{
    agent::{
        args::{Address, Arguments, Command, Database, ReadFor},
        watch::Subject,
    },
    layout,
    operator::{
        instance::{EncryptionKey, Endpoint, Instance, Source, Stage},
        kind::Kind,
    },
};

/// The pods' containers that run the agent.
fn agents(instance: &Instance) -> Vec<Value> {
    let templates = fixture::at_all_stages(instance).into_iter().filter_map(|wanted| match wanted.kind {
        Kind::Job | Kind::StatefulSet => wanted.object.pointer("/spec/template/spec").cloned(),
        Kind::CronJob => wanted.object.pointer("/spec/jobTemplate/spec/template/spec").cloned(),
        _ => None,
    });
    let containers =
        templates.flat_map(|pod| ["initContainers", "containers"].map(|list| pod[list].as_array().cloned().unwrap_or_default()));
    containers.flatten().filter(|container| container.get("command").is_some()).collect()
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn verb(command: &[String]) -> Command {
    let name = command.iter().take(1).cloned();
    // The set's name comes from the environment.
    let set = command.contains(&"backup".to_owned()).then(|| ["--set".to_owned(), "set-1".to_owned()]);
    Arguments::try_parse_from(name.chain(command.iter().skip(1).cloned()).chain(set.into_iter().flatten()))
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
        .command
}

/// What a verb reads and writes; what it can do without is not among it.
fn uses(verb: &Command) -> Vec<&'static str> {
    let passwords = [layout::DATABASE_PASSWORD, layout::DATABASE_BACKUP_PASSWORD];
    match verb {
        Command::Install { .. } => vec![layout::AGENT, layout::RESTIC],
        Command::Database(Database::Build(_)) => {
            [layout::MARK, layout::PGDATA_BUILDING, layout::ENCRYPTION_PASSWORD, "/tmp/x", "/etc/passwd"]
                .into_iter()
                .chain(passwords)
                .collect()
        }
        Command::Database(Database::Run(_)) => {
            [layout::PGDATA, layout::POSTGRESQL_CONF, layout::PG_HBA_CONF, layout::SOCKETS, "/dev/shm", "/tmp/x", "/etc/passwd"]
                .into_iter()
                .chain(passwords)
                .collect()
        }
        Command::Database(Database::Check) => vec![layout::SOCKETS],
        Command::Check(check) => [layout::DATABASE_USERNAME, layout::DATABASE_PASSWORD, layout::ENCRYPTION_PASSWORD]
            .into_iter()
            .chain((!check.only).then_some(layout::FILES))
            .collect(),
        Command::Startup(_) => vec![layout::AGENT],
        Command::Watch(watched) => match watched.subject {
            Subject::Database => vec![layout::DATA, layout::SOCKETS, layout::WATCH_TOLD],
            Subject::Files => vec![layout::FILES, layout::WATCH_TOLD],
        },
        Command::Bootstrap(_) => vec![layout::ADMIN_USERNAME, layout::ADMIN_PASSWORD],
        Command::Verify(verify) => [layout::RESTIC, layout::SCRATCH_PGDATA, layout::SCRATCH_FILES, "/tmp/x"]
            .into_iter()
            .chain([if verify.copy.is_some() { layout::COPY_PASSWORD } else { layout::BACKUP_PASSWORD }])
            .chain(repository(&verify.repository))
            .collect(),
        Command::Prove(prove) => [layout::RESTIC, layout::BACKUP_PASSWORD, layout::MARK, layout::DHIS2_LOG, "/tmp/x"]
            .into_iter()
            .chain(repository(&prove.repository))
            .collect(),
        Command::Restore(restore) => [layout::RESTIC, layout::BACKUP_PASSWORD, layout::ENCRYPTION_PASSWORD]
            .into_iter()
            .chain(repository(&restore.repository))
            .chain((!restore.rehearsal).then_some(layout::FILES))
            .chain([layout::MARK, layout::PGDATA_BUILDING, layout::DATABASE_USERNAME, "/tmp/x", "/etc/passwd"])
            .chain(passwords)
            .collect(),
        Command::Import(_) => [layout::ENCRYPTION_PASSWORD, layout::SOURCE, layout::MARK, layout::PGDATA_BUILDING, layout::FILES]
            .into_iter()
            .chain([layout::DATABASE_USERNAME, "/tmp/x", "/etc/passwd"])
            .chain(passwords)
            .collect(),
        Command::Rehearse(_) => vec![layout::DHIS2_LOG],
        Command::Analytics(_) => vec![layout::DATABASE_USERNAME, layout::DATABASE_PASSWORD],
        Command::Copy(copy) => [layout::RESTIC, layout::BACKUP_PASSWORD, layout::COPY_PASSWORD, "/tmp/x"]
            .into_iter()
            .chain(repository(&copy.repository))
            .chain(copy.from_s3.is_none().then_some(layout::REPOSITORY))
            .collect(),
        Command::Remove(remove) => {
            [layout::RESTIC, layout::BACKUP_PASSWORD, "/tmp/x"].into_iter().chain(repository(&remove.repository)).collect()
        }
        // Run by people.
        Command::Recover(_) | Command::RecoverySheet => Vec::new(),
        Command::Backup(backup) => [
            layout::RESTIC,
            layout::FILES,
            layout::RESOURCE,
            layout::DATABASE_BACKUP_PASSWORD,
            layout::ENCRYPTION_PASSWORD,
            layout::ADMIN_PASSWORD,
            layout::BACKUP_PASSWORD,
            "/tmp/x",
        ]
        .into_iter()
        .chain(repository(&backup.repository))
        .collect(),
    }
}

fn repository(address: &Address) -> Vec<&'static str> {
    match &address.s3 {
        None => vec![layout::REPOSITORY],
        Some(_) => [layout::S3_CREDENTIALS].into_iter().chain(address.s3_ca.then_some(layout::S3_CA)).collect(),
    }
}

/// Does a container have this path on one of its volumes?
fn mounts(container: &Value, path: &str) -> bool {
    container["volumeMounts"].as_array().into_iter().flatten().any(|mount| {
        let at = mount["mountPath"].as_str().unwrap();
        path == at || path.starts_with(&format!("{at}/"))
    })
}

#[test]
fn the_agent_understands_its_commands_and_finds_what_it_uses() {
    let adopting = Instance { adopt: true, ..fixture::plain() };
    let bringing = Instance { source: Some(Source::Dump(fixture::dump())), ..fixture::plain() };
    let beginning = Instance { source: Some(Source::Backup(Box::new(fixture::origin()))), ..fixture::plain() };
    let mut verbs = 0;
    let in_bucket = fixture::in_bucket(Endpoint { host: "s3.example.org".into(), port: 443 });
    let adopting_bucket = Instance { adopt: true, ..in_bucket.clone() };
    let copying = [&fixture::plain(), &adopting_bucket].map(fixture::copying);
    let starting = fixture::testing_with_dhis2(&fixture::plain());
    let instances = [&fixture::plain(), &adopting, &in_bucket, &adopting_bucket, &bringing, &beginning, &starting];
    for container in instances.into_iter().chain(&copying).flat_map(agents) {
        let verb = verb(&strings(&container["command"]));
        for path in uses(&verb) {
            assert!(mounts(&container, path), "{}: no {path}", container["name"]);
        }
        verbs += 1;
    }
    // install, build, run twice, check twice, watch twice, bootstrap, backup five times, verify three times, restore twice, rehearse, analytics, remove; each of nine
    // sets at its stages. Two import and restore instead of building, two have a copy: install and copy, twice install and verify. In one restore tests restore, run the
    // database, and prove.
    let restoring =
        agents(&fixture::restoring_from_a_copy(&fixture::plain())).into_iter().filter(|container| container["name"] == "restore");
    let restores: Vec<Command> = restoring.map(|container| verb(&strings(&container["command"]))).collect();
    assert!(matches!(&restores[..], [Command::Restore(one), ..] if one.repository.read_only == Some(ReadFor::Copy)), "{restores:?}");
    assert_eq!(verbs, 9 * 36 + 2 * 6 + 2 * 2);
}

#[test]
fn the_probes_are_commands_of_the_agent() {
    let probed = |set: &str, probe: &str| {
        let set = fixture::object(&fixture::plain(), Kind::StatefulSet, set);
        let container = &set["spec"]["template"]["spec"]["containers"][0];
        let verb = verb(&strings(&container[probe]["exec"]["command"]));
        assert!(uses(&verb).iter().all(|path| mounts(container, path)));
        verb
    };
    assert!(matches!(probed("play-database", "startupProbe"), Command::Database(Database::Check)));
    // As PID 1 Tomcat is what the probe ends.
    assert!(matches!(probed("play", "startupProbe"), Command::Startup(startup) if startup.process == 1));
}

#[test]
fn dhis2s_own_key_is_mounted_nowhere() {
    for container in agents(&Instance { encryption: EncryptionKey::Default, ..fixture::plain() }) {
        assert!(!mounts(&container, layout::ENCRYPTION_PASSWORD));
    }
}

#[test]
fn what_the_agent_knows_of_the_instance_is_the_instances() {
    let building = Instance { stage: Stage { prepared: true, ..Stage::default() }, ..fixture::plain() };
    let container = agents(&building).into_iter().find(|container| container["name"] == "build").unwrap();
    let Command::Database(Database::Build(build)) = verb(&strings(&container["command"])) else { panic!("not a build") };
    assert_eq!((build.instance.as_str(), build.name.as_str(), build.postgresql), ("uid-1", "demo/play", 17));
}
