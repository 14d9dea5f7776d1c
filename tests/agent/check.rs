//! What keeps DHIS2 from starting, with a real PostgreSQL.

use std::fs;

use crate::pod::{Ended, Pod};
use dhis2_operator::layout;
use dhis2_operator::report::{Checked, Data, Outcome, Refusal};

fn check(pod: &Pod, version: &str) -> Ended {
    pod.agent(&["check", "--version", version, "--host", &pod.address, "--instance", "uid-1"])
}

fn checked(ended: Ended) -> Checked {
    match ended.done().data {
        Some(Data::Check(checked)) => checked,
        other => panic!("{other:?}"),
    }
}

#[test]
fn dhis2_starts_only_on_what_is_right() {
    let pod = Pod::new();
    pod.build(&[]).done();
    let _serving = pod.serve();

    let first = checked(check(&pod, "2.42.4.1"));
    assert_eq!((first.last_started, first.schema), (None, None));
    assert_eq!(checked(check(&pod, "2.42.4.1")).last_started, Some("2.42.4.1".parse().unwrap()));
    assert_eq!(check(&pod, "2.42.4.2").refused(), Refusal::ImageVersionMismatch);

    let foreign = pod.agent(&["check", "--version", "2.42.4.1", "--host", &pod.address, "--instance", "uid-2"]);
    assert_eq!(foreign.refused(), Refusal::VolumeForeign);

    fs::remove_file(pod.path(layout::ENCRYPTION_PASSWORD)).unwrap();
    assert_eq!(check(&pod, "2.42.4.1").refused(), Refusal::EncryptionKeyMismatch);
    pod.write(layout::ENCRYPTION_PASSWORD, crate::pod::ENCRYPTION);

    pod.image("2.42.4");
    assert_eq!(checked(check(&pod, "2.42.4")).last_started, Some("2.42.4.1".parse().unwrap()), "a hotfix is taken back");
    pod.image("2.42.3");
    assert_eq!(check(&pod, "2.42.3").refused(), Refusal::DowngradeRefused);
    pod.image("2.42.5");
    let history =
        "CREATE TABLE flyway_schema_history (version text); INSERT INTO flyway_schema_history VALUES ('2.42.9'), ('2.42.47'), (NULL)";
    pod.owner().batch_execute(history).unwrap();
    assert_eq!(checked(check(&pod, "2.42.5")).schema.as_deref(), Some("2.42.47"));
    // An imported database that only its schema tells the age of.
    pod.owner().batch_execute("INSERT INTO flyway_schema_history VALUES ('2.43.1')").unwrap();
    assert_eq!(check(&pod, "2.42.5").refused(), Refusal::DowngradeRefused);
    pod.owner().batch_execute("DELETE FROM flyway_schema_history WHERE version = '2.43.1'").unwrap();

    pod.owner().batch_execute("DROP EXTENSION btree_gin").expect_err("the owner does not own extensions");
    pod.superuser().batch_execute("DROP EXTENSION btree_gin").unwrap();
    assert_eq!(check(&pod, "2.42.5").refused(), Refusal::ExtensionMissing);
    pod.superuser().batch_execute("CREATE EXTENSION btree_gin").unwrap();

    fs::remove_dir_all(pod.path(layout::FILES)).unwrap();
    pod.write(layout::FILES, "not a directory");
    assert_eq!(check(&pod, "2.42.5").refused(), Refusal::FilesNotWritable);
    fs::remove_file(pod.path(layout::FILES)).unwrap();
    pod.write("/opt/dhis2/files/one", "");

    // A server that has just started sets the passwords of the Secret, once: the first change may be undone by that.
    let mut ended = None;
    crate::pod::await_that("another password than the database's is refused", || {
        pod.owner().batch_execute("ALTER ROLE dhis PASSWORD 'Another-Secret-1'").unwrap();
        ended.insert(check(&pod, "2.42.5")).code != Some(0)
    });
    assert_eq!(ended.unwrap().refused(), Refusal::DatabasePasswordRefused);
}

#[test]
fn an_absent_database_is_waited_for_and_told() {
    let pod = Pod::new();
    let ended = pod.agent(&["check", "--version", "2.42.4.1", "--host", &pod.address, "--instance", "uid-1", "--patience", "2"]);
    let report = ended.failed();
    assert_eq!((report.outcome, report.reason), (Outcome::Failed, Some(Refusal::DatabaseUnreachable)));
}

#[test]
fn an_upgrade_needs_room_for_the_table_that_its_migrations_copy() {
    let pod = Pod::new();
    pod.build(&[]).done();
    let _serving = pod.serve();
    let mut owner = pod.owner();
    // Another one counts for nothing but what it takes.
    owner.batch_execute("CREATE TABLE event (t text); CREATE TABLE datavalue (t text)").unwrap();
    owner.batch_execute("INSERT INTO event SELECT repeat(i::text, 20) FROM generate_series(1, 200000) i").unwrap();
    owner.batch_execute("INSERT INTO datavalue SELECT repeat(i::text, 40) FROM generate_series(1, 200000) i").unwrap();
    let sizes = "SELECT pg_database_size('dhis2'), pg_total_relation_size('event'), pg_size_bytes(current_setting('max_wal_size'))";
    let row = owner.query_one(sizes, &[]).unwrap();
    let [used, event, log]: [i64; 3] = [0, 1, 2].map(|at| row.get(at));
    assert!(event > 20 << 20, "{event}");
    let look = |version: &str, volume: i64| {
        pod.image(version);
        pod.agent(&[
            "check",
            "--only",
            "--version",
            version,
            "--host",
            &pod.address,
            "--instance",
            "uid-1",
            "--volume-bytes",
            &volume.to_string(),
        ])
    };
    let spare = 2 << 20;
    checked(look("2.43.1", used + event + log + spare));
    let short = look("2.43.1", used + event + log - spare);
    let said = short.report.clone().unwrap().message;
    assert_eq!(short.refused(), Refusal::VolumeTooSmall);
    assert!(said.contains("copies the table event, which takes") && said.contains("raise spec.database.bundled.storage.size to"), "{said}");
    checked(look("2.42.5", used + spare));
    // What that version has left is not migrated again by the next patch of its line.
    let history = "CREATE TABLE flyway_schema_history (version text); INSERT INTO flyway_schema_history VALUES ('2.43.50')";
    owner.batch_execute(history).unwrap();
    checked(look("2.43.2", used + spare));
}
