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
    entries
        .extend(instance.application.secret_config.keys().enumerate().map(|(n, key)| (key.clone(), Value::Environment(secret_config(n)))));
    entries.extend(owned(instance));
    conf::write(&entries)
}

/// The environment variables that it names.
pub fn environment(instance: &Instance) -> Vec<EnvVar> {
    let mut variables = vec![secret_variable(DATABASE_PASSWORD, &instance.child("database"), "password")];
    if let EncryptionKey::Secret { name, .. } = &instance.encryption {
        variables.push(secret_variable(ENCRYPTION_PASSWORD, name, "password"));
    }
    variables.extend(of_the_user(instance, |n, _| secret_config(n)));
    variables
}

/// Variables with the values that the user keeps in Secrets; `name` makes a name of number and key.
pub fn of_the_user(instance: &Instance, name: impl Fn(usize, &str) -> String) -> Vec<EnvVar> {
    let secrets = instance.application.secret_config.iter().enumerate();
    secrets.map(|(n, (key, secret))| secret_variable(&name(n, key), &secret.secret_name, &secret.key)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::instance::SecretKey, operator::desired::fixture};

    fn lines(instance: &Instance) -> Vec<String> {
        text(instance).lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_file_of_a_plain_instance() {
        insta::assert_snapshot!(text(&fixture::plain()), @"
        analytics.table.unlogged = off
        audit.database = off
        audit.logger = on
        connection.password = ${DATABASE_PASSWORD}
        connection.pool.acquire_retry_attempts = 60
        connection.pool.acquire_retry_delay = 1000
        connection.pool.max_size = 40
        connection.url = jdbc:postgresql://play-database:5432/dhis2
        connection.username = dhis
        encryption.password = ${ENCRYPTION_PASSWORD}
        filestore.container = files
        filestore.provider = filesystem
        server.base.url = http://play.localhost
        server.https = off
        session.cookie.samesite = Lax
        system.audit.enabled = on
        ");
    }

    #[test]
    fn users_change_defaults_but_not_what_the_operator_sets() {
        let mut instance = fixture::plain();
        instance.application.config = [("audit.database", "on"), ("connection.url", "jdbc:elsewhere"), ("x", "${DATABASE_PASSWORD}")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        let lines = lines(&instance);
        assert!(lines.contains(&"audit.database = on".to_owned()));
        assert!(lines.contains(&"connection.url = jdbc:postgresql://play-database:5432/dhis2".to_owned()));
        assert!(lines.contains(&"x = $${DATABASE_PASSWORD}".to_owned()));
    }

    #[test]
    fn each_secret_value_has_its_variable() {
        let mut instance = fixture::plain();
        let secret = |name: &str| SecretKey { secret_name: name.into(), key: "value".into() };
        instance.application.secret_config =
            [("ldap.manager.password".to_owned(), secret("ldap")), ("oidc.provider.google.client_secret".to_owned(), secret("google"))]
                .into();
        let variables = environment(&instance);
        for (key, name) in [("ldap.manager.password", "ldap"), ("oidc.provider.google.client_secret", "google")] {
            let variable = variables
                .iter()
                .find(|variable| variable.value_from.as_ref().unwrap().secret_key_ref.as_ref().unwrap().name == name)
                .unwrap();
            assert!(lines(&instance).contains(&format!("{key} = ${{{}}}", variable.name)));
        }
    }

    #[test]
    fn the_default_key_is_named_nowhere() {
        let instance = Instance { encryption: EncryptionKey::Default, ..fixture::plain() };
        assert!(!text(&instance).contains("encryption.password"));
        assert_eq!(environment(&instance).len(), 1);
    }
}
