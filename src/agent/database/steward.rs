//! What is put right, or pointed out, in a server that has just started.

use std::path::Path;
use std::time::{Duration, Instant};

use ::postgres::{Client, Error as SqlError};

use super::roles::{self, Credentials};
use crate::agent::log::Log;
use crate::agent::paths::Paths;
use crate::agent::postgres;
use crate::layout;

/// How often a starting server is asked: it writes a log line for each question that comes too early.
const ASK: Duration = Duration::from_secs(1);

/// Runs beside the server until its roles fit the Secret; what fails is told and tried again.
pub fn look_after(paths: Paths, log: Log) {
    std::thread::spawn(move || {
        let sockets = paths.of(layout::SOCKETS);
        let start = Instant::now();
        let mut client = connect(&sockets, "postgres");
        log.info(&format!("the database answers after {} s", start.elapsed().as_secs()));
        while let Err(message) = follow(&mut client, &paths, log) {
            log.warn(&message);
            std::thread::sleep(ASK * 10);
            client = connect(&sockets, "postgres");
        }
        drop(client);
        match differences(&mut connect(&sockets, layout::DATABASE)) {
            Ok(lines) => lines.iter().for_each(|line| log.warn(line)),
            Err(error) => log.warn(&format!("compare the versions of collations and extensions: {error}")),
        }
    });
}

fn connect(sockets: &Path, database: &str) -> Client {
    loop {
        match postgres::local(sockets, database, Duration::from_secs(10)) {
            Ok(client) => return client,
            Err(_) => std::thread::sleep(ASK),
        }
    }
}

fn follow(client: &mut Client, paths: &Paths, log: Log) -> Result<(), String> {
    let told = |error: &dyn std::error::Error| format!("{error}{}", error.source().map(|source| format!(": {source}")).unwrap_or_default());
    let credentials = Credentials::read(paths).map_err(|error| told(&error))?;
    for role in roles::follow(client, &credentials).map_err(|error| told(&error))? {
        log.info(&format!("role {role} has the password of the Secret from now on"));
    }
    Ok(())
}

/// Collations or extensions that the volume was made with and the image has no longer. An index over text that was sorted by
/// another ICU can miss rows; an old PostGIS schema on a new library works, but should be updated.
fn differences(client: &mut Client) -> Result<Vec<String>, SqlError> {
    let major: i32 = client.query_one("SELECT current_setting('server_version_num')::int / 10000", &[])?.try_get(0)?;
    let mut lines = Vec::new();
    // Before 15 a database had no collation version of its own.
    if major >= 15 {
        let collations = "SELECT datcollversion, pg_database_collation_actual_version(oid) FROM pg_database
             WHERE datname = current_database() AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid)";
        for row in client.query(collations, &[])? {
            let (then, now): (Option<String>, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
            lines.push(format!(
                "the database was sorted by collation version {}, the image has {}: REINDEX the database, then ALTER DATABASE dhis2 REFRESH COLLATION VERSION",
                then.unwrap_or_default(),
                now.unwrap_or_default()
            ));
        }
    }
    let extensions = "SELECT e.extname::text, e.extversion, a.default_version FROM pg_extension e
         JOIN pg_available_extensions a ON a.name = e.extname WHERE e.extname LIKE 'postgis%' AND e.extversion <> a.default_version";
    for row in client.query(extensions, &[])? {
        let (name, then, now): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        lines.push(format!("the database has {name} {then}, the image {now}: run SELECT postgis_extensions_upgrade()"));
    }
    Ok(lines)
}
