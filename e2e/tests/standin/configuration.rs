//! Encryption, logs, metrics, memory.

use std::fs;
use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::data;
use crate::postgresql::{eventually, postgresql};
use crate::standin::{MIDDLE, Setup, basic};

const ADMIN: &str = "admin:district";

#[test]
fn encrypted_settings_need_their_key() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).serve();
    let set = "/api/systemSettings/keyEmailPassword";
    assert_eq!(standin.send_as(ADMIN, "POST", &format!("{set}?value=smtp-secret"), &json!({})).status, 200);
    assert_eq!(standin.get_as(ADMIN, set).body, "smtp-secret");
    assert!(!database.text("select value from systemsetting where name = 'keyEmailPassword'").contains("smtp"));
    assert!(!standin.get_as(ADMIN, "/api/systemSettings").body.contains("keyEmailPassword"));
    drop(standin);

    let standin = Setup::of(MIDDLE, &database).serve();
    assert_eq!(standin.get_as(ADMIN, set).body, "smtp-secret");
    assert_eq!(standin.get_as(ADMIN, "/api/system/info").json()["encryption"], true);

    let short = database.conf().replace("a password of twenty-eight", "short");
    let standin = Setup::new(MIDDLE, &short).serve();
    assert_eq!(standin.get_as(ADMIN, set).body, "");
    assert_eq!(standin.get_as(ADMIN, "/api/system/info").json()["encryption"], false);
    let log = standin.log();
    assert!(log.contains("Could not decrypt system setting 'keyEmailPassword'"), "{log}");
    assert!(log.contains("too short, minimum 24"), "{log}");
}

#[test]
fn settings_are_cached_until_the_caches_are_cleared() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).serve();
    let title = || standin.get("/api/loginConfig").text("/applicationTitle");
    assert_eq!(standin.send_as(ADMIN, "POST", "/api/systemSettings/applicationTitle?value=Play", &json!({})).status, 200);
    assert_eq!(title(), "Play");
    database.execute("update systemsetting set value = 'Other' where name = 'applicationTitle'");
    assert_eq!(title(), "Play");
    assert_eq!(standin.send_as(ADMIN, "POST", "/api/maintenance/cacheClear", &json!({})).status, 204);
    assert_eq!(title(), "Other");
}

#[test]
fn logs_go_to_files_unless_log4j_is_configured() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).serve();
    let file = fs::read_to_string(standin.home.join("logs/dhis.log")).unwrap();
    assert!(file.contains("* INFO  20") && file.contains("All startup routines done"));

    let setup = Setup::of(MIDDLE, &database);
    let configuration = setup.home.path().join("log4j2.xml");
    fs::write(&configuration, "<Configuration><JsonTemplateLayout/></Configuration>").unwrap();
    let option = format!("-Dlog4j2.configurationFile={}", configuration.display());
    let standin = setup.env("JAVA_TOOL_OPTIONS", &option).serve();
    assert!(!standin.home.join("logs").exists());
    let log = standin.log();
    let done = log.lines().find(|line| line.contains("All startup routines done")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(done).unwrap()["level"], "INFO");
    let tomcat = log.lines().find(|line| line.contains("Server startup in [")).unwrap();
    assert!(!tomcat.starts_with('{'));
    assert!(log.starts_with(&format!("Picked up JAVA_TOOL_OPTIONS: {option}")));
}

#[test]
fn metrics_are_for_those_who_accept_only_them() {
    let database = postgresql().database(true);
    let accept = |standin: &crate::standin::Standin, what: &str| {
        standin.send("GET", "/api/metrics", &[("Authorization", &basic(ADMIN)), ("Accept", what)], "").unwrap()
    };
    let standin = Setup::of(MIDDLE, &database).serve();
    assert_eq!(accept(&standin, "*/*").status, 406);
    let empty = accept(&standin, "text/plain");
    assert_eq!((empty.status, &*empty.body), (200, ""));
    let conf = database.conf() + "monitoring.dbpool.enabled = on\nmonitoring.jvm.enabled=true\nmonitoring.uptime.enabled=on\n";
    let standin = Setup::new(MIDDLE, &conf).serve();
    let text = accept(&standin, "text/plain").body;
    for name in ["jdbc_connections_max{pool=\"actual\"} 80", "jvm_memory_used_bytes", "process_uptime_seconds"] {
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn the_heap_bounds_memory_and_then_requests_fail() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).env("JAVA_TOOL_OPTIONS", "-Xmx48m").serve();
    data::fill(&standin, 1);
    let mut client = database.admin();
    let mut lock = client.transaction().unwrap();
    lock.batch_execute("lock table organisationunit").unwrap();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = || standin.send("GET", "/api/organisationUnits", &[("Authorization", &basic(ADMIN))], "").unwrap().status;
        let asked: Vec<_> = (0..40).map(|_| scope.spawn(ask)).collect();
        eventually("the heap is full", || standin.log().contains("java.lang.OutOfMemoryError: Java heap space").then_some(()));
        lock.rollback().unwrap();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(statuses.contains(&500) && statuses.contains(&200), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 500].contains(status)), "{statuses:?}");
    assert!((40..110).contains(&standin.memory()), "{} MiB", standin.memory());
    assert_eq!(standin.status_as(ADMIN, "/api/me"), 200);
}

#[test]
fn a_heap_that_is_used_up_ends_the_process_where_that_is_asked_for() {
    let database = postgresql().database(true);
    let options = "-Xmx200m -XX:+ExitOnOutOfMemoryError";
    let mut standin = Setup::of(MIDDLE, &database).env("JAVA_TOOL_OPTIONS", options).serve();
    let mut stream = TcpStream::connect(("127.0.0.1", standin.port)).unwrap();
    write!(stream, "POST /api/me HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000000\r\n\r\n").unwrap();
    assert_eq!(standin.wait().code(), Some(3));
    assert!(standin.log().contains("Terminating due to java.lang.OutOfMemoryError"), "{}", standin.log());
}
