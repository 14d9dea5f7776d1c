//! The database volume from its making to its serving, with a real PostgreSQL.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::pod::{Pod, await_that};
use dhis2_operator::layout;
use dhis2_operator::report::{Built, Data, Refusal};
use nix::sys::signal::Signal;

fn built(report: dhis2_operator::report::Report) -> Built {
    match report.data {
        Some(Data::DatabaseBuild(built)) => built,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_build_that_is_killed_again_and_again_ends_well() {
    let pod = Pod::new();
    let major = crate::pod::major().to_string();
    for milliseconds in [50, 300, 600, 900, 1200, 1600, 2000] {
        let running = pod.start(&["database", "build", "--instance", "uid-1", "--name", "demo/play", "--postgresql", &major]);
        std::thread::sleep(Duration::from_millis(milliseconds));
        running.kill();
        pod.is_left_by_all();
    }
    let first = built(pod.build(&[]).done());
    assert_eq!(built(pod.build(&[]).done()), first, "a second run reports the same");
    assert!(!pod.path(layout::PGDATA_BUILDING).exists());
}

#[test]
fn a_kill_between_the_last_two_steps_is_made_good() {
    let pod = Pod::new();
    let first = built(pod.build(&[]).done());
    let prepared = "/data/dhis2-database.prepared.json";
    fs::rename(pod.path(layout::MARK), pod.path(prepared)).unwrap();
    assert_eq!(built(pod.build(&[]).done()), first);
    assert!(!pod.path(prepared).exists());

    // The same note beside another data directory proves nothing.
    let other = pod.read(layout::MARK).replace(&first.system_identifier, "1");
    fs::remove_file(pod.path(layout::MARK)).unwrap();
    pod.write(prepared, &other);
    assert_eq!(pod.build(&[]).refused(), Refusal::VolumeUnmarked);
}

#[test]
fn nothing_is_made_over_a_volume_without_mark() {
    let pod = Pod::new();
    pod.write("/data/pgdata/precious", "data");
    assert_eq!(pod.build(&[]).refused(), Refusal::VolumeUnmarked);
    assert_eq!(pod.agent(&["database", "run", "--instance", "uid-1"]).refused(), Refusal::VolumeUnmarked);
    assert_eq!(pod.read("/data/pgdata/precious"), "data");
}

#[test]
fn a_volume_is_taken_over_only_when_asked_and_with_its_key() {
    let pod = Pod::new();
    let first = built(pod.build(&[]).done());
    let as_other = |more: &[&str]| {
        let major = crate::pod::major().to_string();
        pod.agent(&[&["database", "build", "--instance", "uid-2", "--name", "demo/play", "--postgresql", &major], more].concat())
    };
    assert_eq!(as_other(&[]).refused(), Refusal::VolumeForeign);
    assert_eq!(pod.agent(&["database", "run", "--instance", "uid-2"]).refused(), Refusal::VolumeForeign);
    pod.write(layout::ENCRYPTION_PASSWORD, "Another-Secret-123456789012");
    assert_eq!(as_other(&["--adopt"]).refused(), Refusal::EncryptionKeyMismatch);
    pod.write(layout::ENCRYPTION_PASSWORD, crate::pod::ENCRYPTION);
    pod.write(layout::DATABASE_PASSWORD, "New-Owner-Secret-1");
    let adopted = built(as_other(&["--adopt"]).done());
    assert_eq!((adopted.instance.as_str(), &adopted.system_identifier), ("uid-2", &first.system_identifier));
    assert_eq!(pod.build(&[]).refused(), Refusal::VolumeForeign);

    let _serving = pod.start(&["database", "run", "--instance", "uid-2"]);
    await_that("the database answers", || pod.agent(&["database", "check"]).code == Some(0));
    let row = pod.owner().query_one("SELECT value FROM dhis2_operator.instance WHERE key = 'instance'", &[]).unwrap();
    assert_eq!(row.get::<_, String>(0), "uid-2");
}

#[test]
fn another_major_version_is_refused() {
    let pod = Pod::new();
    let ended = pod.agent(&["database", "build", "--instance", "uid-1", "--name", "demo/play", "--postgresql", "99"]);
    assert_eq!(ended.refused(), Refusal::PostgresVersionMismatch);
}

#[test]
fn the_server_stops_reloads_and_follows_the_secret() {
    let pod = Pod::new();
    pod.build(&[]).done();
    pod.write(layout::DATABASE_PASSWORD, "New-Owner-Secret-1");
    // As the kubelet does to a volume of a group.
    fs::set_permissions(pod.path(layout::PGDATA), std::os::unix::fs::PermissionsExt::from_mode(0o770)).unwrap();
    assert_eq!(pod.agent(&["database", "check"]).code, Some(1));
    let serving = pod.serve();
    await_that("the password is taken over", || {
        let text = format!("host={} user=dhis password=New-Owner-Secret-1 dbname=dhis2", pod.address);
        postgres::Client::connect(&text, postgres::NoTls).is_ok()
    });
    let mut owner = pod.owner();

    pod.configure("work_mem = 7MB");
    await_that("the configuration is read again", || {
        let text = pod.owner().query_one("SHOW work_mem", &[]).unwrap().get::<_, String>(0);
        text == "7MB"
    });

    // With an open session: a smart shutdown would wait for it.
    owner.batch_execute("BEGIN; CREATE TABLE t (a int)").unwrap();
    serving.signal(Signal::SIGTERM);
    let ended = serving.wait();
    assert!(ended.log.contains("fast shutdown request"), "{}", ended.log);
    ended.done();
}

#[test]
fn a_second_server_waits_for_the_volume_and_gives_up() {
    let pod = Pod::new();
    pod.build(&[]).done();
    let _serving = pod.serve();
    let second = pod.agent(&["database", "run", "--instance", "uid-1"]).failed();
    assert!(second.message.contains("another pod uses the volume"), "{}", second.message);
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let pod = Pod::new();
    pod.build(&[]).done();
    pod.configure("no_such_parameter = 1");
    let report = pod.agent(&["database", "run", "--instance", "uid-1"]).failed();
    assert!(report.message.contains("database.bundled.parameters") && report.message.contains("no_such_parameter"), "{}", report.message);

    pod.configure("");
    fs::write(pod.path("/data/pgdata/global/pg_control"), [0; 8192]).unwrap();
    assert_eq!(pod.agent(&["database", "run", "--instance", "uid-1"]).refused(), Refusal::VolumeDamaged);
}

/// In a container that is started again the number of the killed server is soon that of something else: a thread of the agent, at worst.
#[test]
fn a_killed_server_starts_again_whatever_has_its_number_now() {
    let pod = Pod::new();
    pod.build(&[]).done();
    pod.serve().kill();
    pod.is_left_by_all();
    let mut stranger = pod.program(Path::new("/bin/sleep")).arg("60").spawn().unwrap();
    for lock in ["/data/pgdata/postmaster.pid", "/var/run/postgresql/.s.PGSQL.5432.lock"] {
        let left = pod.read(lock);
        let (_, rest) = left.split_once('\n').unwrap();
        pod.write(lock, &format!("{}\n{rest}", stranger.id()));
    }
    let _serving = pod.serve();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}
