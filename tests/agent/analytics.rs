//! Analytics tables are asked for in the database, with a real PostgreSQL; what DHIS2 does with its jobs is played.

use std::time::Duration;

use dhis2_operator::report::{Data, Generation};

use crate::pod::{Ended, Pod, await_that};

/// DHIS2's own, from 2.41 on, as far as a job is concerned (dhis2-core, its migrations).
const SCHEMA: &str = "
    CREATE TABLE systemsetting (name varchar(255) PRIMARY KEY, value text);
    CREATE TABLE jobconfiguration (jobconfigurationid bigint PRIMARY KEY, uid varchar(11) UNIQUE, code varchar(50), created timestamp NOT NULL,
        lastupdated timestamp NOT NULL, name varchar(230) NOT NULL UNIQUE, cronexpression varchar(255), delay integer, lastexecuted timestamp,
        enabled boolean NOT NULL, leaderonlyjob boolean DEFAULT false NOT NULL, jsonbjobparameters jsonb, jobtype varchar(120) NOT NULL,
        jobstatus varchar(120) NOT NULL, lastexecutedstatus varchar(120) NOT NULL, schedulingtype varchar(12) DEFAULT 'ONCE_ASAP' NOT NULL,
        lastalive timestamp, lastfinished timestamp, cancel boolean DEFAULT false NOT NULL, progress jsonb, queueposition integer);
    CREATE TABLE analytics_rs_orgunitstructure (uid text);";
const GENERATED_ONCE: &str = "INSERT INTO systemsetting VALUES ('keyLastSuccessfulAnalyticsTablesUpdate', '2026-11-01T01:00:00')";

fn serving(pod: &Pod) -> crate::pod::Running<'_> {
    pod.build(&[]).done();
    let serving = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    serving
}

fn arguments<'a>(pod: &'a Pod, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["analytics", "--host", &pod.address, "--instance", "uid-1", "--run", "1"];
    arguments.extend(more);
    arguments
}

fn ended(ended: Ended) -> (Generation, u64, String) {
    let report = ended.done();
    match report.data {
        Some(Data::Analytics(generated)) => (generated.outcome, generated.seconds, report.message),
        other => panic!("{other:?}"),
    }
}

/// As DHIS2 does it: `claimed` by its look for what is due, then `ended`.
fn plays(pod: &Pod, update: &str) {
    let due = "SELECT count(*) FROM jobconfiguration WHERE enabled AND jobstatus = 'SCHEDULED' AND schedulingtype = 'ONCE_ASAP'
        AND queueposition IS NULL AND jobtype = 'ANALYTICS_TABLE' AND cronexpression IS NULL AND uid ~ '^a[0-9a-f]{10}$'
        AND jsonbjobparameters ->> 0 = 'org.hisp.dhis.scheduling.parameters.AnalyticsJobParameters'";
    let mut owner = pod.owner();
    await_that("a run is due", || owner.query_one(due, &[]).unwrap().get::<_, i64>(0) == 1);
    owner.batch_execute("UPDATE jobconfiguration SET jobstatus = 'RUNNING', lastexecuted = now(), lastalive = now()").unwrap();
    owner.batch_execute(&format!("UPDATE jobconfiguration SET {update}")).unwrap();
}

const ENDS: &str =
    "jobstatus = 'DISABLED', enabled = false, lastalive = NULL, lastfinished = lastexecuted + interval '70 seconds', lastexecutedstatus";

