//! A new instance from a dump that people bring, with a real PostgreSQL: dumps as servers of DHIS2 have them, and those that are refused.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

mod foreign;

use crate::pod::sets::{SCHEMA, filled};
use crate::pod::{Ended, Pod, await_that, postgresql, shared};
use dhis2_operator::layout;
use dhis2_operator::report::{Data, Imported, Refusal};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const DUMP: &str = "old/dhis2.sql";

fn import(pod: &Pod, dump: &str, more: &[&str]) -> Ended {
    pod.agent(&arguments(dump, more).iter().map(String::as_str).collect::<Vec<_>>())
}

fn arguments(dump: &str, more: &[&str]) -> Vec<String> {
    let major = crate::pod::major().to_string();
    let all = ["import", "--instance", "uid-2", "--name", "demo/new", "--postgresql", &major, "--version", "2.42.4.1", "--dump", dump];
    all.iter().chain(more).map(|&argument| argument.to_owned()).collect()
}

fn imported(ended: Ended) -> Imported {
    match ended.done().data {
        Some(Data::Import(data)) => data,
        other => panic!("{other:?}"),
    }
}

/// What is refused before anything is made, with its words.
fn is_refused(pod: &Pod, dump: &str, more: &[&str], words: &str) {
    let ended = import(pod, dump, more);
    let said = ended.report.clone().unwrap().message;
    assert_eq!(ended.refused(), Refusal::ImportFailed, "{said}");
    assert!(said.contains(words), "{said}");
    assert!(!pod.path(layout::PGDATA).exists() && !pod.path(layout::MARK).exists(), "{said}");
}

/// What a server that others have set up is like: its database belongs to a role of theirs, and the image of PostGIS has put in what
/// DHIS2 does not use.
const THEIRS: &str = "
    CREATE EXTENSION postgis_topology;
    CREATE EXTENSION postgis_tiger_geocoder CASCADE;
    INSERT INTO spatial_ref_sys (srid, srtext) VALUES (990001, 'theirs');
    CREATE TABLE note (id int, text text);
    INSERT INTO note VALUES (1, E'GRANT ALL ON x TO y;\\n\\\\! touch /tmp/x\\nit''s -- $$'), (2, E'\\\\.'), (3, E'one\\r\\ntwo;\\r\\n\\r');
    CREATE FUNCTION told() RETURNS text LANGUAGE sql AS $told$
GRANT SELECT ON x TO y;
$told$;
    COMMENT ON TABLE note IS 'a note
GRANT y;';
    CREATE TABLE audit (id serial PRIMARY KEY, text text);
    INSERT INTO audit (text) VALUES ('a');
    CREATE VIEW told_of AS SELECT id, text FROM audit GROUP BY id;
    SELECT lo_from_bytea(0, 'large');
    CREATE TABLE slow (id int CHECK (pg_sleep(1)::text = ''));
    INSERT INTO slow VALUES (1);
    CREATE ROLE hisp;
    ALTER TABLE note OWNER TO hisp;
    GRANT SELECT ON userinfo TO hisp;
    ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO hisp;
";

/// The old server, with a dump of each format.
fn old() -> Arc<Pod> {
    static SHARED: Mutex<Weak<Pod>> = Mutex::new(Weak::new());
    shared(&SHARED, make_old)
}

fn make_old() -> Pod {
    let pod = filled();
    let serving = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    // A function that calls what is not there, as those of a dump do that is not whole yet.
    pod.superuser().batch_execute(&format!("SET check_function_bodies = off; {THEIRS}")).unwrap();
    fs::create_dir_all(pod.path("/source/old")).unwrap();
    fs::set_permissions(pod.path("/source/old"), fs::Permissions::from_mode(0o777)).unwrap();
    for (format, name) in [("plain", "dhis2.sql"), ("custom", "dhis2.dump"), ("tar", "dhis2.tar"), ("directory", "dhis2.dir")] {
        dump(&pod, &format!("old/{name}"), &[&format!("--format={format}")]);
    }
    dump(&pod, "old/inserts.sql", &["--inserts", "--clean", "--if-exists"]);
    dump(&pod, "old/clean.sql", &["--clean"]);
    drop(serving);
    pod.is_left_by_all();
    let zipped = Command::new("gzip").arg("--keep").arg(pod.path("/source/old/dhis2.sql")).status();
    assert!(zipped.unwrap().success());
    pod
}

fn dump(pod: &Pod, name: &str, more: &[&str]) {
    dump_of(pod, layout::DATABASE, name, more);
}

