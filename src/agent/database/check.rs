//! `database check`: the probe of the database container. Cheap, bounded, by the local socket.

use std::path::Path;
use std::time::Duration;

use ::postgres::{Client, Error as SqlError};

use crate::agent::Ended;
use crate::agent::failure::Failure;
use crate::agent::paths::Paths;
use crate::agent::postgres;
use crate::layout;

/// Kubernetes ends a probe after its own time limit without a word; this one ends first and says why.
const TIMEOUT: Duration = Duration::from_secs(4);

/// A database that does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection.
    #[error("connect to the database")]
    Connect(#[source] SqlError),
    /// No answer.
    #[error("ask the database")]
    Ask(#[source] SqlError),
    /// It does not take writes.
    #[error("the database is recovering and takes no writes yet")]
    Recovering,
    /// It took too long.
    #[error("the database has not answered within 4 s")]
    Late,
}

impl Failure for Error {}

/// Asks the database.
pub fn check(paths: &Paths) -> Result<Ended, Error> {
    let sockets = paths.of(layout::SOCKETS);
    let (answer, answered) = std::sync::mpsc::channel();
    // A frozen server accepts connections and never answers: only a clock outside the session ends that.
    std::thread::spawn(move || answer.send(ask(&sockets)));
    answered.recv_timeout(TIMEOUT).unwrap_or(Err(Error::Late))?;
    Ok(("the database answers".to_owned(), None))
}

fn ask(sockets: &Path) -> Result<(), Error> {
    serving(sockets, "postgres", TIMEOUT).map(drop)
}

/// A session of a database that takes writes, made within this time.
pub fn serving(sockets: &Path, database: &str, within: Duration) -> Result<Client, Error> {
    let mut client = postgres::local(sockets, database, within).map_err(Error::Connect)?;
    let row = client.query_one("SELECT pg_is_in_recovery()", &[]).map_err(Error::Ask)?;
    if row.try_get(0).map_err(Error::Ask)? { Err(Error::Recovering) } else { Ok(client) }
}