#[test]
fn nothing_is_generated_that_never_was_or_that_is_there() {
    let pod = Pod::new();
    let _serving = serving(&pod);
    let never = ended(pod.agent(&arguments(&pod, &["--all"])));
    assert!(never.0 == Generation::NotNeeded && never.2.contains("never"), "{never:?}");
    // As later releases note it.
    pod.owner().batch_execute("INSERT INTO systemsetting VALUES ('keyLastSuccessfulAnalyticsTablesUpdate_EVENT', 'x')").unwrap();
    pod.owner().batch_execute("INSERT INTO analytics_rs_orgunitstructure VALUES ('unit')").unwrap();
    let there = ended(pod.agent(&arguments(&pod, &[])));
    assert!(there.0 == Generation::NotNeeded && there.2.contains("are there"), "{there:?}");
    let jobs: i64 = pod.owner().query_one("SELECT count(*) FROM jobconfiguration", &[]).unwrap().get(0);
    assert_eq!(jobs, 0);
    // Before 2.41 nobody would find it.
    pod.owner()
        .batch_execute("ALTER TABLE jobconfiguration DROP COLUMN schedulingtype; DELETE FROM analytics_rs_orgunitstructure")
        .unwrap();
    let old = ended(pod.agent(&arguments(&pod, &[])));
    assert!(old.0 == Generation::ByHand && old.2.contains("Data Administration"), "{old:?}");
}

#[test]
fn a_run_is_followed_to_its_end_also_by_who_comes_after_a_kill() {
    let pod = Pod::new();
    let _serving = serving(&pod);
    pod.owner().batch_execute(GENERATED_ONCE).unwrap();
    let first = pod.start(&arguments(&pod, &[]));
    plays(&pod, "progress = '{\"sequence\": [{\"stages\": [{\"description\": \"one\", \"status\": \"RUNNING\"}]}]}'");
    first.kill();
    // Half of it is there by now: that is no reason to call it done.
    pod.owner().batch_execute("INSERT INTO analytics_rs_orgunitstructure VALUES ('unit')").unwrap();
    let second = pod.start(&arguments(&pod, &[]));
    std::thread::sleep(Duration::from_secs(2));
    pod.owner().batch_execute(&format!("UPDATE jobconfiguration SET {ENDS} = 'COMPLETED'")).unwrap();
    assert_eq!(ended(second.wait()), (Generation::Generated, 70, "generated in 70 s".to_owned()));
    let key: i64 = pod.owner().query_one("SELECT max(jobconfigurationid) FROM jobconfiguration", &[]).unwrap().get(0);
    assert_eq!(key, -1, "DHIS2's own keys are left alone, and it is one run");
}

#[test]
fn a_stage_that_failed_is_told_though_dhis2_calls_the_run_completed() {
    let pod = Pod::new();
    let _serving = serving(&pod);
    pod.owner().batch_execute(GENERATED_ONCE).unwrap();
    let run = pod.start(&arguments(&pod, &[]));
    let stages = "{\"sequence\": [{\"stages\": [{\"description\": \"Populating\", \"status\": \"ERROR\", \"error\": \"no space\"}]}]}";
    plays(&pod, &format!("progress = '{stages}', {ENDS} = 'COMPLETED'"));
    let (outcome, _, message) = ended(run.wait());
    assert_eq!((outcome, message.as_str()), (Generation::Failed, "Populating: no space"));
}

#[test]
fn what_dhis2_does_not_begin_is_taken_back() {
    let pod = Pod::new();
    let _serving = serving(&pod);
    pod.owner().batch_execute(GENERATED_ONCE).unwrap();
    // Two runs have ended before: one key is below zero already.
    let done = "INSERT INTO jobconfiguration (jobconfigurationid, uid, created, lastupdated, name, enabled, jobtype, jobstatus, lastexecutedstatus)
        VALUES (-1, 'a1111111111', now(), now(), 'before', false, 'ANALYTICS_TABLE', 'DISABLED', 'COMPLETED'),
            (4711, 'a2222222222', now(), now(), 'theirs', true, 'HOUSEKEEPING', 'RUNNING', 'COMPLETED')";
    pod.owner().batch_execute(done).unwrap();
    let (outcome, _, message) = ended(pod.agent(&arguments(&pod, &["--taken-up-within", "1"])));
    assert!(outcome == Generation::Failed && message.contains("has not begun within 1 minutes"), "{message}");
    let left: i64 = pod
        .owner()
        .query_one("SELECT count(*) FROM jobconfiguration WHERE jobtype = 'ANALYTICS_TABLE' AND uid <> 'a1111111111'", &[])
        .unwrap()
        .get(0);
    assert_eq!(left, 0, "it would come at a time when nobody expects it");
}
