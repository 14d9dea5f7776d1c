//! Starting, failing to start, ending.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::postgresql::{eventually, postgresql};
use crate::standin::{MIDDLE, NEW, OLD, Setup};

const ADMIN: &str = "admin:district";

#[test]
fn ping_hangs_until_the_start_is_over() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).seconds(&[("START", 1.5)]).start();
    let begun = Instant::now();
    assert_eq!(standin.ping(), 200, "{}", standin.log());
    assert!(begun.elapsed() > Duration::from_millis(1400));
    assert_eq!(standin.get("/api/ping").body, "");
    assert_eq!(standin.get("/api/loginConfig").text("/apiVersion"), MIDDLE);
    let log = standin.log();
    let done = log.find("All startup routines done (DefaultStartupRoutineExecutor...)").unwrap();
    assert!(log[done..].contains("Server startup in ["));
    let top = "select version from flyway_schema_history order by installed_rank desc limit 1";
    assert_eq!(database.text(top), "2.42.47");
    assert_eq!(standin.status_as(ADMIN, "/api/me"), 200);
}

/// Every path is 404, the process lives.
fn assert_failed(setup: Setup, says: &str) {
    let mut standin = setup.start();
    assert_eq!(standin.ping(), 404, "{}", standin.log());
    for path in ["/", "/api/loginConfig", "/dhis-web-login/"] {
        assert_eq!(standin.get(path).status, 404);
    }
    assert!(standin.log().contains(says), "{}", standin.log());
    assert!(standin.is_running());
    standin.signal(Signal::SIGTERM);
    assert_eq!(standin.wait().code(), Some(143));
}

#[test]
fn a_failed_start_is_404_for_ever() {
    let database = postgresql().database(true);
    assert_failed(Setup::new(MIDDLE, ""), "want connection.url");
    assert_failed(Setup::of(MIDDLE, &database).env("DB_PASSWORD", "wrong"), "password authentication failed");
    let absent = database.conf().replace(&database.name, "absent");
    assert_failed(Setup::new(MIDDLE, &absent), "database \"absent\" does not exist");
    assert_failed(Setup::new(MIDDLE, "connection.url=\\uZZZZ"), "Malformed");
    let heap = Setup::of(MIDDLE, &database).env("JAVA_TOOL_OPTIONS", "-Xmx16m");
    assert_failed(heap, "java.lang.OutOfMemoryError");
}

#[test]
fn postgis_must_be_there_and_the_rest_is_made() {
    let database = postgresql().database(false);
    assert_failed(Setup::of(MIDDLE, &database), "type \"geometry\" does not exist");
    assert_eq!(database.count("pg_tables where schemaname = 'public' and tablename <> 'flyway_schema_history'"), 0);
    database.execute("create extension postgis");
    Setup::of(MIDDLE, &database).serve();
    assert_eq!(database.count("pg_extension where extname in ('pg_trgm', 'btree_gin')"), 2);
}

#[test]
fn a_home_without_configuration_ends_with_code_0() {
    let database = postgresql().database(true);
    let setup = Setup::of(MIDDLE, &database);
    fs::remove_file(setup.home.path().join("dhis.conf")).unwrap();
    assert_eq!(setup.start().wait().code(), Some(0));

    let setup = Setup::of(MIDDLE, &database);
    std::os::unix::fs::chown(setup.home.path(), Some(0), Some(0)).unwrap();
    assert_eq!(setup.start().wait().code(), Some(0));
}

#[test]
fn a_late_database_is_waited_for_if_told_so() {
    let database = postgresql().database(true);
    database.execute("alter role dhis connection limit -1");
    let late = database.conf().replace(&database.name, &format!("late_{}", database.name));
    let patient = format!("{late}connection.pool.acquire_retry_attempts=60\nconnection.pool.acquire_retry_delay=100\n");
    let standin = Setup::new(MIDDLE, &patient).start();
    std::thread::sleep(Duration::from_millis(700));
    let rename = format!("alter database {0} rename to late_{0}", database.name);
    postgresql().admin("postgres").batch_execute(&rename).unwrap();
    assert_eq!(standin.ping(), 200, "{}", standin.log());
}

