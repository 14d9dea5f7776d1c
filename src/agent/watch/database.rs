//! PostgreSQL and its volume.

use std::time::Duration;

use ::postgres::Error as SqlError;
use ::postgres::error::SqlState;

use crate::agent::failure::Failure;
use crate::agent::paths::Paths;
use crate::agent::{postgres, volume};
use crate::layout;
use crate::report::Refusal;

/// With less room than this, in bytes, it is told: four segments of the write-ahead log. PostgreSQL writes on until the last one.
const LOW: u64 = 64 << 20;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(4);

/// A database that does not serve as it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The volume can't be measured.
    #[error(transparent)]
    Measure(#[from] volume::Error),
    /// No room.
    #[error(
        "the database volume is full but for {} MiB: raise spec.database.bundled.storage.size; without room PostgreSQL stops, and waits until there is some", free >> 20
    )]
    Full {
        /// What is free, in bytes.
        free: u64,
    },
    /// No connection: it starts, recovers or stops.
    #[error("connect to the database")]
    Connect(#[source] SqlError),
    /// No answer.
    #[error("ask the database")]
    Ask(#[source] SqlError),
    /// A copy, or one that still recovers.
    #[error("the database is recovering and takes no writes yet")]
    Recovering,
    /// It takes no writes.
    #[error(
        "the database is read-only (default_transaction_read_only is on): DHIS2 refuses every change; find out who set it and why, then ALTER DATABASE or ALTER SYSTEM … RESET default_transaction_read_only"
    )]
    ReadOnly,
    /// It takes no more connections.
    #[error("the database has no connection left: see who holds them in pg_stat_activity, and end what does not belong there")]
    Exhausted,
    /// No answer in time.
    #[error("PostgreSQL runs and does not answer: it is frozen, or what its volume is stored on hangs; look at the node and its storage")]
    Hangs,
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Full { .. } => Some(Refusal::DiskFull),
            Self::ReadOnly => Some(Refusal::DatabaseReadOnly),
            Self::Exhausted => Some(Refusal::ConnectionsExhausted),
            Self::Hangs => Some(Refusal::DatabaseUnreachable),
            Self::Measure(_) | Self::Connect(_) | Self::Ask(_) | Self::Recovering => None,
        }
    }
}

/// Only superusers get the last connections: when there is none left for others, this one still comes in.
const STATE: &str = "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool,
     (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())
       >= current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int";

/// Does it serve as it should?
pub fn look(paths: &Paths) -> Result<(), Error> {
    let free = volume::space(&paths.of(layout::DATA))?.free;
    if free < LOW {
        return Err(Error::Full { free });
    }
    let mut client = postgres::local(&paths.of(layout::SOCKETS), layout::DATABASE, CONNECT).map_err(refused)?;
    let row = client.query_one(STATE, &[]).map_err(Error::Ask)?;
    let is = |column: usize| row.try_get::<_, bool>(column).map_err(Error::Ask);
    match (is(0)?, is(1)?, is(2)?) {
        (true, ..) => Err(Error::Recovering),
        (_, true, _) => Err(Error::ReadOnly),
        (.., true) => Err(Error::Exhausted),
        _ => Ok(()),
    }
}

fn refused(error: SqlError) -> Error {
    if error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS) { Error::Exhausted } else { Error::Connect(error) }
}
