//! Whether the database is there, is the right one, and may be used by this DHIS2.

use ::postgres::{Client, Error as SqlError};

use crate::agent::database::create::EXTENSIONS;
use crate::agent::failure::Failure;
use crate::agent::postgres::identity;
use crate::agent::secret;
use crate::dhis2::version::{self, Version};
use crate::report::Refusal;

/// A database that DHIS2 may not start on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading failed.
    #[error("read from the database")]
    Read(#[source] SqlError),
    /// Writing failed.
    #[error("note the version in the database")]
    Write(#[source] SqlError),
    /// It does not know whose it is.
    #[error("the database does not say whose it is: the table dhis2_operator.instance is missing or incomplete")]
    Unmarked,
    /// It belongs to another instance.
    #[error("the database belongs to instance {0}, not to this one")]
    Foreign(String),
    /// The key is another one.
    #[error(
        "the database was made with another encryption key than the one in the Secret: DHIS2 would read encrypted values as empty; put the original Secret back"
    )]
    Key,
    /// It lacks an extension.
    #[error("the database lacks the extension {0}, which DHIS2 needs: as superuser, CREATE EXTENSION {0}")]
    Extension(&'static str),
    /// It is newer than this DHIS2.
    #[error(
        "the database has been used by DHIS2 {used}, {asked} is older: DHIS2 can't go back; set `version` to {used} or later, or restore a backup"
    )]
    Downgrade {
        /// What it was used by.
        used: String,
        /// What is to start.
        asked: Version,
    },
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Read(_) | Self::Write(_) => None,
            Self::Unmarked => Some(Refusal::VolumeUnmarked),
            Self::Foreign(_) => Some(Refusal::VolumeForeign),
            Self::Key => Some(Refusal::EncryptionKeyMismatch),
            Self::Extension(_) => Some(Refusal::ExtensionMissing),
            Self::Downgrade { .. } => Some(Refusal::DowngradeRefused),
        }
    }
}

/// What a fitting database holds.
pub struct Found {
    /// The version that was started on it before.
    pub last_started: Option<Version>,
    /// The newest schema version.
    pub schema: Option<String>,
}

/// Whether this instance's DHIS2 of version `asked`, with `key`, may start on the database.
pub fn fits(client: &mut Client, instance: &str, key: Option<&secret::Value>, asked: Version) -> Result<Found, Error> {
    let identity = identity::read(client).map_err(Error::Read)?.ok_or(Error::Unmarked)?;
    if identity.instance != instance {
        return Err(Error::Foreign(identity.instance));
    }
    if !identity.key.fits(key) {
        return Err(Error::Key);
    }
    let rows = client.query("SELECT extname::text FROM pg_extension", &[]).map_err(Error::Read)?;
    let present: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(Error::Read)?;
    if let Some(missing) = EXTENSIONS.into_iter().find(|extension| !present.iter().any(|name| name == extension)) {
        return Err(Error::Extension(missing));
    }
    let schema = identity::newest_schema(client).map_err(Error::Read)?;
    match version::newer(identity.last_started, schema.as_deref(), asked) {
        Some(used) => Err(Error::Downgrade { used, asked }),
        None => Ok(Found { last_started: identity.last_started, schema }),
    }
}
