//! What a database remembers about itself, in a schema of our own: whose it is, which encryption key it was made with, and the
//! newest DHIS2 that was started on it.

use ::postgres::{Error as SqlError, GenericClient};

use crate::agent::digest::KeyDigest;
use crate::dhis2::version::Version;
use crate::layout;

/// The schema, left out of every dump: a restored database gets its own.
pub const SCHEMA: &str = "dhis2_operator";

const INSTANCE: &str = "instance";
const SALT: &str = "encryptionSalt";
const DIGEST: &str = "encryptionDigest";
const LAST_STARTED: &str = "lastStarted";

/// The memory of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Uid of the instance that it belongs to.
    pub instance: String,
    /// Digest of the encryption key that it was made with.
    pub key: KeyDigest,
    /// The newest DHIS2 that was started on it.
    pub last_started: Option<Version>,
}

/// Makes the schema. `owner` may keep it up to date, but not drop it.
pub fn create(client: &mut impl GenericClient, owner: &str) -> Result<(), SqlError> {
    let owner = super::identifier(owner);
    let backup = layout::BACKUP_ROLE;
    client.batch_execute(&format!(
        "CREATE SCHEMA {SCHEMA};
         CREATE TABLE {SCHEMA}.instance (key text PRIMARY KEY, value text NOT NULL);
         GRANT USAGE ON SCHEMA {SCHEMA} TO {owner}, {backup};
         GRANT SELECT, INSERT, UPDATE ON {SCHEMA}.instance TO {owner};
         GRANT SELECT ON {SCHEMA}.instance TO {backup};"
    ))
}

/// Reads it. `None` when the schema is not there or incomplete.
pub fn read(client: &mut impl GenericClient) -> Result<Option<Identity>, SqlError> {
    // Asked first: a failed query would end the transaction of whoever asks.
    let there: bool = client.query_one(&format!("SELECT to_regclass('{SCHEMA}.instance') IS NOT NULL"), &[])?.try_get(0)?;
    if !there {
        return Ok(None);
    }
    let rows = client.query(&format!("SELECT key, value FROM {SCHEMA}.instance"), &[])?;
    let pairs: Vec<(String, String)> = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, SqlError>>()?;
    let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    Ok((|| {
        let key = KeyDigest { salt: value(SALT)?, digest: value(DIGEST)? };
        Some(Identity { instance: value(INSTANCE)?, key, last_started: value(LAST_STARTED).and_then(|text| text.parse().ok()) })
    })())
}

/// Writes all of it.
pub fn write(client: &mut impl GenericClient, identity: &Identity) -> Result<(), SqlError> {
    set(client, INSTANCE, &identity.instance)?;
    set(client, SALT, &identity.key.salt)?;
    set(client, DIGEST, &identity.key.digest)?;
    identity.last_started.map_or(Ok(()), |version| write_last_started(client, version))
}

/// Writes the version that is about to be started.
pub fn write_last_started(client: &mut impl GenericClient, version: Version) -> Result<(), SqlError> {
    set(client, LAST_STARTED, &version.to_string())
}

/// Writes whose the database is from now on.
pub fn write_instance(client: &mut impl GenericClient, instance: &str) -> Result<(), SqlError> {
    set(client, INSTANCE, instance)
}

fn set(client: &mut impl GenericClient, key: &str, value: &str) -> Result<(), SqlError> {
    let statement = format!("INSERT INTO {SCHEMA}.instance VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value");
    client.execute(&statement, &[&key, &value]).map(drop)
}

/// The newest version in DHIS2's own list of migrations; `None` before its first start. The list is in the order of running, and
/// DHIS2 tolerates late ones, so versions are compared by number.
pub fn newest_schema(client: &mut impl GenericClient) -> Result<Option<String>, SqlError> {
    let known: bool = client.query_one("SELECT to_regclass('public.flyway_schema_history') IS NOT NULL", &[])?.try_get(0)?;
    if !known {
        return Ok(None);
    }
    let newest = "SELECT version::text FROM public.flyway_schema_history WHERE version ~ '^[0-9]+([.][0-9]+)*$'
         ORDER BY string_to_array(version, '.')::int[] DESC LIMIT 1";
    client.query_opt(newest, &[])?.map(|row| row.try_get(0)).transpose()
}
