//! Makes a new, empty database for DHIS2 in a directory of its own.

use std::path::Path;

use ::postgres::error::SqlState;
use ::postgres::{Client, Error as SqlError};

use super::roles::{self, Credentials};
use crate::agent::digest::{self, KeyDigest};
use crate::agent::failure::Failure;
use crate::agent::log::Log;
use crate::agent::postgres::identifier;
use crate::agent::postgres::identity::{self, Identity};
use crate::agent::postgres::private::{self, Durability, Server};
use crate::agent::postgres::programs::Programs;
use crate::agent::{program, secret};
use crate::layout;
use crate::report::Refusal;

/// What DHIS2 asks for at every start and refuses to live without (dhis2-core 2.38–2.44, `HibernateDatabaseInfoProvider`).
/// `postgis` can be made by a superuser only.
pub const EXTENSIONS: [&str; 3] = ["postgis", "pg_trgm", "btree_gin"];

/// A database that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program failed.
    #[error("make the data directory")]
    Program(#[source] program::Error),
    /// The private server does not work.
    #[error(transparent)]
    Private(#[from] private::Error),
    /// A statement failed.
    #[error("set up the database: {0}")]
    Sql(&'static str, #[source] SqlError),
    /// The image lacks an extension.
    #[error("create the extension {0}: the PostgreSQL image does not have it; use one with PostGIS, such as docker.io/postgis/postgis")]
    Extension(String, #[source] SqlError),
    /// No randomness.
    #[error("draw a salt from the operating system")]
    Salt(#[source] getrandom::Error),
    /// `pg_controldata` said something else than expected.
    #[error("find the system identifier in what pg_controldata says")]
    NoIdentifier,
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        let full = || super::says_full(&crate::agent::failure::told(self)).then_some(Refusal::DiskFull);
        match self {
            Self::Extension(..) => Some(Refusal::ExtensionMissing),
            Self::Program(_) | Self::Private(_) | Self::Sql(..) => full(),
            Self::Salt(_) | Self::NoIdentifier => None,
        }
    }
}

/// What the new database is given.
pub struct Contents<'a> {
    /// Uid of its instance.
    pub instance: &'a str,
    /// Its roles.
    pub credentials: &'a Credentials,
    /// The encryption key; none is DHIS2's built-in one.
    pub key: Option<&'a secret::Value>,
}

/// Makes roles, database and extensions in `directory`, which does not exist yet. The server runs on; nothing is on disk for sure.
pub fn begin(programs: &Programs, directory: &Path, credentials: &Credentials, log: Log) -> Result<Server, Error> {
    log.info("making the data directory");
    initialise(programs, directory)?;
    log.info("making roles, database and extensions");
    let server = Server::start(programs, directory, Durability::AtTheEnd)?;
    database(&mut server.connect("postgres")?, credentials)?;
    extensions(&mut server.connect(layout::DATABASE)?, EXTENSIONS)?;
    Ok(server)
}

/// Makes the database in `directory`, which does not exist yet. When it returns, everything is on disk.
pub fn create(programs: &Programs, directory: &Path, contents: &Contents<'_>, log: Log) -> Result<(), Error> {
    let server = begin(programs, directory, contents.credentials, log)?;
    mark(&mut server.connect(layout::DATABASE)?, contents)?;
    server.stop()?;
    to_disk(programs, directory, log)
}

/// Brings a data directory to disk that was made without.
pub fn to_disk(programs: &Programs, directory: &Path, log: Log) -> Result<(), Error> {
    log.info("writing everything to disk");
    program::run(programs.command("initdb").arg("--sync-only").arg("-D").arg(directory)).map(drop).map_err(Error::Program)
}

/// ICU's root collation sorts every language the same on every C library; only character classes come from the C library, whose
/// `C.UTF-8` knows them for all of Unicode. Images without that locale get `C`.
fn initialise(programs: &Programs, directory: &Path) -> Result<(), Error> {
    let initdb = |locale: &str| {
        let mut command = programs.command("initdb");
        command.arg("-D").arg(directory).arg("--no-sync").arg("--data-checksums");
        command.args(["--encoding=UTF8", "--locale-provider=icu", "--icu-locale=und"]).arg(format!("--locale={locale}"));
        command.args(["--auth-local=peer", "--auth-host=scram-sha-256"]).arg(format!("--username={}", layout::SUPERUSER));
        program::run(&mut command).map(drop)
    };
    match initdb("C.UTF-8") {
        Err(program::Error::Ended { said, .. }) if said.contains("invalid locale") => initdb("C"),
        other => other,
    }
    .map_err(Error::Program)
}

fn database(client: &mut Client, credentials: &Credentials) -> Result<(), Error> {
    roles::create(client, credentials).map_err(|error| Error::Sql("create the roles", error))?;
    let (database, owner, backup) = (layout::DATABASE, identifier(&credentials.owner), layout::BACKUP_ROLE);
    client.batch_execute(&format!("CREATE DATABASE {database} OWNER {owner}")).map_err(|error| Error::Sql("create the database", error))?;
    // The owner needs no grant; nobody else but the backup role has business in any database.
    let grants = format!(
        "REVOKE ALL ON DATABASE {database}, postgres, template1 FROM PUBLIC;
         GRANT CONNECT ON DATABASE {database} TO {backup}"
    );
    client.batch_execute(&grants).map_err(|error| Error::Sql("grant access", error))
}

/// Makes extensions that are not there yet, as superuser, with those that they need.
pub fn extensions<'a>(client: &mut Client, names: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
    for extension in names {
        // Where they are not at home in a schema of their own.
        let create =
            format!("SET search_path = public; CREATE EXTENSION IF NOT EXISTS {} CASCADE; RESET search_path", identifier(extension));
        client.batch_execute(&create).map_err(|error| match error.code() {
            Some(code) if [SqlState::UNDEFINED_FILE, SqlState::FEATURE_NOT_SUPPORTED].contains(code) => {
                Error::Extension(extension.to_owned(), error)
            }
            _ => Error::Sql("create the extensions", error),
        })?;
    }
    Ok(())
}

fn mark(client: &mut Client, contents: &Contents<'_>) -> Result<(), Error> {
    let key = KeyDigest::of(contents.key, digest::salt().map_err(Error::Salt)?);
    let identity = Identity { instance: contents.instance.to_owned(), key, last_started: None };
    remember(client, &contents.credentials.owner, &identity)
}

/// Makes the database know whose it is.
pub fn remember(client: &mut Client, owner: &str, identity: &Identity) -> Result<(), Error> {
    let failed = |error| Error::Sql("write whose the database is", error);
    identity::create(client, owner).map_err(failed)?;
    identity::write(client, identity).map_err(failed)
}

/// A dump has no statistics. Until autovacuum comes round to every table, PostgreSQL would plan DHIS2's queries as if it knew nothing of
/// their size: the first hour after a restore, when everybody looks, would be the slowest. Returns the size of the database in bytes.
pub fn analyse(client: &mut Client, log: Log) -> Result<u64, Error> {
    log.info("gathering PostgreSQL's statistics");
    client.batch_execute("ANALYZE").map_err(|error| Error::Sql("gather statistics", error))?;
    let size = client.query_one("SELECT pg_database_size(current_database())", &[]).and_then(|row| row.try_get::<_, i64>(0));
    let bytes = u64::try_from(size.map_err(|error| Error::Sql("measure it", error))?).unwrap_or_default();
    log.info(&format!("the database has {bytes} bytes"));
    Ok(bytes)
}

/// PostgreSQL's own identifier of a data directory, whether a server runs on it or not.
pub fn system_identifier(programs: &Programs, directory: &Path) -> Result<String, Error> {
    let output = program::run(programs.command("pg_controldata").arg("-D").arg(directory)).map_err(Error::Program)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("Database system identifier:"));
    line.map(|identifier| identifier.trim().to_owned()).ok_or(Error::NoIdentifier)
}
