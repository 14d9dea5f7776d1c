//! What is seen of a server from beside it, with a real PostgreSQL.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use crate::pod::{Ended, Pod, Running, await_that};
use dhis2_operator::layout;
use dhis2_operator::report::Refusal;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgres::{Client, NoTls};

/// What watches, and its port.
struct Watch<'a>(Running<'a>, u16);

impl<'a> Watch<'a> {
    fn begin(pod: &'a Pod, subject: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self(pod.start(&["watch", subject, "--port", &port.to_string()]), port)
    }

    fn is_open(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.1)).is_ok()
    }

    /// All is well; then something happens. Returns how it was told.
    fn sees(pod: &'a Pod, subject: &str, something: impl FnOnce()) -> Ended {
        let watch = Self::begin(pod, subject);
        await_that("all is well", || watch.is_open());
        something();
        watch.0.wait()
    }

    /// Started again, it waits for the end of it without another word.
    fn waits(pod: &'a Pod, subject: &str, end: impl FnOnce()) {
        let watch = Self::begin(pod, subject);
        std::thread::sleep(std::time::Duration::from_secs(4));
        assert!(!watch.is_open());
        end();
        await_that("all is well again", || watch.is_open());
    }
}

fn superuser(pod: &Pod) -> Client {
    let mut config = postgres::Config::new();
    config.host_path(pod.path(layout::SOCKETS)).user(layout::SUPERUSER).dbname(layout::DATABASE).connect(NoTls).unwrap()
}

#[test]
fn a_database_that_takes_no_writes() {
    let pod = Pod::new();
    pod.build(&[]).done();
    let _serving = pod.serve();
    let mut superuser = superuser(&pod);
    let ended = Watch::sees(&pod, "database", || {
        superuser.batch_execute("ALTER DATABASE dhis2 SET default_transaction_read_only = on").unwrap();
    });
    assert_eq!(ended.refused(), Refusal::DatabaseReadOnly);
    Watch::waits(&pod, "database", || superuser.batch_execute("ALTER DATABASE dhis2 RESET default_transaction_read_only").unwrap());
}

#[test]
fn a_database_without_a_connection_left() {
    let pod = Pod::new();
    pod.build(&[]).done();
    pod.configure("max_connections = 12");
    let _serving = pod.serve();
    let mut held = Vec::new();
    // The last three are for superusers. One that has just been closed still counts for a moment.
    let all_taken = |held: &mut Vec<_>| {
        held.extend(pod.connect());
        held.len() == 9
    };
    let report = Watch::sees(&pod, "database", || await_that("no connection is left", || all_taken(&mut held))).failed();
    assert_eq!(report.reason, Some(Refusal::ConnectionsExhausted));
    Watch::waits(&pod, "database", || held.clear());
}

#[test]
fn a_frozen_server() {
    let pod = Pod::new();
    pod.build(&[]).done();
    let _serving = pod.serve();
    let postmaster = fs::read_to_string(pod.path("/data/pgdata/postmaster.pid")).unwrap();
    let postmaster = Pid::from_raw(postmaster.lines().next().unwrap().parse().unwrap());
    let report = Watch::sees(&pod, "database", || kill(postmaster, Signal::SIGSTOP).unwrap()).failed();
    assert_eq!(report.reason, Some(Refusal::DatabaseUnreachable));
    Watch::waits(&pod, "database", || kill(postmaster, Signal::SIGCONT).unwrap());
}

#[test]
fn a_server_that_is_away_is_no_news() {
    let pod = Pod::new();
    pod.build(&[]).done();
    let watch = Watch::begin(&pod, "database");
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert!(!watch.is_open());
    let running = pod.start(&["database", "run", "--instance", "uid-1"]);
    await_that("all is well", || watch.is_open());
    drop(running);
    await_that("the port is closed", || !watch.is_open());
    drop(watch);
    assert!(!pod.path("/tmp/report").exists(), "the server's own container tells why it is away");
}

#[test]
fn a_database_volume_that_refuses() {
    let pod = Pod::new();
    pod.build(&[]).done();
    let _serving = pod.serve();
    let data = pod.path(layout::DATA);
    let mode = |mode| fs::set_permissions(&data, fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(Watch::sees(&pod, "database", || mode(0o500)).refused(), Refusal::DatabaseReadOnly);
    Watch::waits(&pod, "database", || mode(0o700));
}

#[test]
fn a_file_store_that_refuses() {
    let pod = Pod::new();
    let files = pod.path(layout::FILES);
    let mode = |mode| fs::set_permissions(&files, fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(Watch::sees(&pod, "files", || mode(0o500)).refused(), Refusal::FilesNotWritable);
    Watch::waits(&pod, "files", || mode(0o700));
}