#[test]
fn versions_migrate_forward_only() {
    let database = postgresql().database(true);
    for (version, login, other, top) in [
        (OLD, "/dhis-web-login/", "/login/", "2.41.47"),
        (MIDDLE, "/dhis-web-login/", "/login/", "2.42.47"),
        (NEW, "/login/", "/dhis-web-login/", "2.43.46"),
    ] {
        let standin = Setup::of(version, &database).serve();
        assert_eq!(standin.get("/").location, login);
        assert!(standin.get(login).body.contains("This is not DHIS2"));
        assert_eq!(standin.get_as(ADMIN, other).status, 404);
        assert_eq!(database.text("select version from flyway_schema_history order by installed_rank desc limit 1"), top);
    }
    assert_eq!(database.count("pg_tables where tablename in ('trackerevent', 'singleevent')"), 2);
    let refused = "Detected applied migration not resolved locally: 2.43.21";
    assert_failed(Setup::of(MIDDLE, &database), refused);
    database.execute("update flyway_schema_history set success = false where version = '2.43.46'");
    assert_failed(Setup::of(NEW, &database), "Detected failed migration to version 2.43.46");
}

#[test]
fn a_failing_migration_changes_nothing() {
    let database = postgresql().database(true);
    Setup::of(OLD, &database).serve();
    database.execute(
        "insert into program values (1, 'aaaaaaaaaaa', 'p', 'WITHOUT_REGISTRATION');
         insert into event (eventid, uid, programid, status) values (1, 'bbbbbbbbbbb', 1, 'ACTIVE')",
    );
    let rows = database.count("flyway_schema_history");
    assert_failed(Setup::of(NEW, &database), "column \"organisationunitid\" of relation \"event\" contains null values");
    assert_eq!(database.count("flyway_schema_history"), rows);
    database.execute("delete from event");
    Setup::of(NEW, &database).serve();
}

#[test]
fn a_killed_migration_is_rolled_back_and_done_again() {
    let database = postgresql().database(true);
    Setup::of(OLD, &database).serve();
    let standin = Setup::of(MIDDLE, &database).seconds(&[("MIGRATE", 60.0)]).start();
    eventually("it migrates", || standin.log().contains("to version \"2.42.47").then_some(()));
    standin.kill();
    let top = "select version from flyway_schema_history order by installed_rank desc limit 1";
    assert_eq!(database.text(top), "2.41.47");
    Setup::of(MIDDLE, &database).serve();
    assert_eq!(database.text(top), "2.42.47");
}

#[test]
fn of_two_first_starts_one_wins() {
    let database = postgresql().database(true);
    let start = || Setup::of(MIDDLE, &database).seconds(&[("START", 2.0)]).start();
    let (one, other) = (start(), start());
    let mut statuses = [one.ping(), other.ping()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 404]);
    assert!((one.log() + &other.log()).contains("duplicate key value"));
    assert_eq!(database.count("userinfo"), 1);
}

#[test]
fn the_context_path_is_everywhere() {
    let database = postgresql().database(true);
    let standin = Setup::of(MIDDLE, &database).env("CATALINA_OPTS", "-Dcontext.path='/sub'").serve_at("/sub");
    assert_eq!(standin.get("/sub/").location, "/sub/dhis-web-login/");
    assert_eq!(standin.get("/sub/api/me").location, "/sub/dhis-web-login/");
    assert_eq!(standin.get("/sub/dhis-web-login/").status, 200);
    for path in ["/", "/api/ping", "/dhis-web-login/", "/subject/"] {
        assert_eq!(standin.get(path).status, 404, "{path}");
    }
    let without = Setup::of(MIDDLE, &database).env("CATALINA_OPTS", "-Xms64m").start();
    assert_eq!(without.ping(), 404);
}

#[test]
fn sigterm_is_quick_when_idle_and_cuts_what_runs() {
    let database = postgresql().database(true);
    let setup = || Setup::of(MIDDLE, &database);
    let mut starting = setup().seconds(&[("START", 60.0)]).start();
    eventually("the port opens", || std::net::TcpStream::connect(("127.0.0.1", starting.port)).ok());
    let begun = Instant::now();
    starting.signal(Signal::SIGTERM);
    assert_eq!(starting.wait().code(), Some(143));
    assert!(begun.elapsed() < Duration::from_millis(500));

    let mut standin = setup().seconds(&[("STOP", 0.3)]).serve();
    let begun = Instant::now();
    standin.signal(Signal::SIGTERM);
    assert_eq!(standin.wait().code(), Some(143));
    assert!((Duration::from_millis(300)..Duration::from_secs(1)).contains(&begun.elapsed()), "{:?}", begun.elapsed());

    let mut standin = setup().serve();
    let mut lock = database.admin();
    let mut held = lock.transaction().unwrap();
    held.batch_execute("lock table organisationunit").unwrap();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| standin.status_as(ADMIN, "/api/organisationUnits"));
        let mut admin = database.admin();
        let waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like '%organisationunit%'";
        eventually("the request waits", || admin.query_opt(waiting, &[]).unwrap());
        standin.signal(Signal::SIGTERM);
        assert_eq!(running.join().unwrap(), 500);
    });
    assert_eq!(standin.wait().code(), Some(143));
}
