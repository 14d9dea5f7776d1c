//! The database at one moment: one read-only transaction, whose snapshot the dump uses as well, so that what is counted here is
//! what the dump holds.

use std::collections::BTreeMap;
use std::fmt::Write;

use ::postgres::fallible_iterator::FallibleIterator;
use ::postgres::{Client, Error as SqlError};

use super::manifest::Contents;
use crate::agent::postgres::identity::{self, Identity};
use crate::agent::postgres::{identifier, literal};
use crate::dhis2::derived::Family;

/// Tables that are small, change rarely and hurt when they are damaged: they are compared by content, all others by rows.
const SUMMED: [&str; 16] = [
    "categorycombo",
    "categoryoption",
    "constant",
    "dataelement",
    "dataset",
    "indicator",
    "optionset",
    "organisationunit",
    "program",
    "programrule",
    "programstage",
    "systemsetting",
    "trackedentityattribute",
    "trackedentitytype",
    "userinfo",
    "userrole",
];

/// For so long a change of a table is waited for, as `pg_dump` does: DHIS2 may be migrating.
pub const LOCK_WAIT: &str = "60s";

/// A transaction that sees the database as it is at one moment.
pub struct Moment {
    client: Client,
    /// The name under which others can see the same.
    pub snapshot: String,
    /// When it is, RFC 3339.
    pub time: String,
}

/// What the server and the database are.
pub struct Facts {
    /// Whose the database is, if it says so.
    pub identity: Option<Identity>,
    /// Which database system it is; a restore makes another one.
    pub system_identifier: String,
    /// The newest schema version of DHIS2.
    pub schema: Option<String>,
    /// PostgreSQL's version.
    pub version: String,
    /// PostgreSQL's major version.
    pub major: u32,
    /// Extensions and their versions.
    pub extensions: BTreeMap<String, String>,
    /// Size of the database in bytes.
    pub bytes: u64,
    /// Size of the tables whose data is in the dump, with their indexes, in bytes.
    pub dumped_bytes: u64,
    /// What the write-ahead log may take beside it (`max_wal_size`), in bytes.
    pub wal_bytes: u64,
}

impl Moment {
    /// Begins it. No time limit of the server applies to it: a dump takes as long as it takes.
    pub fn begin(mut client: Client) -> Result<Self, SqlError> {
        prepare(&mut client)?;
        client.batch_execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        let row = client.query_one("SELECT pg_export_snapshot(), to_char(now(), 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')", &[])?;
        Ok(Self { snapshot: row.try_get(0)?, time: row.try_get(1)?, client })
    }

    /// The newest schema version of DHIS2.
    fn schema(&mut self) -> Result<Option<String>, SqlError> {
        identity::newest_schema(&mut self.client)
    }

