//! `check`: decides whether DHIS2 may start. Runs in DHIS2's own image, before it.

mod database;
pub mod files;
mod image;
mod space;
mod values;

use super::Ended;
use super::args::Check;
use super::failure::Failure;
use super::log::Log;
use super::paths::Paths;
use super::postgres::{identity, reach};
use super::secret;
use super::termination::Message;
use crate::layout;
use crate::report::{Checked, Data, Refusal};

/// Why DHIS2 may not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image is not the right one.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// A value is no text.
    #[error(transparent)]
    Value(#[from] values::Error),
    /// A Secret can't be used.
    #[error(transparent)]
    Secret(#[from] secret::Error),
    /// The database does not let us in.
    #[error(transparent)]
    Reach(#[from] reach::Error),
    /// The database is not the right one.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// A migration may find no room.
    #[error(transparent)]
    Space(#[from] space::Error),
    /// The file store is not writable.
    #[error(transparent)]
    Files(#[from] files::Error),
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Image(error) => error.reason(),
            Self::Value(error) => error.reason(),
            Self::Secret(error) => error.reason(),
            Self::Reach(error) => error.reason(),
            Self::Database(error) => error.reason(),
            Self::Space(error) => error.reason(),
            Self::Files(error) => error.reason(),
        }
    }
}

/// Looks at everything that DHIS2 would start with, and notes the version that is about to start; or only looks whether it could.
pub fn check(arguments: &Check, paths: &Paths, log: Log, reports: &Message) -> Result<Ended, Error> {
    let version = arguments.version;
    image::holds(&paths.of(layout::DHIS2_LIBRARIES), version)?;
    if !arguments.only {
        values::are_text(std::env::vars_os())?;
        files::writable(&paths.of(layout::FILES))?;
    }
    let user = secret::read(&paths.of(layout::DATABASE_USERNAME))?;
    let password = secret::read(&paths.of(layout::DATABASE_PASSWORD))?;
    let key = secret::read_optional(&paths.of(layout::ENCRYPTION_PASSWORD))?;
    let mut client = reach::wait(&arguments.database, user.reveal(), &password, log, reports)?;
    let found = database::fits(&mut client, &arguments.instance, key.as_ref(), version)?;
    arguments.volume_bytes.map_or(Ok(()), |volume| space::suffices(&mut client, volume, &found, version))?;
    if !arguments.only {
        identity::write_last_started(&mut client, version).map_err(database::Error::Write)?;
    }
    let message = format!("DHIS2 {version} may start");
    Ok((message, Some(Data::Check(Checked { version, last_started: found.last_started, schema: found.schema }))))
}
