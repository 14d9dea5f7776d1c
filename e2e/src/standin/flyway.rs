//! Schema migrations as Flyway runs them inside DHIS2: forward only, validated against `flyway_schema_history`, under an
//! advisory lock, and all pending ones in a single transaction.

use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tokio_postgres::{Client, Error, Transaction};

use super::log::Log;
use super::version::Version;

/// A migration of the tree: its number and its file.
struct Migration {
    number: (u16, u16, u16),
    script: &'static str,
    sql: &'static str,
}

macro_rules! migrations {
    ($($number:expr, $script:literal;)*) => {
        &[$(Migration {
            number: $number,
            script: concat!($script, ".sql"),
            sql: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/standin/migrations/", $script, ".sql")),
        }),*]
    };
}

/// Every migration, in order. The highest of 2.42 is the one that 2.42.4.1 ends with (observed).
const MIGRATIONS: &[Migration] = migrations! {
    (2, 30, 0), "V2_30_0__Populate_dhis2_schema_if_empty_database";
    (2, 41, 47), "V2_41_47__Add_sign_of_life_to_jobs";
    (2, 42, 1), "V2_42_1__Require_organisation_units";
    (2, 42, 47), "V2_42_47__Add_two_factor_type";
    (2, 43, 21), "V2_43_21__split_event_table";
    (2, 43, 46), "V2_43_46__Add_iso_to_period";
};

const HISTORY: &str = "create table if not exists flyway_schema_history (
    installed_rank integer primary key, version varchar(50), description varchar(200) not null, type varchar(20) not null,
    script varchar(1000) not null, checksum integer, installed_by varchar(100) not null,
    installed_on timestamp not null default now(), execution_time integer not null, success boolean not null)";

/// Flyway's magic number ("Flyway" in ASCII), which its advisory locks begin with.
const LOCK: i64 = 0x466C_7977_6179;
/// How often the lock is tried, a second apart (Flyway's default; DHIS2 leaves it).
const LOCK_TRIES: u32 = 50;

/// Why the schema is not what this version needs.
#[derive(Debug, thiserror::Error)]
pub enum FlywayError {
    /// The history holds what this version does not know.
    #[error("Validate failed: Migrations have failed validation\n{0}")]
    Invalid(String),
    /// Another server migrates.
    #[error("Unable to acquire PostgreSQL advisory lock: number of retries exceeded")]
    Locked,
    /// The database refused a statement; nothing was changed.
    #[error("Migration to version {version} failed! Changes successfully rolled back. {}", detail(.source))]
    Migrate {
        /// Number of the migration.
        version: String,
        /// What the database said.
        #[source]
        source: Error,
    },
    /// The history can't be read or written.
    #[error("access flyway_schema_history: {}", detail(.0))]
    Database(#[from] Error),
}

fn detail(error: &Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |db| format!("ERROR: {}", db.message()))
}

impl Migration {
    fn version(&self) -> String {
        let (a, b, c) = self.number;
        format!("{a}.{b}.{c}")
    }

    fn description(&self) -> String {
        let name = self.script.trim_end_matches(".sql");
        name.split_once("__").map_or(name, |(_, text)| text).replace('_', " ")
    }

    fn checksum(&self) -> i32 {
        let digest = Sha256::digest(self.sql);
        i32::from_be_bytes(*digest.first_chunk::<4>().unwrap_or(&[0; 4]))
    }
}

/// Brings the schema to `version`. `work` is spent inside the transaction, as if there were much data. Returns how many
/// migrations were done.
///
/// # Errors
/// When the history is not one that this version can go on from, or a statement fails.
pub async fn migrate(client: &mut Client, version: Version, work: Duration, log: &Log) -> Result<usize, FlywayError> {
    lock(client).await?;
    let done = migrate_locked(client, version, work, log).await;
    if !client.is_closed() {
        client.execute("select pg_advisory_unlock($1)", &[&LOCK]).await?;
    }
    done
}

async fn lock(client: &Client) -> Result<(), FlywayError> {
    for _ in 0..LOCK_TRIES {
        if client.query_one("select pg_try_advisory_lock($1)", &[&LOCK]).await?.get(0) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Err(FlywayError::Locked)
}

async fn migrate_locked(client: &mut Client, version: Version, work: Duration, log: &Log) -> Result<usize, FlywayError> {
    client.batch_execute(HISTORY).await?;
    let local: Vec<&Migration> = MIGRATIONS.iter().filter(|migration| migration.number.1 <= version.major).collect();
    let highest = validate(client, &local).await?;
    let pending: Vec<&Migration> = local.into_iter().filter(|migration| highest.is_none_or(|top| migration.number > top)).collect();
    if pending.is_empty() {
        log.info("DbMigrate", "Schema \"public\" is up to date. No migration necessary.");
        return Ok(0);
    }
    let transaction = client.transaction().await?;
    for migration in &pending {
        log.info("DbMigrate", &format!("Migrating schema \"public\" to version \"{} - {}\"", migration.version(), migration.description()));
        apply(&transaction, migration).await.map_err(|source| FlywayError::Migrate { version: migration.version(), source })?;
    }
    tokio::time::sleep(work).await;
    transaction.commit().await?;
    log.info("DbMigrate", &format!("Successfully applied {} migrations to schema \"public\"", pending.len()));
    Ok(pending.len())
}

/// The highest applied number, when all that was applied is known here. Flyway ignores `*:missing`, that is unknown numbers
/// below the highest known one, and nothing else.
async fn validate(client: &Client, local: &[&Migration]) -> Result<Option<(u16, u16, u16)>, FlywayError> {
    let rows = client
        .query(
            "select version, description, success, checksum from flyway_schema_history where version is not null order by installed_rank",
            &[],
        )
        .await?;
    let top = local.last().map(|migration| migration.number);
    let mut highest = None;
    for row in rows {
        let text: String = row.get(0);
        let number = number(&text);
        if !row.get::<_, bool>(2) {
            return Err(FlywayError::Invalid(format!("Detected failed migration to version {text} ({}).", row.get::<_, String>(1))));
        }
        let known = local.iter().find(|migration| migration.number == number);
        if known.is_none() && Some(number) > top {
            return Err(FlywayError::Invalid(format!("Detected applied migration not resolved locally: {text}.")));
        }
        if known.is_some_and(|migration| row.get::<_, Option<i32>>(3).is_some_and(|sum| sum != migration.checksum())) {
            return Err(FlywayError::Invalid(format!("Migration checksum mismatch for migration version {text}")));
        }
        highest = highest.max(Some(number));
    }
    Ok(highest)
}

fn number(text: &str) -> (u16, u16, u16) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

async fn apply(transaction: &Transaction<'_>, migration: &Migration) -> Result<(), Error> {
    let begun = Instant::now();
    transaction.batch_execute(migration.sql).await?;
    let took = i32::try_from(begun.elapsed().as_millis()).unwrap_or(i32::MAX);
    transaction
        .execute(
            "insert into flyway_schema_history
             select coalesce(max(installed_rank), 0) + 1, $1, $2, 'SQL', $3, $4, current_user, now(), $5, true from flyway_schema_history",
            &[&migration.version(), &migration.description(), &migration.script, &migration.checksum(), &took],
        )
        .await?;
    Ok(())
}
