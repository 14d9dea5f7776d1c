//! Which keys `dhis.conf` holds. How they are written is told in [`crate::dhis2::conf`].

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::EnvVar;

use super::pod::secret_variable;
use crate::{
    dhis2::conf::{self, Value},
    layout,
    operator::instance::{EncryptionKey, Instance},
};

const DATABASE_PASSWORD: &str = "DATABASE_PASSWORD";
const ENCRYPTION_PASSWORD: &str = "ENCRYPTION_PASSWORD";

/// The text of `dhis.conf`: no secret is in it, only names of environment variables.
pub fn text(instance: &Instance) -> String {
    let mut entries = defaults();
    entries.extend(instance.application.config.iter().map(|(key, value)| (key.clone(), Value::Text(value.clone()))));
    entries.extend(instance.application.secret_config.keys().enumerate().map(|(n, key)| (key.clone(), Value::Environment(secret_config(n)))));
    entries.extend(owned(instance));
    conf::write(&entries)
}

/// The environment variables that it names.
pub fn environment(instance: &Instance) -> Vec<EnvVar> {
    let mut variables = vec![secret_variable(DATABASE_PASSWORD, &instance.child("database"), "password")];
    if let EncryptionKey::Secret { name, .. } = &instance.encryption {
        variables.push(secret_variable(ENCRYPTION_PASSWORD, name, "password"));
    }
    let further = instance.application.secret_config.values().enumerate();
    variables.extend(further.map(|(n, secret)| secret_variable(&secret_config(n), &secret.secret_name, &secret.key)));
    variables
}

fn secret_config(n: usize) -> String {
    format!("SECRET_CONFIG_{n}")
}

/// What the user may set otherwise. DHIS2 ignores keys that its version does not know (observed at 2.42.4.1).
fn defaults() -> BTreeMap<String, Value> {
    [
        // Unlogged tables are emptied when the database server dies (default since 2.41: on).
        ("analytics.table.unlogged", "off"),
        ("session.cookie.samesite", "Lax"),
        // The audit goes to the log, where log4j2.xml takes it up.
        ("system.audit.enabled", "on"),
        ("audit.logger", "on"),
        ("audit.database", "off"),
    ]
    .map(|(key, value)| (key.to_owned(), value.into()))
    .into()
}

/// What the operator alone sets.
fn owned(instance: &Instance) -> BTreeMap<String, Value> {
    let url = format!("jdbc:postgresql://{}:{}/{}", instance.child("database"), layout::POSTGRES_PORT, layout::DATABASE);
    let mut owned: BTreeMap<String, Value> = [
        ("connection.url", Value::Text(url)),
        ("connection.username", layout::OWNER_ROLE.into()),
        ("connection.password", Value::Environment(DATABASE_PASSWORD.into())),
        ("connection.pool.max_size", Value::Text(instance.application.pool.to_string())),
        // A database that restarts is waited for: 60 times 1000 ms instead of 30 times 1 ms (2.41 and later).
        ("connection.pool.acquire_retry_attempts", "60".into()),
        ("connection.pool.acquire_retry_delay", "1000".into()),
        ("filestore.provider", "filesystem".into()),
        ("filestore.container", "files".into()),
        ("server.base.url", Value::Text(instance.web.url())),
        ("server.https", if instance.web.https { "on" } else { "off" }.into()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    if let EncryptionKey::Secret { .. } = instance.encryption {
        owned.insert("encryption.password".into(), Value::Environment(ENCRYPTION_PASSWORD.into()));
    }
    owned
}
