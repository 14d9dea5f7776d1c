//! A database that is gone, frozen, full, or can only be read.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::postgresql::{Database, eventually, postgresql};
use crate::standin::{MIDDLE, NEW, Setup, Standin};

const ADMIN: &str = "admin:district";

fn end_sessions(database: &Database) {
    let sql = format!("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '{}'", database.name);
    postgresql().admin("postgres").batch_execute(&sql).unwrap();
}

fn allow_connections(database: &Database, allowed: bool) {
    let sql = format!("alter database {} allow_connections {allowed}", database.name);
    postgresql().admin("postgres").batch_execute(&sql).unwrap();
}

fn form(standin: &Standin) -> crate::standin::Answer {
    let body = json!({ "username": "admin", "password": "district" }).to_string();
    standin.send("POST", "/api/auth/login", &[("Content-Type", "application/json")], body).unwrap()
}

#[test]
fn without_its_database_it_lives_and_recovers_alone() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).serve();
    let cookie = form(&standin).cookie;
    let with_cookie = || standin.send("GET", "/api/me", &[("Cookie", &cookie)], "").unwrap().status;
    assert_eq!(with_cookie(), 200);
    assert_eq!(standin.status_as(ADMIN, "/api/me"), 200);

    allow_connections(&database, false);
    end_sessions(&database);
    eventually("loginConfig notices", || (standin.get("/api/loginConfig").status == 500).then_some(()));
    assert_eq!(standin.get("/api/ping").status, 200);
    assert_eq!(standin.get("/").status, 302);
    assert_eq!(with_cookie(), 500);
    assert_eq!(form(&standin).status, 500);
    assert_eq!(standin.status_as(ADMIN, "/api/me"), 401);

    allow_connections(&database, true);
    assert_eq!(standin.get("/api/loginConfig").status, 200);
    assert_eq!(standin.status_as(ADMIN, "/api/me"), 200);
    assert_eq!(with_cookie(), 200);
}

#[test]
fn after_idle_sessions_ended_the_first_login_is_refused() {
    let database = postgresql().database(true);
    // Nothing but these requests is to find the dead connections.
    let quiet = [("ANALYTICS_WAIT", 60.0)];
    let standin = Setup::of(MIDDLE, &database).seconds(&quiet).serve();
    assert_eq!(standin.status_as(ADMIN, "/api/me"), 200);
    end_sessions(&database);
    assert_eq!(standin.status_as(ADMIN, "/api/me"), 401);
    assert_eq!(standin.status_as(ADMIN, "/api/me"), 200);
    drop(standin);
    // HikariCP, from 2.43 on, looks at a connection before it gives it out.
    let standin = Setup::of(NEW, &database).serve();
    assert_eq!(standin.status_as(ADMIN, "/api/me"), 200);
    end_sessions(&database);
    assert_eq!(standin.status_as(ADMIN, "/api/me"), 200);
}

#[test]
fn a_frozen_database_is_not_noticed_from_outside() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).serve();
    assert_eq!(standin.get("/api/loginConfig").status, 200);
    let backends = format!("select pid from pg_stat_activity where datname = '{}' and usename = 'dhis'", database.name);
    let backends = postgresql().admin("postgres").query(&backends, &[]).unwrap();
    let signal_all = |signal| {
        for backend in &backends {
            kill(Pid::from_raw(backend.get(0)), signal).unwrap();
        }
    };
    signal_all(Signal::SIGSTOP);
    assert_eq!(standin.get("/api/ping").status, 200);
    assert_eq!(standin.get("/api/loginConfig").status, 200);
    std::thread::scope(|scope| {
        let hangs = scope.spawn(|| standin.status_as(ADMIN, "/api/me"));
        std::thread::sleep(Duration::from_secs(3));
        assert!(!hangs.is_finished());
        signal_all(Signal::SIGCONT);
        assert_eq!(hangs.join().unwrap(), 200);
    });
}

#[test]
fn a_read_only_database_lets_people_in_and_refuses_writes() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).serve();
    database.execute(&format!("alter database {} set default_transaction_read_only = on", database.name));
    end_sessions(&database);
    eventually("it connects again", || (standin.status_as(ADMIN, "/api/me") == 200).then_some(()));
    assert_eq!(standin.get("/api/loginConfig").status, 200);
    assert_eq!(form(&standin).status, 200);
    let title = "/api/systemSettings/applicationTitle?value=x";
    assert_eq!(standin.send_as(ADMIN, "POST", title, &json!({})).status, 409);
}

#[test]
fn when_connections_run_out_requests_fail() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).serve();
    postgresql().admin("postgres").batch_execute(&format!("alter database {} connection limit 4", database.name)).unwrap();
    let mut client = database.admin();
    let mut lock = client.transaction().unwrap();
    lock.batch_execute("lock table organisationunit").unwrap();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..12).map(|_| scope.spawn(|| standin.status_as(ADMIN, "/api/organisationUnits"))).collect();
        eventually("some fail", || asked.iter().any(std::thread::ScopedJoinHandle::is_finished).then_some(()));
        lock.rollback().unwrap();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(statuses.contains(&500), "{statuses:?}");
    assert_eq!(standin.status_as(ADMIN, "/api/me"), 200);
}

#[test]
fn the_log_is_loud_while_the_database_is_gone() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).serve();
    allow_connections(&database, false);
    end_sessions(&database);
    let loud = || standin.log().matches("Acquisition Attempt Failed").count() >= 37;
    eventually("the log is loud", || loud().then_some(()));
}
