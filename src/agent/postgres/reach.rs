//! Reaches the instance's database over the network, waiting for one that is still starting.

use std::time::{Duration, Instant};

use ::postgres::error::SqlState;
use ::postgres::{Client, Error as SqlError};

use crate::agent::args::DatabaseAddress;
use crate::agent::failure::Failure;
use crate::agent::log::Log;
use crate::agent::secret;
use crate::agent::termination::Message;
use crate::report::Refusal;

/// How often a database that does not answer is asked again.
const ASK: Duration = Duration::from_secs(1);
/// The server may be taking over a new password at this moment: a refusal counts when it is repeated this often …
const PASSWORD_TRIES: u32 = 3;
/// … at this distance.
const PASSWORD_PAUSE: Duration = Duration::from_secs(2);

/// A database that does not let us in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It did not answer.
    #[error("connect to the database at {host} within {patience} s: see the pod of the database and its log")]
    Unreachable {
        /// Where.
        host: String,
        /// For how long, in seconds.
        patience: u64,
        /// The last error.
        #[source]
        source: SqlError,
    },
    /// It refuses the password.
    #[error("log in to the database at {0}: it refuses the password of the Secret; the server takes over a changed one when it starts")]
    Password(String, #[source] SqlError),
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        Some(match self {
            Self::Unreachable { .. } => Refusal::DatabaseUnreachable,
            Self::Password(..) => Refusal::DatabasePasswordRefused,
        })
    }
}

/// Connects as `user`.
pub fn wait(address: &DatabaseAddress, user: &str, password: &secret::Value, log: Log, reports: &Message) -> Result<Client, Error> {
    let start = Instant::now();
    let patience = Duration::from_secs(address.patience);
    let mut refused = 0;
    let mut told = false;
    loop {
        let error = match super::remote(&address.host, address.port, user, password) {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        if is_refusal(&error) {
            refused += 1;
            if refused >= PASSWORD_TRIES {
                return Err(Error::Password(address.host.clone(), error));
            }
            std::thread::sleep(PASSWORD_PAUSE);
            continue;
        }
        if start.elapsed() >= patience {
            return Err(Error::Unreachable { host: address.host.clone(), patience: address.patience, source: error });
        }
        if !told {
            reports.waiting(&format!("waiting for the database at {}:{}", address.host, address.port), log);
            told = true;
        }
        std::thread::sleep(ASK);
    }
}

fn is_refusal(error: &SqlError) -> bool {
    let refusals = [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION];
    error.code().is_some_and(|code| refusals.contains(code))
}
