//! What DHIS2's log says of a start that failed: the sentence of PostgreSQL or of its migrations, and no data of people.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::agent::postgres::said::without_data;

/// So much of the end of the log is read.
const TAIL: u64 = 256 << 10;
/// What a sentence of interest begins with: PostgreSQL's own errors; Flyway's (flyway-core, `FlywayMigrateException`, `DbMigrate`); the validation of
/// migrations.
const BEGINNINGS: [&str; 3] = ["ERROR: ", "Migration ", "Validate failed"];

/// The cause as the end of a sentence; where none is found, where to look.
pub fn told(log: &Path) -> String {
    match tail(log).as_deref().and_then(cause) {
        Some(cause) => format!(": {cause}"),
        None => "; its log has no error of the database: start a copy with bootstrap.fromBackup to see why".to_owned(),
    }
}

fn tail(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last sentence of PostgreSQL; without one the last of Flyway.
fn cause(log: &str) -> Option<String> {
    BEGINNINGS.iter().find_map(|beginning| log.lines().rev().find_map(|line| sentence(line, beginning)))
}

fn sentence(line: &str, beginning: &str) -> Option<String> {
    let from = line.find(beginning)?;
    let text = without_data(line.get(from..)?);
    let failed = beginning != "Migration " || text.contains("failed");
    (failed && text.len() > beginning.len()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgresqls_sentence_is_told_and_no_row() {
        let log = "\
* INFO  2026-11-29T12:00:00,000 Migrating schema \"public\" to version \"2.43.21\"
* ERROR 2026-11-29T12:00:01,000 Error creating bean with name 'flyway'
org.flywaydb.core.internal.exception.FlywayMigrateException: Migration V2_43_21__split_event_table.sql failed
Message    : ERROR: null value in column \"occurreddate\" of relation \"singleevent\" violates not-null constraint
  Detail: Failing row contains (1, Maria Silva, 1990-01-01, HIV positive).
";
        let told = cause(log).unwrap();
        assert_eq!(told, "ERROR: null value in column \"occurreddate\" of relation \"singleevent\" violates not-null constraint");
        let one_line = "Caused by: PSQLException: ERROR: duplicate key value violates unique constraint \"uk\" Detail: Key (name)=(Maria Silva) already exists.";
        assert_eq!(cause(one_line).unwrap(), "ERROR: duplicate key value violates unique constraint \"uk\"");
    }

    #[test]
    fn without_one_flyways_is() {
        let log = "x FlywayMigrateException: Migration of schema failed: x\nMigration of y was fine\nValidate failed: Migrations have failed validation\n";
        assert_eq!(cause(log).unwrap(), "Migration of schema failed: x");
        assert_eq!(
            cause("Validate failed: Migrations have failed validation").unwrap(),
            "Validate failed: Migrations have failed validation"
        );
        assert_eq!(cause("* ERROR 2026 something else\nERROR: \n"), None);
    }

    #[test]
    fn a_log_that_is_not_there_is_no_error() {
        assert!(told(Path::new("/nowhere/dhis.log")).contains("bootstrap.fromBackup"));
    }
}
