//! Dumps from servers that are less like ours: made with other options, copied through Windows, with another PostGIS or collation.

use std::fs;

use super::{import, imported, old, serves, target};
use crate::pod::{BACKUP_PASSWORD, Pod, Running, await_that};
use dhis2_operator::layout;
use postgres::{Client, NoTls};

#[test]
fn what_a_dump_drops_at_its_head_is_left_out() {
    let pod = target(&old());
    assert_eq!(imported(import(&pod, "old/clean.sql", &["--files", "files"])).schema, "2.42.47");
    serves(&pod, "old/clean.sql");
}

/// As `pg_dump > dhis2.sql` writes them there: a CR before each LF, also before one that had one.
#[test]
fn a_dump_whose_lines_end_as_on_windows_brings_the_same_texts() {
    let old = old();
    for name in ["old/dhis2.sql", "old/inserts.sql"] {
        let pod = target(&old);
        let text = pod.read(&format!("/source/{name}")).replace('\n', "\r\n");
        fs::write(pod.path("/source/windows.sql"), text).unwrap();
        assert_eq!(imported(import(&pod, "windows.sql", &["--files", "files"])).schema, "2.42.47");
        serves(&pod, &format!("{name} of Windows"));
    }
}

/// Serves what was imported.
fn served(pod: &Pod) -> Running<'_> {
    let serving = pod.start(&["database", "run", "--instance", "uid-2"]);
    await_that("the database answers", || pod.agent(&["database", "check"]).code == Some(0));
    serving
}

/// `pg_read_all_data` reads no large object, and DHIS2 has none: what an import brings has to be in the backups all the same.
#[test]
fn large_objects_that_a_dump_brings_are_backed_up_and_restored() {
    let pod = target(&old());
    pod.install(&crate::pod::restic(), layout::RESTIC);
    imported(import(&pod, "old/dhis2.dump", &["--files", "files"]));
    let serving = served(&pod);
    pod.owner().batch_execute("SELECT lo_from_bytea(0, 'later')").unwrap();
    let backup = ["backup", "--set", "set-1", "--host", &pod.address, "--instance", "uid-2", "--name", "demo/new", "--version", "2.42.4.1"];
    pod.agent(&[&backup[..], &["--keep-last", "3", "--keep-daily", "0", "--keep-weekly", "0", "--keep-monthly", "0"]].concat()).done();
    drop(serving);

    let restored = crate::pod::source::target_of(&pod);
    let major = crate::pod::major().to_string();
    let restore = ["restore", "--instance", "uid-2", "--name", "demo/new", "--postgresql", &major, "--version", "2.42.4.1"];
    restored.agent(&restore).done();
    let _serving = served(&restored);
    let objects = "SELECT count(*) FROM pg_largeobject_metadata WHERE lo_get(oid) IN ('large', 'later')";
    assert_eq!(restored.owner().query_one(objects, &[]).unwrap().get::<_, i64>(0), 2);
    let text = format!("host={} user=dhis_backup password={BACKUP_PASSWORD} dbname=dhis2", restored.address);
    let mut backup = Client::connect(&text, NoTls).unwrap();
    assert_eq!(backup.query_one(objects, &[]).unwrap().get::<_, i64>(0), 2, "and so in the next set");
}
