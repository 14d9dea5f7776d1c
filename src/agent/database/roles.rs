//! The roles of a database and their passwords, which follow the Secret.

use ::postgres::{Error as SqlError, GenericClient};

use crate::agent::failure::Failure;
use crate::agent::paths::Paths;
use crate::agent::postgres::{identifier, literal, scram};
use crate::agent::secret;
use crate::layout;

/// The credentials of the Secret `-database`.
#[derive(Debug)]
pub struct Credentials {
    /// What DHIS2 connects as.
    pub owner: String,
    owner_password: secret::Value,
    backup_password: secret::Value,
}

/// Roles that could not be looked at or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading failed.
    #[error("read the roles of the database")]
    Read(#[source] SqlError),
    /// Changing failed.
    #[error("set the password of role {0}")]
    SetPassword(String, #[source] SqlError),
}

impl Failure for Error {}

impl Credentials {
    /// Reads them from where they are mounted.
    pub fn read(paths: &Paths) -> Result<Self, secret::Error> {
        Ok(Self {
            owner: secret::read(&paths.of(layout::DATABASE_USERNAME))?.reveal().to_owned(),
            owner_password: secret::read(&paths.of(layout::DATABASE_PASSWORD))?,
            backup_password: secret::read(&paths.of(layout::DATABASE_BACKUP_PASSWORD))?,
        })
    }

    /// Of another place than the mounted Secret.
    pub fn of(owner: &str, owner_password: &str, backup_password: &str) -> Self {
        let value = |text: &str| secret::Value::new(text);
        Self { owner: owner.to_owned(), owner_password: value(owner_password), backup_password: value(backup_password) }
    }

    fn pairs(&self) -> [(&str, &secret::Value); 2] {
        [(&self.owner, &self.owner_password), (layout::BACKUP_ROLE, &self.backup_password)]
    }
}

/// Creates both roles. The backup's reads everything. Large objects, which an import may bring, are no part of `pg_read_all_data`
/// (PostgreSQL 15–17: `pg_dump` ends with "permission denied for large object"): without the check of their privileges it reads those that
/// come later as well. It could write them, too; who has its password has the owner's in the same Secret.
pub fn create(client: &mut impl GenericClient, credentials: &Credentials) -> Result<(), SqlError> {
    for (role, password) in credentials.pairs() {
        let verifier = literal(&scram::verifier(password));
        client.batch_execute(&format!("CREATE ROLE {} LOGIN PASSWORD {verifier}", identifier(role)))?;
    }
    let backup = layout::BACKUP_ROLE;
    client.batch_execute(&format!("GRANT pg_read_all_data TO {backup}; ALTER ROLE {backup} SET lo_compat_privileges = on"))
}

/// Sets the passwords that differ from the Secret, and returns whose they were. Writes nothing when all fit.
pub fn follow(client: &mut impl GenericClient, credentials: &Credentials) -> Result<Vec<String>, Error> {
    let mut changed = Vec::new();
    for (role, password) in credentials.pairs() {
        let row = client.query_opt("SELECT rolpassword FROM pg_authid WHERE rolname = $1", &[&role]).map_err(Error::Read)?;
        let stored: Option<String> = row.map(|row| row.try_get(0)).transpose().map_err(Error::Read)?.flatten();
        if stored.is_some_and(|stored| scram::fits(password, &stored)) {
            continue;
        }
        let verifier = literal(&scram::verifier(password));
        let set = client.batch_execute(&format!("ALTER ROLE {} PASSWORD {verifier}", identifier(role)));
        set.map_err(|error| Error::SetPassword(role.to_owned(), error))?;
        changed.push(role.to_owned());
    }
    Ok(changed)
}
