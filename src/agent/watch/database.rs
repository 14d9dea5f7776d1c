//! PostgreSQL and its volume.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ::postgres::error::SqlState;

use crate::agent::database::check;
use crate::agent::failure::Failure;
use crate::agent::paths::Paths;
use crate::agent::volume;
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
    /// The volume refuses what is written to it.
    #[error(
        "write a probe file to the database volume {0}: PostgreSQL can keep nothing there; look at the volume (read-only, or a failing disk) and at the kernel's log on the node"
    )]
    Refuses(PathBuf, #[source] io::Error),
    /// It starts, recovers or stops.
    #[error(transparent)]
    Away(#[from] check::Error),
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
            Self::ReadOnly | Self::Refuses(..) => Some(Refusal::DatabaseReadOnly),
            Self::Exhausted => Some(Refusal::ConnectionsExhausted),
            Self::Hangs => Some(Refusal::DatabaseUnreachable),
            Self::Measure(_) | Self::Away(_) => None,
        }
    }
}

/// Only superusers get the last connections: when there is none left for others, this one still comes in.
const STATE: &str = "SELECT current_setting('default_transaction_read_only')::bool,
     (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())
       >= current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int";

/// Does it serve as it should?
pub fn look(paths: &Paths) -> Result<(), Error> {
    let data = paths.of(layout::DATA);
    let free = volume::space(&data)?.free;
    if free < LOW {
        return Err(Error::Full { free });
    }
    // A question is answered from memory: only a write shows a volume that refuses or hangs.
    volume::probe(&data).map_err(|error| Error::Refuses(data, error))?;
    let mut client = check::serving(&paths.of(layout::SOCKETS), layout::DATABASE, CONNECT).map_err(refused)?;
    let row = client.query_one(STATE, &[]).map_err(check::Error::Ask)?;
    let is = |column: usize| row.try_get::<_, bool>(column).map_err(check::Error::Ask);
    match (is(0)?, is(1)?) {
        (true, _) => Err(Error::ReadOnly),
        (_, true) => Err(Error::Exhausted),
        _ => Ok(()),
    }
}

fn refused(error: check::Error) -> Error {
    match error {
        check::Error::Connect(error) if error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS) => Error::Exhausted,
        error => Error::Away(error),
    }
}
