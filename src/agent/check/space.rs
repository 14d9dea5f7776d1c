//! Whether the volume of the database has room for what a migration writes.

use ::postgres::{Client, Error as SqlError};

use super::database::Found;
use crate::agent::failure::Failure;
use crate::dhis2::migrations;
use crate::dhis2::version::{Line, Version};
use crate::report::Refusal;

/// What the database takes, and what PostgreSQL's log may.
const USED: &str = "SELECT pg_database_size(current_database()), pg_size_bytes(current_setting('max_wal_size'))";
/// The largest of these tables, with its indexes.
const LARGEST: &str = "SELECT relname::text, pg_total_relation_size(oid) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname = ANY($1)
    ORDER BY pg_total_relation_size(oid) DESC LIMIT 1";

/// A volume on which a migration may not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Asking failed.
    #[error("ask for the sizes of the tables")]
    Read(#[source] SqlError),
    /// There is too little.
    #[error(
        "the migration to {asked} copies the table {table}, which takes {} MiB: with PostgreSQL's log that is {} MiB, and {} MiB of the volume of the database are free; raise spec.database.bundled.storage.size to {}Gi", .size >> 20, .needed >> 20, .free >> 20, .enough
    )]
    Short {
        /// The version that is to start.
        asked: Version,
        /// The table.
        table: String,
        /// What it takes.
        size: u64,
        /// What a copy takes, in bytes.
        needed: u64,
        /// What is free.
        free: u64,
        /// A size that would do, in Gi.
        enough: u64,
    },
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Read(_) => None,
            Self::Short { .. } => Some(Refusal::VolumeTooSmall),
        }
    }
}

/// Whether a volume of this size takes a second copy of the table that the migrations of this database to the version copy.
pub fn suffices(client: &mut Client, volume: u64, found: &Found, asked: Version) -> Result<(), Error> {
    let line = found.schema.as_deref().and_then(Line::of_schema).or(found.last_started.map(Version::line));
    let copied = migrations::copied(line, asked);
    let bytes = |row: &::postgres::Row, at: usize| row.try_get::<_, i64>(at).map(|bytes| u64::try_from(bytes).unwrap_or(0));
    let row = client.query_one(USED, &[]).map_err(Error::Read)?;
    let (used, log) = (bytes(&row, 0).map_err(Error::Read)?, bytes(&row, 1).map_err(Error::Read)?);
    let Some(row) = client.query_opt(LARGEST, &[&copied]).map_err(Error::Read)? else { return Ok(()) };
    let (table, size) = (row.try_get(0).map_err(Error::Read)?, bytes(&row, 1).map_err(Error::Read)?);
    let (needed, free) = (size + log, volume.saturating_sub(used));
    if needed <= free { Ok(()) } else { Err(Error::Short { asked, table, size, needed, free, enough: (used + needed).div_ceil(1 << 30) }) }
}
