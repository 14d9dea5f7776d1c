//! What goes on in the database while it is dumped: DHIS2 works, replaces its derived tables, and people have jobs of their own.

use std::time::Duration;

use crate::pod::sets::{SCHEMA, arguments, backup, filled, manifest};
use crate::pod::{Pod, await_that};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The server's process for `pg_dump`, stopped while it reads a large table: as a dump that takes hours.
fn stopped_in_the_middle(pod: &Pod) -> Pid {
    let mut superuser = pod.superuser();
    let mut found = None;
    let dumping = "SELECT pid FROM pg_stat_activity WHERE application_name = 'pg_dump' AND query LIKE 'COPY public.datavalue %'";
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    while found.is_none() {
        assert!(std::time::Instant::now() < deadline, "nothing is dumped");
        found = superuser.query_opt(dumping, &[]).unwrap().map(|row| Pid::from_raw(row.get(0)));
        std::thread::sleep(Duration::from_millis(2));
    }
    let pid = found.unwrap();
    kill(pid, Signal::SIGSTOP).unwrap();
    pid
}

/// DHIS2 has its analytics tables made anew each night, and puts them in the place of the old ones; whoever asks the old ones then waits behind it.
#[test]
fn analytics_tables_are_replaced_and_others_cleared_while_the_database_is_dumped() {
    let pod = filled();
    let _serving = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    let more = "CREATE TABLE audit AS SELECT generate_series(1, 100) AS id; CREATE TABLE analytics_temp (id int);
         CREATE VIEW _view_of_analytics AS SELECT count(*) AS number FROM analytics;
         CREATE VIEW \"_view_on b*\" AS SELECT number FROM _view_of_analytics;
         INSERT INTO datavalue SELECT i, repeat(md5(i::text), 4) FROM generate_series(1, 1000000) i";
    pod.owner().batch_execute(more).unwrap();

    let running = pod.start(&arguments(&pod, "set-1", "3"));
    let dumping = stopped_in_the_middle(&pod);
    let swapped = pod.owner().batch_execute(
        "SET lock_timeout = '2s'; DROP VIEW \"_view_on b*\"; DROP TABLE analytics CASCADE; ALTER TABLE analytics_temp RENAME TO analytics",
    );
    let mut owner = pod.owner();
    let clearing = std::thread::spawn(move || owner.batch_execute("TRUNCATE audit"));
    let waiting = "SELECT FROM pg_stat_activity WHERE query = 'TRUNCATE audit' AND wait_event_type = 'Lock'";
    await_that("it waits for the dump", || pod.superuser().query_opt(waiting, &[]).unwrap().is_some());
    kill(dumping, Signal::SIGCONT).unwrap();
    running.wait().done();
    swapped.expect("the dump holds no derived table");
    clearing.join().unwrap().unwrap();

    let manifest = manifest(&pod, "set-1");
    let left_out = ["public.analytics", "public.analytics_*", r#""public"."_view_of_analytics""#, r#""public"."_view_on b*""#];
    assert_eq!(manifest["dump"]["excludedTables"], serde_json::json!(left_out));
    assert_eq!(manifest["contents"]["rows"]["public.audit"], 100, "as the dump has it");
    pod.agent(&["verify", "--instance", "uid-1", "--name", "demo/play"]).done();
}

/// A pod that began before a restore has the files of before.
#[test]
fn another_database_than_that_of_the_files_is_not_dumped_beside_them() {
    let pod = filled();
    let _serving = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    let system: String = pod.owner().query_one("SELECT system_identifier::text FROM pg_control_system()", &[]).unwrap().get(0);
    let of = |system: &str| pod.agent(&[&arguments(&pod, "set-1", "3")[..], &["--system-identifier", system]].concat());
    let failed = of("7000000000000000007").failed();
    assert!(failed.message.contains("was replaced by a restore"), "{}", failed.message);
    of(&system).done();
}

/// A backup whose Job tries again after hours must not pass for one of now, nor can one that nobody could restore.
#[test]
fn a_set_of_before_is_not_given_for_one_of_now() {
    let pod = filled();
    let _serving = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    let made = |set: &str| crate::pod::sets::backed_up(backup(&pod, set, "9").done()).set;
    assert_eq!((made("set-1"), made("set-1")), ("set-1".to_owned(), "set-1".to_owned()));
    crate::pod::sets::forge(&pod, &["--time", "2026-01-01 00:00:00", "--tag", "instance=uid-1"], |_| {});
    assert_eq!((made("forged"), made("forged")), ("forged-2".to_owned(), "forged-2".to_owned()));
}
