//! The start: configuration, database, schema, first administrator, settings. Each failure is logged as DHIS2 does and
//! leaves the process alive without a web application, or ends it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_postgres::{Client, Error};

use super::accounts::{self, Accounts};
use super::analytics::Runs;
use super::conf::{Conf, ConfError};
use super::dhis2::{self, Dhis2, Watched};
use super::files;
use super::flyway::{self, FlywayError};
use super::heap::{Heap, OutOfMemory};
use super::java::Options;
use super::log::{self, Log};
use super::pool::Pool;
use super::refusal::Refusal;
use super::sessions::Sessions;
use super::settings::Settings;
use super::timing::Timing;
use super::version::Version;

/// What a process is given.
pub struct Given {
    /// `DHIS2_HOME`.
    pub home: PathBuf,
    /// `CATALINA_HOME`.
    pub catalina_home: PathBuf,
    /// From the name of a file below `CATALINA_HOME`.
    pub version: Version,
    /// Of the JVM.
    pub options: Options,
    /// How long things take.
    pub timing: Timing,
    /// Memory that a started server needs before any request, in bytes.
    pub heap_base: u64,
    /// When the process began.
    pub begun: Instant,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// DHIS2 ends the process, with code 0.
    #[error("java.lang.IllegalStateException: DHIS2 home directory {home} is not writable")]
    Home {
        /// `DHIS2_HOME`.
        home: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// dhis.conf is missing or wrong.
    #[error("java.lang.IllegalStateException: {0}")]
    Conf(#[from] ConfError),
    /// The heap is too small.
    #[error(transparent)]
    Memory(#[from] OutOfMemory),
    /// The database can't be reached, or refuses.
    #[error("java.sql.SQLException: Connections could not be acquired from the underlying database! {0}")]
    Connect(#[source] Error),
    /// The schema is not what this version needs.
    #[error("org.flywaydb.core.api.FlywayException: {0}")]
    Flyway(#[from] FlywayError),
    /// Extensions that can't be made by DHIS2 itself.
    #[error("java.lang.IllegalStateException: The following PostgreSQL extensions are missing: {0}")]
    Extensions(String),
    /// A statement failed.
    #[error("org.postgresql.util.PSQLException: {0}")]
    Database(#[from] Error),
    /// The administrator's password can't be hashed.
    #[error("hash the first password: {0:?}")]
    Hash(Refusal),
}

impl StartError {
    /// Whether DHIS2 ends the process instead of leaving it without a web application.
    pub fn ends_process(&self) -> bool {
        matches!(self, Self::Home { .. } | Self::Conf(ConfError::Read { .. }))
    }
}

/// Starts; takes as long as such a start takes.
///
/// # Errors
/// When the server can't start; the time that DHIS2 needs to find out has then passed.
pub async fn start(given: &Given, log: &Log) -> Result<Arc<Dhis2>, StartError> {
    match begin(given, log).await {
        Ok(dhis2) => Ok(dhis2),
        Err(error) => {
            log.error(ROUTINES, &log::chain(&error));
            let share = if error.ends_process() { 0.5 } else { 1.0 };
            sleep_until(given.begun + given.timing.fail.mul_f64(share)).await;
            Err(error)
        }
    }
}

async fn begin(given: &Given, log: &Log) -> Result<Arc<Dhis2>, StartError> {
    let conf = configure(&given.home, log)?;
    let heap = Heap::new(given.options.heap_max, given.options.exits_without_heap);
    let base = heap.hold(given.heap_base)?;
    let max = conf.number("connection.pool.max_size", 80);
    let pool = Pool::new(conf.database()?, max, given.version.major >= 43);
    let mut client = connect(&pool, &conf).await?;
    prepare_database(&mut client, given, log).await?;
    let password = conf.get("encryption.password");
    let settings = Settings::read(&client, password, log).await?;
    pool.fill(4).await?;
    let dhis2 = Arc::new(Dhis2 {
        version: given.version,
        home: given.home.clone(),
        temp: given.catalina_home.join("temp"),
        context_path: given.options.context_path.clone().unwrap_or_default(),
        timing: given.timing,
        log: log.clone(),
        accounts: Accounts::default(),
        sessions: Sessions::default(),
        watched: Watched::default(),
        runs: Runs::default(),
        since: log::now(),
        base,
        conf,
        pool,
        heap,
        settings,
    });
    files::make_icons(&mut client, &dhis2.files(), log).await?;
    log.info(ROUTINES, "All startup routines done (DefaultStartupRoutineExecutor...)");
    Ok(dhis2)
}

const ROUTINES: &str = "DefaultStartupRoutineExecutor";

/// dhis.conf of a home that can be written.
fn configure(home: &Path, log: &Log) -> Result<Conf, StartError> {
    let probe = home.join(".standin-write-test");
    std::fs::write(&probe, "")
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(|source| StartError::Home { home: home.to_owned(), source })?;
    let conf = Conf::read(home, &|name| std::env::var(name).ok())?;
    let loaded = format!("File {} was loaded", home.join("dhis.conf").display());
    log.info("DefaultDhisConfigurationProvider", &loaded);
    Ok(conf)
}

/// Extensions, schema, first rows. Takes the time of the whole start.
async fn prepare_database(client: &mut Client, given: &Given, log: &Log) -> Result<(), StartError> {
    prepare_extensions(client).await;
    let migrated = flyway::migrate(client, given.version, given.timing.migrate, log).await?;
    refuse_missing_extensions(client).await?;
    // Two first starts at once both find no user; the second then dies on a duplicate key (observed).
    let user = client.query_opt("select 1 from userinfo limit 1", &[]).await?;
    let migrating = if migrated > 0 { given.timing.migrate } else { Duration::ZERO };
    sleep_until(given.begun + given.timing.start + migrating).await;
    if user.is_none() { populate(client).await } else { Ok(()) }
}

/// The first connection, tried as often as the pool is told to.
async fn connect(pool: &Pool, conf: &Conf) -> Result<Client, StartError> {
    let (attempts, delay) = conf.acquire_retry();
    let mut attempt = 1;
    loop {
        match pool.connect().await {
            Ok(client) => return Ok(client),
            Err(error) if attempt >= attempts => return Err(StartError::Connect(error)),
            Err(_) => tokio::time::sleep(delay).await,
        }
        attempt += 1;
    }
}

const EXTENSIONS: [&str; 3] = ["postgis", "pg_trgm", "btree_gin"];

/// Makes what is missing, as far as the role may: `pg_trgm` and `btree_gin` need only the owner of the database, postgis a
/// superuser. Failures show later.
async fn prepare_extensions(client: &Client) {
    for name in EXTENSIONS {
        let _ = client.batch_execute(&format!("create extension if not exists {name}")).await;
    }
}

async fn refuse_missing_extensions(client: &Client) -> Result<(), StartError> {
    let rows = client.query("select extname::text from pg_extension", &[]).await?;
    let present: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let missing: Vec<&str> = EXTENSIONS.into_iter().filter(|name| !present.iter().any(|other| other == name)).collect();
    if missing.is_empty() { Ok(()) } else { Err(StartError::Extensions(missing.join(", "))) }
}

/// What DHIS2 puts into an empty schema: admin with the password district, defaults, jobs.
async fn populate(client: &mut Client) -> Result<(), StartError> {
    let hash = accounts::hash("district").await.map_err(StartError::Hash)?;
    let transaction = client.transaction().await?;
    transaction.batch_execute(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/standin/first-start.sql"))).await?;
    transaction.execute("insert into configuration values (1, $1)", &[&dhis2::uuid()]).await?;
    transaction
        .execute(
            "insert into userinfo (userinfoid, uid, username, password, passwordlastupdated, firstname, surname)
             values (50, 'M5zQapPyTZI', 'admin', $1, now(), 'admin', 'admin')",
            &[&hash],
        )
        .await?;
    transaction.batch_execute("insert into userrolemembers values (50, 51)").await?;
    transaction.commit().await?;
    Ok(())
}
