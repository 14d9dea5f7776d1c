//! `bootstrap`: waits for a fresh DHIS2 and replaces the password that the whole world knows.

mod account;
mod start;

use std::time::Duration;

use super::Ended;
use super::args::Bootstrap;
use super::dhis2::Dhis2;
use super::failure::Failure;
use super::log::Log;
use super::paths::Paths;
use super::secret;
use super::termination::Message;
use crate::dhis2::version::Version;
use crate::layout;
use crate::report::{AdminPassword, Bootstrapped, Data, Refusal};

/// A bootstrap that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A Secret can't be used.
    #[error(transparent)]
    Secret(#[from] secret::Error),
    /// The password could not be replaced.
    #[error(transparent)]
    Account(#[from] account::Error),
    /// Another version runs.
    #[error("DHIS2 {running} runs, the resource says {asked}: correct `version` or `image`")]
    Version {
        /// By its own word.
        running: String,
        /// By the resource.
        asked: Version,
    },
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Secret(error) => error.reason(),
            Self::Account(error) => error.reason(),
            Self::Version { .. } => Some(Refusal::ImageVersionMismatch),
        }
    }
}

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for DHIS2, then sees to it that admin/district is refused.
pub fn bootstrap(arguments: &Bootstrap, paths: &Paths, log: Log, reports: &Message) -> Result<Ended, Error> {
    let username = secret::read(&paths.of(layout::ADMIN_USERNAME))?;
    let password = secret::read(&paths.of(layout::ADMIN_PASSWORD))?;
    let dhis2 = Dhis2::at(&arguments.url, PATIENCE);
    let running = start::wait(&dhis2, log, reports);
    let version: Version = match running.parse() {
        Ok(version) if version == arguments.version => version,
        _ => {
            return Err(Error::Version { running, asked: arguments.version });
        }
    };
    let admin_password = account::secure(&dhis2, username.reveal(), &password, log)?;
    let message = match admin_password {
        AdminPassword::Generated => "the default password is refused, the generated one of the Secret works".to_owned(),
        AdminPassword::Foreign => "the default password is refused; the administrator's password is not the one of the Secret: people have changed it, and it is left as it is".to_owned(),
    };
    Ok((message, Some(Data::Bootstrap(Bootstrapped { version, admin_password, district_refused: true }))))
}

#[cfg(test)]
mod tests;
