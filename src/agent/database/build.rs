//! `database build`: makes a database volume, or confirms that it has been made, or takes over one that was left behind.

use std::time::Duration;

use ::postgres::Error as SqlError;

use super::{create, finish, mark, roles};
use crate::agent::Ended;
use crate::agent::args::Build;
use crate::agent::failure::Failure;
use crate::agent::log::Log;
use crate::agent::paths::Paths;
use crate::agent::postgres::identity;
use crate::agent::postgres::private::{self, Durability, Server};
use crate::agent::postgres::programs::{self, Programs};
use crate::agent::{secret, volume};
use crate::layout;
use crate::report::{Built, Data, Refusal};

/// A second build Job, started because the first one's node was lost, waits this long for the first one's lock.
const LOCK_PATIENCE: Duration = Duration::from_mins(1);

/// A build that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The volume is not what it should be.
    #[error(transparent)]
    Mark(#[from] mark::Error),
    /// The volume can't be used.
    #[error(transparent)]
    Volume(#[from] volume::Error),
    /// A Secret can't be used.
    #[error(transparent)]
    Secret(#[from] secret::Error),
    /// No PostgreSQL.
    #[error(transparent)]
    Programs(#[from] programs::Error),
    /// The private server does not work.
    #[error(transparent)]
    Private(#[from] private::Error),
    /// Making the database failed.
    #[error(transparent)]
    Create(#[from] create::Error),
    /// The passwords could not be set.
    #[error(transparent)]
    Roles(#[from] roles::Error),
    /// The volume was built with another major version.
    #[error("the volume holds PostgreSQL {found}, the resource asks for {asked}: set database.bundled.version back to {found}")]
    OtherMajor {
        /// Of the volume.
        found: u32,
        /// Of the resource.
        asked: u32,
    },
    /// The database that is to be taken over does not know whose it is.
    #[error("take over the database: it has no schema dhis2_operator; this operator did not make it")]
    NoIdentity,
    /// The database that is to be taken over could not be read or changed.
    #[error("take over the database")]
    Adopt(#[source] SqlError),
    /// The encryption key is another one.
    #[error("take over the database: it was made with another encryption key than the one in the Secret; put the original Secret back")]
    Key,
    /// It could not be brought to its end.
    #[error(transparent)]
    Finish(#[from] finish::Error),
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Mark(error) => error.reason(),
            Self::Programs(error) => error.reason(),
            Self::Create(error) => error.reason(),
            Self::Finish(error) => error.reason(),
            Self::OtherMajor { .. } => Some(Refusal::PostgresVersionMismatch),
            Self::NoIdentity => Some(Refusal::VolumeDamaged),
            Self::Key => Some(Refusal::EncryptionKeyMismatch),
            Self::Volume(_) | Self::Secret(_) | Self::Private(_) | Self::Roles(_) | Self::Adopt(_) => None,
        }
    }
}

/// Makes or confirms the volume.
pub fn build(arguments: &Build, paths: &Paths, log: Log) -> Result<Ended, Error> {
    let _lock = volume::lock(&paths.of(layout::DATA_LOCK), LOCK_PATIENCE)?;
    let mark = match mark::read(paths)? {
        Some(mark) => confirm(mark, arguments, paths, log)?,
        None => make(arguments, paths, log)?,
    };
    let message = format!("the database volume of {} is finished: PostgreSQL {}, built at {}", mark.name, mark.postgresql, mark.built_at);
    let built =
        Built { instance: mark.instance, postgresql: mark.postgresql, system_identifier: mark.system_identifier, built_at: mark.built_at };
    Ok((message, Some(Data::DatabaseBuild(built))))
}

fn confirm(mark: mark::Mark, arguments: &Build, paths: &Paths, log: Log) -> Result<mark::Mark, Error> {
    mark::whole(paths, &mark)?;
    if mark.postgresql != arguments.postgresql {
        return Err(Error::OtherMajor { found: mark.postgresql, asked: arguments.postgresql });
    }
    if mark.instance == arguments.instance {
        return Ok(mark);
    }
    if !arguments.adopt {
        return Err(mark::foreign(mark, &arguments.instance).into());
    }
    log.info(&format!("taking over the volume of {} (instance {})", mark.name, mark.instance));
    adopt(mark, arguments, paths, log)
}

/// Takes over a volume whose instance is gone. The mark changes last: a run that was killed before is simply repeated.
fn adopt(mark: mark::Mark, arguments: &Build, paths: &Paths, log: Log) -> Result<mark::Mark, Error> {
    let credentials = roles::Credentials::read(paths)?;
    let key = secret::read_optional(&paths.of(layout::ENCRYPTION_PASSWORD))?;
    let programs = Programs::find(mark.postgresql)?;
    let server = Server::start(&programs, &paths.of(layout::PGDATA), Durability::Kept)?;
    let mut client = server.connect(layout::DATABASE)?;
    let found = identity::read(&mut client).map_err(Error::Adopt)?.ok_or(Error::NoIdentity)?;
    if !found.key.fits(key.as_ref()) {
        return Err(Error::Key);
    }
    for role in roles::follow(&mut client, &credentials)? {
        log.info(&format!("role {role} has the password of the Secret from now on"));
    }
    identity::write_instance(&mut client, &arguments.instance).map_err(Error::Adopt)?;
    drop(client);
    server.stop()?;
    let mark = mark::Mark { instance: arguments.instance.clone(), name: arguments.name.clone(), ..mark };
    mark::write(paths, &mark)?;
    Ok(mark)
}

/// Makes a new database beside its final place.
fn make(arguments: &Build, paths: &Paths, log: Log) -> Result<mark::Mark, Error> {
    let programs = Programs::find(arguments.postgresql)?;
    if let Some(prepared) = finish::begun(&programs, paths, &arguments.instance)? {
        return Ok(mark::finish(paths, prepared)?);
    }
    // An empty database in the place of one that is being restored would look like a loss of everything.
    if paths.of(layout::RESTORE_NOTE).exists() {
        return Err(mark::unmarked(paths).into());
    }
    finish::clear(paths, log)?;
    let building = paths.of(layout::PGDATA_BUILDING);
    let credentials = roles::Credentials::read(paths)?;
    let key = secret::read_optional(&paths.of(layout::ENCRYPTION_PASSWORD))?;
    create::create(
        &programs,
        &building,
        &create::Contents { instance: &arguments.instance, credentials: &credentials, key: key.as_ref() },
        log,
    )?;
    let mark = mark::Mark {
        format: mark::FORMAT,
        instance: arguments.instance.clone(),
        name: arguments.name.clone(),
        postgresql: arguments.postgresql,
        system_identifier: create::system_identifier(&programs, &building)?,
        built_at: format!("{:.0}", jiff::Timestamp::now()),
        source: mark::Source::Empty,
    };
    finish::name(paths, &mark)?;
    Ok(mark::finish(paths, mark)?)
}
