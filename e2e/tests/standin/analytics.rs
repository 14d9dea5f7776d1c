//! Analytics runs and the queue of jobs.

use serde_json::{Value, json};

use crate::data;
use crate::postgresql::{eventually, postgresql};
use crate::standin::{MIDDLE, Setup, Standin};

const ADMIN: &str = "admin:district";

fn ask(standin: &Standin) -> (String, String) {
    let answer = standin.send_as(ADMIN, "POST", "/api/resourceTables/analytics", &json!({}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    (answer.text("/response/id"), answer.text("/response/relativeNotifierEndpoint"))
}

fn notes(standin: &Standin, endpoint: &str) -> Vec<Value> {
    standin.get_as(ADMIN, endpoint).json().as_array().unwrap().clone()
}

/// Waits for the end and returns the states of the stages.
fn finish(standin: &Standin, id: &str, endpoint: &str) -> Vec<String> {
    eventually("the run ends", || notes(standin, endpoint).first().is_some_and(|note| note["completed"] == true).then_some(()));
    let progress = standin.get_as(ADMIN, &format!("/api/jobConfigurations/{id}/progress")).json();
    let stages = progress["sequence"][0]["stages"].as_array().unwrap();
    stages.iter().map(|stage| stage["status"].as_str().unwrap().to_owned()).collect()
}

fn last_success(standin: &Standin) -> String {
    standin.get_as(ADMIN, "/api/system/info").text("/lastAnalyticsTableSuccess")
}

#[test]
fn a_run_is_queued_done_and_told_of() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).serve();
    data::fill(&standin, 24);
    assert_eq!(last_success(&standin), "1970-01-01T00:00:00.000");
    let (id, endpoint) = ask(&standin);
    let (second, endpoint_of_second) = ask(&standin);
    assert_eq!(notes(&standin, "/api/system/tasks/ANALYTICS_TABLE/unknown"), Vec::<Value>::new());
    assert_eq!(finish(&standin, &id, &endpoint), ["SUCCESS"; 3]);
    assert!(last_success(&standin).starts_with("20"));
    assert_eq!(database.count("analytics"), 24);
    assert_eq!(database.count("pg_class where relname = 'analytics' and relpersistence = 'u'"), 1);
    assert_eq!(finish(&standin, &second, &endpoint_of_second), ["SUCCESS"; 3]);
}

#[test]
fn a_failed_stage_looks_like_success_from_afar() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).serve();
    database.execute("create view analytics as select 1");
    let (id, endpoint) = ask(&standin);
    assert_eq!(finish(&standin, &id, &endpoint), ["SUCCESS", "SUCCESS", "ERROR"]);
    assert!(last_success(&standin).starts_with("20"));
}

#[test]
fn a_run_whose_server_is_gone_blocks_the_queue_until_it_is_reverted() {
    let database = postgresql().database(true);
    let slow = Setup::of(MIDDLE, &database).seconds(&[("ANALYTICS", 300.0)]).serve();
    let (id, _) = ask(&slow);
    let state = format!("select jobstatus from jobconfiguration where uid = '{id}'");
    eventually("it runs", || (database.text(&state) == "RUNNING").then_some(()));
    slow.kill();

    let standin = Setup::of(MIDDLE, &database).serve();
    let (second, endpoint) = ask(&standin);
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(notes(&standin, &endpoint), Vec::<Value>::new());
    assert_eq!(database.text(&state), "RUNNING");
    let revert = format!("/api/jobConfigurations/{id}/revert");
    assert_eq!(standin.send_as(ADMIN, "POST", &revert, &json!({})).status, 204);
    assert_eq!(finish(&standin, &second, &endpoint), ["SUCCESS"; 3]);
}