    /// What the server and the database are; `derived` is not dumped.
    pub fn facts(&mut self, derived: &[Family]) -> Result<Facts, SqlError> {
        let statement = "SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000,
                                pg_database_size(current_database()), pg_size_bytes(current_setting('max_wal_size')),
                                (SELECT system_identifier::text FROM pg_control_system())";
        let row = self.client.query_one(statement, &[])?;
        let wal_bytes: i64 = row.try_get(3)?;
        let (version, major, bytes): (String, i32, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let extensions = self.client.query("SELECT extname::text, extversion FROM pg_extension", &[])?;
        let sizes = format!(
            "SELECT coalesce(sum(pg_total_relation_size(format('%I.%I', t.schema, t.name)::regclass)), 0)::bigint FROM ({}) t (schema, name)",
            dumped_tables(derived)
        );
        let dumped_bytes: i64 = self.client.query_one(&sizes, &[])?.try_get(0)?;
        Ok(Facts {
            dumped_bytes: u64::try_from(dumped_bytes).unwrap_or_default(),
            wal_bytes: u64::try_from(wal_bytes).unwrap_or_default(),
            identity: identity::read(&mut self.client)?,
            system_identifier: row.try_get(4)?,
            schema: self.schema()?,
            version: version.split(' ').next().unwrap_or_default().to_owned(),
            major: u32::try_from(major).unwrap_or_default(),
            extensions: extensions.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, SqlError>>()?,
            bytes: u64::try_from(bytes).unwrap_or_default(),
        })
    }

    /// The views that need a table of the `derived` families, by themselves or through others: schema and name.
    pub fn views_of(&mut self, derived: &[Family]) -> Result<Vec<(String, String)>, SqlError> {
        let families: Vec<String> = derived.iter().map(|family| format!("c.relname ~ {}", literal(family.regex))).collect();
        let statement = format!(
            "WITH RECURSIVE needed AS (
                 SELECT c.oid, false AS is_view FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND ({})
                 UNION
                 SELECT r.ev_class, true FROM needed JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = needed.oid
                     AND d.classid = 'pg_rewrite'::regclass
                 JOIN pg_rewrite r ON r.oid = d.objid AND r.ev_class <> needed.oid)
             SELECT DISTINCT n.nspname::text, c.relname::text FROM needed JOIN pg_class c ON c.oid = needed.oid
             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE needed.is_view AND c.relkind IN ('v', 'm') ORDER BY 1, 2",
            families.join(" OR ")
        );
        self.client.query(&statement, &[])?.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// Holds the tables that are dumped as they are, to the end: `pg_dump` does it for its own time only, and what waits for its end, as a
    /// `TRUNCATE`, would come before they are counted.
    pub fn lock(&mut self, derived: &[Family]) -> Result<(), SqlError> {
        let tables = self.client.query(&dumped_tables(derived), &[])?;
        let names = tables.iter().map(|row| {
            let (schema, table): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            Ok(format!("{}.{}", identifier(&schema), identifier(&table)))
        });
        let names = names.collect::<Result<Vec<_>, SqlError>>()?;
        if names.is_empty() {
            return Ok(());
        }
        self.client.batch_execute(&format!(
            "SET LOCAL lock_timeout = '{LOCK_WAIT}'; LOCK TABLE ONLY {} IN ACCESS SHARE MODE",
            names.join(", ONLY ")
        ))
    }

    /// Counts every table whose data is in a dump without the `derived` families, and sums the content of some.
    pub fn contents(&mut self, derived: &[Family]) -> Result<Contents, SqlError> {
        contents(&mut self.client, derived)
    }

    /// Calls `missing` with every storage key of `fileresource` that `stored` denies; returns the number of rows.
    pub fn references(&mut self, stored: impl Fn(&str) -> bool, mut missing: impl FnMut(String)) -> Result<u64, SqlError> {
        let known: bool = self.client.query_one("SELECT to_regclass('public.fileresource') IS NOT NULL", &[])?.try_get(0)?;
        let mut count = 0;
        if known {
            let none: [&str; 0] = [];
            let mut rows = self.client.query_raw("SELECT storagekey::text FROM public.fileresource WHERE storagekey IS NOT NULL", none)?;
            while let Some(row) = rows.next()? {
                count += 1;
                let key: String = row.try_get(0)?;
                if !stored(&key) {
                    missing(key);
                }
            }
        }
        Ok(count)
    }
}

/// Has a session write values as all others do, and take its time.
fn prepare(client: &mut Client) -> Result<(), SqlError> {
    client.batch_execute(
        "SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0; SET TimeZone = 'UTC'; SET DateStyle = 'ISO';
         SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'",
    )
}

/// What a database that nobody else changes holds, and its newest schema version of DHIS2. Table by table: one transaction would lock all
/// of them with their indexes, and there may be more than the server has room for.
pub fn of_restored(client: &mut Client) -> Result<(Contents, Option<String>), SqlError> {
    prepare(client)?;
    // Also what is not in the dump: where it is there, it has to be empty.
    Ok((contents(client, &[])?, identity::newest_schema(client)?))
}

fn contents(client: &mut Client, derived: &[Family]) -> Result<Contents, SqlError> {
    let mut contents = Contents::default();
    for row in client.query(&dumped_tables(derived), &[])? {
        let (schema, table): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let name = format!("{}.{}", identifier(&schema), identifier(&table));
        // ONLY: the rows of an inheriting table are counted as that table's.
        let rows: i64 = client.query_one(&format!("SELECT count(*) FROM ONLY {name}"), &[])?.try_get(0)?;
        contents.rows.insert(format!("{schema}.{table}"), u64::try_from(rows).unwrap_or_default());
        if schema == "public" && SUMMED.contains(&table.as_str()) {
            let sum = format!("SELECT coalesce(md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))), '') FROM {name} t");
            contents.sums.insert(table, client.query_one(&sum, &[])?.try_get(0)?);
        }
    }
    Ok(contents)
}

/// Ordinary tables outside PostgreSQL's, extensions' and our own schemas and families.
fn dumped_tables(derived: &[Family]) -> String {
    let mut left_out = String::new();
    for family in derived {
        let _ = write!(left_out, " AND NOT (n.nspname = 'public' AND c.relname ~ {})", literal(family.regex));
    }
    format!(
        "SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname NOT IN ('information_schema', '{}') AND n.nspname !~ '^pg_'
           AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'){left_out}
         ORDER BY 1, 2",
        identity::SCHEMA
    )
}
