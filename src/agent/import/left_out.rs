//! What of a dump the new database has already, or does not want.

use std::fmt::Write;

/// By the beginnings of what is left out.
pub struct LeftOut {
    /// Commands of `psql` that `pg_dump` itself writes (since its releases of August 2025).
    pub commands: [&'static [u8]; 2],
    /// Statements of one line. Nobody but the owner works with the database, the extensions that DHIS2 needs are there, and in a new
    /// database there is nothing to drop.
    statements: [&'static [u8]; 11],
}

/// What is left out of a dump in SQL.
pub const LEFT_OUT: LeftOut = LeftOut {
    commands: [b"\\restrict ", b"\\unrestrict "],
    statements: [
        b"GRANT ",
        b"REVOKE ",
        b"ALTER DEFAULT PRIVILEGES ",
        b"COMMENT ON EXTENSION ",
        b"DROP ",
        b"SELECT pg_catalog.lo_unlink(",
        b"CREATE SCHEMA public;",
        // Settings of the old server's database.
        b"ALTER DATABASE ",
        // Settings that came or went with a release of PostgreSQL: the others refuse them.
        b"SET default_with_oids ",
        b"SET transaction_timeout ",
        b"SET SESSION AUTHORIZATION ",
    ],
};

/// Of lines that alter something. No new database has the defaults and constraints that `pg_dump --clean` drops.
const ALTERED: [&str; 3] = [" OWNER TO ", " DROP CONSTRAINT ", " DROP DEFAULT;"];

/// Extensions that are there, and those that images of PostGIS make and DHIS2 does not use: they need a superuser.
const EXTENSIONS: [&str; 9] = [
    "plpgsql",
    "postgis",
    "pg_trgm",
    "btree_gin",
    "postgis_topology",
    "postgis_tiger_geocoder",
    "postgis_raster",
    "address_standardizer",
    "pg_stat_statements",
];

/// Their schemas.
const SCHEMAS: [&str; 3] = ["tiger", "tiger_data", "topology"];

/// A table of PostGIS: its rows come with the extension.
const REFERENCE_SYSTEMS: &str = "spatial_ref_sys";

/// Is it a statement that is left out?
pub fn is_statement(line: &[u8]) -> bool {
    LEFT_OUT.statements.iter().any(|beginning| line.starts_with(beginning)) || std::str::from_utf8(line).is_ok_and(is_left_out)
}

/// Does a statement make what was not there?
pub fn makes(line: &[u8]) -> bool {
    line.starts_with(b"CREATE ") && !is_emptied_view(line)
}

/// Where it comes before anything is made: a view that needs a constraint (it groups by a primary key) is emptied by `pg_dump --clean`
/// before the constraint is dropped. In a new database it would be in the way of its own CREATE.
pub fn is_emptied_view(line: &[u8]) -> bool {
    line.starts_with(b"CREATE OR REPLACE VIEW ")
}

fn is_left_out(line: &str) -> bool {
    // Where there is a text, it may say anything.
    let alters = line.starts_with("ALTER ") && !line.contains('\'') && ALTERED.iter().any(|words| line.contains(words));
    let makes = |what: &str, names: &[&str]| {
        let name = line.strip_prefix(what).map(|rest| rest.trim_start_matches("IF NOT EXISTS ").trim_start_matches('"'));
        name.and_then(|name| name.split([' ', ';', '"']).next()).is_some_and(|name| names.contains(&name))
    };
    let sets = |schema: &&str| line.starts_with(&format!("SELECT pg_catalog.setval('{schema}."));
    let fills = line.strip_prefix("INSERT INTO ").and_then(|rest| rest.split(' ').next()).is_some_and(is_table);
    alters
        || fills
        || makes("CREATE EXTENSION ", &EXTENSIONS)
        || makes("CREATE SCHEMA ", &SCHEMAS)
        || makes("COMMENT ON SCHEMA ", &SCHEMAS)
        || SCHEMAS.iter().any(sets)
}

/// Is it a table, `public.spatial_ref_sys`, whose rows are left out?
pub fn is_table(name: &str) -> bool {
    let (schema, table) = name.split_once('.').unwrap_or(("", name));
    table == REFERENCE_SYSTEMS || SCHEMAS.contains(&schema)
}

/// The list of an archive (`pg_restore --list`) without what is left out.
pub fn of_list(list: &str) -> String {
    list.lines().filter(|line| !is_entry(line)).fold(String::new(), |mut kept, line| {
        let _ = writeln!(kept, "{line}");
        kept
    })
}

/// `3501; 0 16390 TABLE DATA public spatial_ref_sys postgres`: number, two of PostgreSQL's, what, schema, name, owner.
fn is_entry(line: &str) -> bool {
    let Some(entry) = line.split_once("; ").and_then(|(_, rest)| rest.splitn(3, ' ').nth(2)) else { return false };
    let after = |what: &str| entry.strip_prefix(what).map(|rest| rest.split(' ').collect::<Vec<_>>());
    let named = |what: &str, names: &[&str]| after(what).is_some_and(|words| words.get(1).is_some_and(|name| names.contains(name)));
    let of_table = |what: &str| {
        after(what).is_some_and(|words| words.first().is_some_and(|schema| is_table(&format!("{schema}.{}", words.get(1).unwrap_or(&"")))))
    };
    let commented = |what: &str, names: &[&str]| {
        entry
            .strip_prefix("COMMENT - ")
            .and_then(|rest| rest.strip_prefix(what))
            .is_some_and(|rest| rest.split(' ').next().is_some_and(|name| names.contains(&name) || what == "EXTENSION "))
    };
    named("EXTENSION ", &EXTENSIONS)
        || named("SCHEMA ", &SCHEMAS)
        || named("SCHEMA ", &["public"])
        || commented("EXTENSION ", &[])
        || commented("SCHEMA ", &SCHEMAS)
        || of_table("TABLE DATA ")
        || of_table("SEQUENCE SET ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_archive_only_what_the_owner_may_load_is_left() {
        let list = "; Archive created at 2026-11-01\n;\n\
                    3; 3079 16390 EXTENSION - postgis \n4; 3079 17000 EXTENSION - uuid-ossp \n\
                    5000; 0 0 COMMENT - EXTENSION postgis \n5001; 0 0 COMMENT - EXTENSION uuid-ossp \n\
                    10; 2615 18000 SCHEMA - tiger postgres\n11; 2615 18001 SCHEMA - reports dhis\n12; 2615 2200 SCHEMA - public postgres\n\
                    300; 1259 19000 TABLE public dataset dhis\n3501; 0 16400 TABLE DATA public spatial_ref_sys postgres\n\
                    3502; 0 18100 TABLE DATA tiger geocode_settings postgres\n3503; 0 19000 TABLE DATA public dataset dhis\n\
                    3504; 0 0 SEQUENCE SET topology topology_id_seq postgres\n3505; 0 0 SEQUENCE SET public hibernate_sequence dhis\n";
        let numbers: Vec<String> = of_list(list)
            .lines()
            .filter(|line| !line.starts_with(';'))
            .filter_map(|line| line.split_once("; ").map(|(number, _)| number.to_owned()))
            .collect();
        assert_eq!(numbers, ["4", "11", "300", "3503", "3505"]);
    }
}
