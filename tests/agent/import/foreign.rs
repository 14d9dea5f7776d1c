//! Dumps from servers that are less like ours: made with other options, copied through Windows, with another PostGIS or collation.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex, Weak};

use super::{dump_of, import, imported, is_refused, old, serves, target};
use crate::pod::sets::filled;
use crate::pod::{BACKUP_PASSWORD, Pod, Running, await_that, shared};
use dhis2_operator::layout;
use dhis2_operator::report::Refusal;
use postgres::{Client, NoTls};

#[test]
fn what_a_dump_drops_at_its_head_is_left_out() {
    let pod = target(&old());
    assert_eq!(imported(import(&pod, "old/clean.sql", &["--files", "files"])).schema, "2.42.47");
    serves(&pod, "old/clean.sql");
}

/// As `pg_dump > dhis2.sql` writes them there: a CR before each LF, also before one that had one. Editors put a mark of the encoding first.
#[test]
fn a_dump_whose_lines_end_as_on_windows_brings_the_same_texts() {
    let old = old();
    for (name, mark) in [("old/dhis2.sql", ""), ("old/inserts.sql", "\u{feff}")] {
        let pod = target(&old);
        let text = pod.read(&format!("/source/{name}")).replace('\n', "\r\n");
        fs::write(pod.path("/source/windows.sql"), format!("{mark}{text}")).unwrap();
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

/// Databases of a server with settings of its own: a name, what it is made with, what is in it.
const OTHERS: [(&str, &str, &str); 4] = [
    // Before 2.31 DHIS2 had neither PostGIS nor a list of migrations.
    ("ancient", "LOCALE_PROVIDER libc LOCALE 'C'", "CREATE TABLE datavalue (value text); CREATE TABLE version (versionkey text)"),
    (
        "plain",
        "LOCALE_PROVIDER libc LOCALE 'C'",
        "CREATE TABLE flyway_schema_history (version text); INSERT INTO flyway_schema_history VALUES ('2.42.47');
         CREATE TABLE name (text text); INSERT INTO name VALUES ('b'), ('B'), ('a'), ('A'); CREATE UNIQUE INDEX ON name (text);",
    ),
    (
        "sorted",
        "LOCALE_PROVIDER icu ICU_LOCALE 'sv-SE' LOCALE 'C.UTF-8'",
        r#"CREATE TABLE flyway_schema_history (version text); INSERT INTO flyway_schema_history VALUES ('2.42.47');
         CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE name (text text, c text COLLATE "C", sv text COLLATE "sv-x-icu", nocase text COLLATE nocase UNIQUE);
         INSERT INTO name VALUES ('z', 'z', 'z', 'Z'), ('ä', 'ä', 'ä', 'Ä'), ('A', 'A', 'A', 'a');"#,
    ),
    // As an image has it whose C library knows the locale, and ours does not.
    (
        "local",
        "LOCALE_PROVIDER libc LOCALE 'C'",
        r#"SET allow_system_table_mods = on; CREATE COLLATION pg_catalog."sw_TZ.utf8" (locale = 'C');
         CREATE SCHEMA gis; CREATE EXTENSION postgis SCHEMA gis;
         CREATE TABLE flyway_schema_history (version text); INSERT INTO flyway_schema_history VALUES ('2.42.47');
         CREATE TABLE area (geometry gis.geometry(Point, 4326));
         CREATE TABLE name (text text COLLATE pg_catalog."sw_TZ.utf8");"#,
    ),
];

/// A server with them, and dumps.
fn others() -> Arc<Pod> {
    static SHARED: Mutex<Weak<Pod>> = Mutex::new(Weak::new());
    shared(&SHARED, make_others)
}

fn make_others() -> Pod {
    let pod = filled();
    let serving = pod.serve();
    fs::create_dir_all(pod.path("/source")).unwrap();
    fs::set_permissions(pod.path("/source"), fs::Permissions::from_mode(0o777)).unwrap();
    for (name, settings, contents) in OTHERS {
        pod.superuser().batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0 {settings}")).unwrap();
        let text = format!("host={} user={} dbname={name}", pod.path(layout::SOCKETS).display(), layout::SUPERUSER);
        Client::connect(&text, NoTls).unwrap().batch_execute(contents).unwrap();
        dump_of(&pod, name, &format!("{name}.sql"), &[]);
    }
    dump_of(&pod, "local", "name.dump", &["--format=custom", "--table=name"]);
    dump_of(&pod, "local", "name.sql", &["--table=name"]);
    drop(serving);
    pod.is_left_by_all();
    pod
}

/// One text of the database that was imported.
fn text(pod: &Pod, query: &str) -> String {
    pod.owner().query_one(query, &[]).unwrap().get(0)
}

#[test]
fn a_database_without_postgis_is_given_it_and_one_of_an_ancient_dhis2_is_told() {
    let others = others();
    let pod = target(&others);
    is_refused(&pod, "ancient.sql", &[], "a DHIS2 before 2.31 has none: upgrade the old server");
    imported(import(&pod, "plain.sql", &[]));
    let _serving = served(&pod);
    assert_eq!(text(&pod, "SELECT count(*)::text FROM pg_extension WHERE extname = 'postgis'"), "1");
    pod.agent(&["check", "--host", &pod.address, "--instance", "uid-2", "--version", "2.42.4.1"]).done();
}

#[test]
fn postgis_in_a_schema_of_its_own_is_told_with_what_to_do() {
    let others = others();
    let pod = target(&others);
    is_refused(&pod, "local.sql", &[], "type \"gis.geometry\" does not exist");
    is_refused(&pod, "local.sql", &[], "PostGIS is in schema public here: write public.geometry for gis.geometry in the dump");
    let mended = pod.read("/source/local.sql").replace("gis.geometry", "public.geometry").replace(" COLLATE pg_catalog.\"sw_TZ.utf8\"", "");
    pod.write("/source/mended.sql", &mended);
    imported(import(&pod, "mended.sql", &[]));
}

#[test]
fn a_database_that_sorted_otherwise_sorts_as_ours_do_but_for_columns_that_say_how() {
    let others = others();
    for (name, c) in [("plain.sql", "text"), ("sorted.sql", "c")] {
        let pod = target(&others);
        imported(import(&pod, name, &[]));
        let _serving = served(&pod);
        assert_eq!(text(&pod, "SELECT datlocprovider::text FROM pg_database WHERE datname = current_database()"), "i");
        let sorted = |column: &str| text(&pod, &format!("SELECT string_agg(text, '' ORDER BY {column}) FROM name"));
        if c == "text" {
            assert_eq!(sorted("text"), "aAbB");
        } else {
            assert_eq!((sorted("text"), sorted("c"), sorted("sv")), ("Aäz".to_owned(), "Azä".to_owned(), "Azä".to_owned()));
            assert_eq!(text(&pod, "SELECT text FROM name WHERE nocase = 'ä'"), "ä", "as the column compares");
        }
    }
}

#[test]
fn a_collation_that_there_is_not_is_told_with_what_to_do() {
    let others = others();
    let pod = target(&others);
    for name in ["name.sql", "name.dump"] {
        is_refused(&pod, name, &[], "collation \"pg_catalog.sw_TZ.utf8\" for encoding \"UTF8\" does not exist");
        is_refused(&pod, name, &[], "take COLLATE \"sw_TZ.utf8\" out of the dump");
    }
}

/// As with `encryption: {defaultKey: true}`: no Secret is mounted.
#[test]
fn a_dump_may_be_of_a_database_with_dhis2s_own_key() {
    let pod = target(&others());
    fs::remove_file(pod.path(layout::ENCRYPTION_PASSWORD)).unwrap();
    let report = import(&pod, "plain.sql", &[]).done();
    let serving = served(&pod);
    let check = ["check", "--host", &pod.address, "--instance", "uid-2", "--version", "2.42.4.1"];
    pod.agent(&check).done();
    pod.write(layout::ENCRYPTION_PASSWORD, crate::pod::ENCRYPTION);
    assert_eq!(pod.agent(&check).refused(), Refusal::EncryptionKeyMismatch);
    drop(serving);
    pod.is_left_by_all();
    assert_eq!(import(&pod, "plain.sql", &[]).done(), report);
}
