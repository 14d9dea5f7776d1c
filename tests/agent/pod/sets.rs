//! An instance with data, its backup sets, and restic as a person runs it.

use std::io::Write;
use std::process::{Command, Stdio};

use dhis2_operator::layout;
use dhis2_operator::report::{BackedUp, Data, Report};

use super::{Ended, Pod};

/// What DHIS2 would have put there, as far as a backup is concerned.
pub const SCHEMA: &str = "
    CREATE TABLE userinfo (userinfoid bigint PRIMARY KEY, username text, password text);
    INSERT INTO userinfo SELECT i, 'user-' || i, md5(i::text) FROM generate_series(1, 500) i;
    CREATE TABLE organisationunit (id int PRIMARY KEY, name text, geometry geometry);
    INSERT INTO organisationunit SELECT i, 'Ébola ' || i, ST_SetSRID(ST_Point(i % 180, i % 90), 4326) FROM generate_series(1, 200) i;
    CREATE TABLE datavalue (id int, value text);
    INSERT INTO datavalue SELECT i, md5(i::text) FROM generate_series(1, 50000) i;
    CREATE TABLE fileresource (uid text, storagekey text);
    INSERT INTO fileresource VALUES ('a', 'dataValue/present'), ('b', 'dataValue/lost');
    CREATE TABLE jobconfiguration (uid text, enabled boolean);
    INSERT INTO jobconfiguration VALUES ('sms', true), ('mail', true);
    CREATE TABLE analytics_2026 (id int);
    INSERT INTO analytics_2026 SELECT generate_series(1, 1000);
    CREATE TABLE analytics (id int);
    INSERT INTO analytics SELECT generate_series(1, 1000);
    CREATE TABLE analyticstablehook (name text, sql text);
    INSERT INTO analyticstablehook VALUES ('ours', 'update analytics_rs_orgunitstructure set level = 1');
    CREATE VIEW _view_users AS SELECT username FROM userinfo;
    CREATE MATERIALIZED VIEW _view_count AS SELECT count(*) AS users FROM userinfo;
    CREATE TABLE flyway_schema_history (version text);
    INSERT INTO flyway_schema_history VALUES ('2.42.5'), ('2.42.47');
";

pub fn ready() -> Pod {
    let pod = Pod::new();
    pod.install(&super::restic(), layout::RESTIC);
    pod.build(&[]).done();
    pod
}

pub fn filled() -> Pod {
    let pod = ready();
    pod.write("/opt/dhis2/files/dataValue/present", "a file");
    pod.write("/opt/dhis2/files/apps/one/index.html", "<html>");
    pod
}

pub fn arguments<'a>(pod: &'a Pod, set: &'a str, keep: &'a str) -> Vec<&'a str> {
    let mut arguments =
        vec!["backup", "--set", set, "--host", &pod.address, "--instance", "uid-1", "--name", "demo/play", "--version", "2.42.4.1"];
    arguments.extend(["--keep-last", keep, "--keep-daily", "0", "--keep-weekly", "0", "--keep-monthly", "0"]);
    arguments
}

pub fn backup(pod: &Pod, set: &str, keep: &str) -> Ended {
    pod.agent(&arguments(pod, set, keep))
}

pub fn backed_up(report: Report) -> BackedUp {
    match report.data {
        Some(Data::Backup(data)) => *data,
        other => panic!("{other:?}"),
    }
}

/// restic as a person runs it, with the repository and its key and nothing else.
pub fn restic(pod: &Pod) -> Command {
    let mut command = pod.program(&pod.path(layout::RESTIC));
    command.arg("-r").arg(pod.path(layout::REPOSITORY)).arg("-p").arg(pod.path(layout::BACKUP_PASSWORD)).arg("--no-cache");
    command
}

pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub fn snapshots(pod: &Pod) -> Vec<serde_json::Value> {
    serde_json::from_str(&output(restic(pod).args(["snapshots", "--json", "--no-lock"]))).unwrap()
}

pub fn of_set(pod: &Pod, set: &str, part: &str) -> usize {
    let tags = [format!("set={set}"), format!("part={part}")];
    let has = |snapshot: &serde_json::Value| {
        tags.iter().all(|tag| snapshot["tags"].as_array().unwrap().iter().any(|found| found == tag.as_str()))
    };
    snapshots(pod).iter().filter(|snapshot| has(snapshot)).count()
}

pub fn manifest(pod: &Pod, set: &str) -> serde_json::Value {
    let tags = format!("set={set},part=manifest");
    serde_json::from_str(&output(restic(pod).args(["dump", "--tag", &tags, "latest", "/manifest.json"]))).unwrap()
}

/// One more set, `forged`, with another manifest; its parts are those of `set-1`.
pub fn forge(pod: &Pod, more: &[&str], change: impl FnOnce(&mut serde_json::Value)) {
    let mut forged = manifest(pod, "set-1");
    forged["set"] = "forged".into();
    change(&mut forged);
    let mut command = restic(pod);
    command.args(["backup", "--host", "demo/play", "--tag", "set=forged", "--tag", "part=manifest"]).args(more);
    command.args(["--stdin", "--stdin-filename", "manifest.json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(forged.to_string().as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}