fn dump_of(pod: &Pod, database: &str, name: &str, more: &[&str]) {
    let mut command = pod.program(&postgresql("pg_dump"));
    command.arg("--host").arg(pod.path(layout::SOCKETS)).arg("--username").arg(layout::SUPERUSER);
    let file = pod.path("/source").join(name);
    let made = command.args(more).arg("--file").arg(file).arg(database).status();
    assert!(made.unwrap().success(), "{name}");
}

/// A pod with new volumes, and what people brought from the old server.
fn target(old: &Pod) -> Pod {
    let pod = Pod::new();
    let copied = Command::new("cp").arg("-a").arg(old.path("/source")).arg(pod.path("/source")).status();
    assert!(copied.unwrap().success());
    let copied = Command::new("cp").arg("-a").arg(old.path(layout::FILES)).arg(pod.path("/source/files")).status();
    assert!(copied.unwrap().success());
    pod
}

fn names(pod: &Pod, place: &str) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(pod.path(place)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_dump_of_any_format_becomes_an_instance_with_its_files() {
    let old = old();
    for name in ["old/dhis2.sql.gz", "old/dhis2.dump", "old/dhis2.tar", "old/dhis2.dir", "old/inserts.sql"] {
        let pod = target(&old);
        let ended = import(&pod, name, &["--files", "files"]);
        let report = ended.report.clone();
        let data = imported(ended);
        assert_eq!((data.dump.as_str(), data.schema.as_str(), data.instance.as_str()), (name, "2.42.47", "uid-2"));
        assert_eq!((data.files, data.file_bytes, data.references, data.references_without_file), (2, 12, 2, 1));
        assert_eq!(names(&pod, layout::DATA), [".lock", "dhis2-database.json", "pgdata"]);
        assert_eq!(names(&pod, layout::FILES), ["apps", "dataValue"]);
        assert_eq!(pod.read("/opt/dhis2/files/dataValue/present"), "a file");
        let mode = fs::metadata(pod.path("/opt/dhis2/files/dataValue/present")).unwrap().mode();
        assert_eq!(mode & 0o660, 0o660, "as a pod's group has it");
        serves(&pod, name);
        assert_eq!(import(&pod, name, &["--files", "files"]).report, report, "a later run says the same");
        let other = import(&pod, DUMP, &[]);
        assert_eq!(other.refused(), Refusal::VolumeForeign);
    }
}

/// It is the owner's and the instance's, whole, and nothing of the old server's own is in it.
fn serves(pod: &Pod, name: &str) {
    let serving = pod.start(&["database", "run", "--instance", "uid-2"]);
    await_that("the database answers", || pod.agent(&["database", "check"]).code == Some(0));
    let mut owner = pod.owner();
    let mut count = |what: &str| owner.query_one(&format!("SELECT count(*) FROM {what}"), &[]).unwrap().get::<_, i64>(0);
    assert_eq!(count("datavalue"), 50_000, "{name}");
    assert_eq!(count("note WHERE text = E'GRANT ALL ON x TO y;\\n\\\\! touch /tmp/x\\nit''s -- $$'"), 1, "{name}");
    assert_eq!(count("note WHERE text = E'one\\r\\ntwo;\\r\\n\\r'"), 1, "{name}");
    assert_eq!(count("told_of JOIN pg_attrdef ON adrelid = 'audit'::regclass"), 1, "a view, and a default: {name}");
    assert_eq!(count("pg_largeobject_metadata WHERE lo_get(oid) = 'large'"), 1, "{name}");
    assert_eq!(count("organisationunit WHERE name LIKE 'Ébola%' AND ST_SRID(geometry) = 4326"), 200, "{name}");
    assert_eq!(count("_view_count"), 1, "{name}");
    assert_eq!(count("pg_namespace WHERE nspname IN ('tiger', 'topology')"), 0, "{name}");
    assert_eq!(count("pg_tables WHERE schemaname = 'public' AND tableowner <> 'dhis' AND tablename <> 'spatial_ref_sys'"), 0, "{name}");
    assert_eq!(count("pg_proc WHERE proname = 'told' AND prosrc LIKE '%GRANT SELECT%'"), 1, "{name}");
    assert_eq!(count("dhis2_operator.instance WHERE key = 'instance' AND value = 'uid-2'"), 1, "{name}");
    drop(owner);
    let check = ["check", "--host", &pod.address, "--instance", "uid-2", "--version"];
    pod.agent(&[&check[..], &["2.42.4.1"]].concat()).done();
    pod.image("2.41.9");
    assert_eq!(pod.agent(&[&check[..], &["2.41.9"]].concat()).refused(), Refusal::DowngradeRefused);
    drop(serving);
    pod.is_left_by_all();
}

#[test]
fn what_people_brought_is_looked_at_before_anything_is_made() {
    let old = old();
    let pod = target(&old);
    is_refused(&pod, "old/dhis.sql", &[], "the claim has no old/dhis.sql: there is clean.sql, dhis2.dir, dhis2.dump");
    symlink(pod.path(layout::DATABASE_PASSWORD), pod.path("/source/link")).unwrap();
    is_refused(&pod, "link", &[], "a link that leads out of the claim");
    is_refused(&pod, "../secrets/database/password", &[], "a link that leads out of the claim");
    pod.write("/source/empty", "");
    is_refused(&pod, "empty", &[], "it is empty");
    pod.write("/source/zip", "PK\u{3}\u{4}");
    is_refused(&pod, "zip", &[], "unpack it");
    is_refused(&pod, "files", &[], "it is a directory, and not one of pg_dump");
    is_refused(&pod, DUMP, &["--files", "file"], "the claim has no file: there is");
    is_refused(&pod, DUMP, &["--files", "zip"], "is no directory");
    pod.write("/source/home/dhis.conf", "connection.password = secret");
    is_refused(&pod, DUMP, &["--files", "home"], "it is DHIS2's home");
    if nix::unistd::geteuid().is_root() {
        pod.write("/source/closed", "--\n");
        std::os::unix::fs::chown(pod.path("/source/closed"), Some(0), Some(0)).unwrap();
        fs::set_permissions(pod.path("/source/closed"), fs::Permissions::from_mode(0o600)).unwrap();
        is_refused(&pod, "closed", &[], "chmod -R a+rX");
    }
    assert_eq!((names(&pod, layout::DATA), names(&pod, layout::FILES)), (vec![".lock".to_owned()], vec![]));
    // Another instance's file store is none of ours.
    pod.write("/opt/dhis2/files/apps/precious", "a file");
    assert_eq!(import(&pod, DUMP, &[]).refused(), Refusal::VolumeUnmarked);
}

/// The dump with a change.
fn changed(pod: &Pod, change: impl FnOnce(String) -> String) -> PathBuf {
    let text = change(pod.read("/source/old/dhis2.sql"));
    pod.write("/source/changed.sql", &text);
    pod.path("/source/changed.sql")
}

#[test]
fn a_dump_that_is_refused_is_told_by_its_line_and_not_loaded_again_until_it_changes() {
    let old = old();
    let pod = target(&old);
    let end = |text: &str| text.replace("-- PostgreSQL database dump complete", "--");
    changed(&pod, |text| end(&text));
    is_refused(&pod, "changed.sql", &[], "without the last words of pg_dump");
    let again = import(&pod, "changed.sql", &[]);
    assert!(!again.log.contains("making the data directory"), "{}", again.log);
    assert!(again.report.clone().unwrap().message.contains("nothing is tried again until"), "{}", again.log);
    assert_eq!(again.refused(), Refusal::ImportFailed);
    assert_eq!(pod.build(&[]).refused(), Refusal::VolumeUnmarked, "no empty database in its place");

    changed(&pod, |text| text.replacen("CREATE TABLE public.note (", "CREATE TABEL public.note (", 1));
    let line = 1 + pod.read("/source/changed.sql").lines().position(|line| line.starts_with("CREATE TABEL")).unwrap();
    is_refused(&pod, "changed.sql", &[], &format!("line {line}: syntax error at or near \"TABEL\""));
    changed(&pod, |text| text.replacen("\n7\tuser-7\t", "\nseven\tuser-7\t", 1));
    let ended = import(&pod, "changed.sql", &[]);
    let said = ended.report.clone().unwrap().message;
    assert!(said.contains("(COPY userinfo, line ") && !said.contains("user-7") && !ended.log.contains("user-7"), "{said}");
    let touch = format!("\\! touch {}", pod.path("/tmp/touched").display());
    for (line, words) in [
        (touch.clone(), "line 1 of the dump is a command of psql, \\!"),
        (format!("SELECT 1; {touch}"), "line 1: syntax error"),
        (format!("SELECT E'\\'';\n{touch}"), "line 2 of the dump is a command of psql"),
    ] {
        changed(&pod, |text| format!("{line}\n{text}"));
        is_refused(&pod, "changed.sql", &[], words);
        assert!(!pod.path("/tmp/touched").exists(), "{line}");
    }
    changed(&pod, |text| text.replace("'UTF8'", "'LATIN1'"));
    is_refused(&pod, "changed.sql", &[], "make the dump with pg_dump --encoding=UTF8");
    changed(&pod, |text| text.replace("flyway_schema_history", "flyway"));
    is_refused(&pod, "changed.sql", &[], "holds no database of DHIS2");
    changed(&pod, |text| text.replacen("\n2.42.47\n", "\n2.43.12\n", 1));
    let newer = import(&pod, "changed.sql", &[]);
    assert!(newer.report.clone().unwrap().message.contains("of DHIS2 2.43, the instance has 2.42.4.1"), "{}", newer.log);
    assert_eq!(newer.refused(), Refusal::DowngradeRefused);

    let whole = fs::read(pod.path("/source/old/dhis2.sql.gz")).unwrap();
    fs::write(pod.path("/source/cut.sql.gz"), &whole[..whole.len() / 2]).unwrap();
    is_refused(&pod, "cut.sql.gz", &[], "it ends in the middle or is damaged");
    let whole = fs::read(pod.path("/source/old/dhis2.dump")).unwrap();
    fs::write(pod.path("/source/cut.dump"), &whole[..whole.len() / 2]).unwrap();
    is_refused(&pod, "cut.dump", &[], "PostgreSQL does not take cut.dump");

    // After all that. What a dump puts in the place of the system's own is called by no superuser.
    let evil = "CREATE SCHEMA evil; CREATE FUNCTION evil.pg_database_size(name) RETURNS bigint LANGUAGE sql AS 'SELECT 1 / 0::bigint';\n\
                ALTER ROLE dhis SET search_path = evil, public, pg_catalog;\n\
                DO $$ BEGIN EXECUTE 'ALTER DATABASE dhis2 SET search_path = evil, public, pg_catalog'; END $$;\n";
    changed(&pod, |text| format!("{evil}{text}"));
    assert_eq!(imported(import(&pod, "changed.sql", &[])).references_without_file, 2, "no files were brought");
    assert_eq!(names(&pod, layout::DATA), [".lock", "dhis2-database.json", "pgdata"]);
}

#[test]
fn an_import_that_is_killed_is_done_again() {
    let old = old();
    let pod = target(&old);
    let killed = |until: &dyn Fn() -> bool| {
        let arguments = arguments(DUMP, &["--files", "files"]);
        let running = pod.start(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        await_that("the import has come so far", until);
        running.kill();
        pod.is_left_by_all();
    };
    killed(&|| pod.path(layout::RESTORE_NOTE).exists());
    killed(&|| pod.path("/data/pgdata.building/global/pg_control").exists());
    pod.write("/opt/dhis2/files/dataValue/half", "half a fi");
    let report = import(&pod, DUMP, &["--files", "files"]).done();
    assert!(!pod.path("/opt/dhis2/files/dataValue/half").exists());
    // Between the data directory's name and the mark.
    fs::rename(pod.path(layout::MARK), pod.path(layout::MARK).with_extension("prepared.json")).unwrap();
    pod.write("/opt/dhis2/files/.dhis2-restoring.json", r#"{"instance":"uid-2"}"#);
    assert_eq!(import(&pod, DUMP, &["--files", "files"]).done(), report);
    assert_eq!(names(&pod, layout::FILES), ["apps", "dataValue"]);
}

/// As on a node without memory.
#[test]
fn an_import_whose_program_is_killed_has_not_refused_the_dump() {
    let old = old();
    for dump in ["old/dhis2.dump", "old/dhis2.tar"] {
        let pod = target(&old);
        let arguments = arguments(dump, &["--files", "files"]);
        let running = pod.start(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        await_that("the dump is being loaded", || !loading(&pod).is_empty());
        for program in loading(&pod) {
            let _ = kill(Pid::from_raw(program), Signal::SIGKILL);
        }
        let report = running.wait().failed();
        assert!(report.reason.is_none() && report.message.contains("was interrupted"), "{}", report.message);
        pod.is_left_by_all();
        assert_eq!(imported(import(&pod, dump, &["--files", "files"])).files, 2);
    }
}

/// The processes of `pg_restore` that write to the database of this pod.
fn loading(pod: &Pod) -> Vec<i32> {
    let list = pod.path("/tmp/dhis2-import.list").to_string_lossy().into_owned();
    let is_ours = |line: Vec<u8>| {
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("pg_restore") && line.contains(&list)
    };
    let numbers = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|number: &i32| fs::read(format!("/proc/{number}/cmdline")).is_ok_and(is_ours)).collect()
}
