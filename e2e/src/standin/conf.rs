//! dhis.conf: a Properties file whose values (not keys) are substituted from the environment and trimmed.
//! Key names and defaults: dhis2-core's `ConfigurationKey` at 2.42, read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::properties::{self, PropertiesError};
use super::substitute::{self, Loop};

/// The configuration of one start; it is read only then.
#[derive(Clone, Debug, Default)]
pub struct Conf {
    values: BTreeMap<String, String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfError {
    /// The file can't be read: DHIS2 ends then, with exit code 0.
    #[error("read configuration file {path}: it must exist and be readable")]
    Read {
        /// `DHIS2_HOME/dhis.conf`.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is no Properties file.
    #[error("parse dhis.conf")]
    Parse(#[from] PropertiesError),
    /// A value refers to itself.
    #[error("substitute environment variables in dhis.conf")]
    Substitute(#[from] Loop),
    /// `connection.url` is no URL of JDBC's driver for `PostgreSQL`.
    #[error("connect to {0:?}: want connection.url = jdbc:postgresql://host[:port]/database")]
    Url(String),
}

impl Conf {
    /// Reads `dhis.conf` in `home`.
    ///
    /// # Errors
    /// When the file is missing or can't be parsed.
    pub fn read(home: &Path, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfError> {
        let path = home.join("dhis.conf");
        let bytes = std::fs::read(&path).map_err(|source| ConfError::Read { path, source })?;
        Self::parse(&bytes, lookup)
    }

    fn parse(bytes: &[u8], lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfError> {
        let mut values = properties::parse(bytes)?;
        for value in values.values_mut() {
            substitute::substitute(value, lookup)?.trim().clone_into(value);
        }
        Ok(Self { values })
    }

    /// The value of `key`, or "".
    pub fn get(&self, key: &str) -> &str {
        self.values.get(key).map_or("", String::as_str)
    }

    /// Whether a switch is on; booleans are `on` or `true` in any case.
    pub fn is_on(&self, key: &str, default: bool) -> bool {
        match self.get(key) {
            "" => default,
            value => value.eq_ignore_ascii_case("on") || value.eq_ignore_ascii_case("true"),
        }
    }

    /// A number, or the default when it is missing or no number.
    pub fn number(&self, key: &str, default: u64) -> u64 {
        self.get(key).parse().unwrap_or(default)
    }

    /// How often and how far apart the pool tries to connect at start: c3p0 30 times 1 ms by default.
    pub fn acquire_retry(&self) -> (u64, Duration) {
        (
            self.number("connection.pool.acquire_retry_attempts", 30),
            Duration::from_millis(self.number("connection.pool.acquire_retry_delay", 1)),
        )
    }

    /// How to reach the database.
    ///
    /// # Errors
    /// When `connection.url` is missing or not of `PostgreSQL`.
    pub fn database(&self) -> Result<tokio_postgres::Config, ConfError> {
        let url = self.get("connection.url");
        let wrong = || ConfError::Url(url.to_owned());
        let rest = url.strip_prefix("jdbc:postgresql://").ok_or_else(wrong)?;
        let (authority, path) = rest.split_once('/').ok_or_else(wrong)?;
        let database = path.split('?').next().filter(|name| !name.is_empty()).ok_or_else(wrong)?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
            None => (authority, 5432),
        };
        let mut config = tokio_postgres::Config::new();
        config
            .host(if host.is_empty() { "localhost" } else { host })
            .port(port)
            .dbname(database)
            .user(self.get("connection.username"))
            .password(self.get("connection.password"))
            .application_name("PostgreSQL JDBC Driver")
            .connect_timeout(Duration::from_secs(10));
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(text: &str) -> Conf {
        let env = |name: &str| (name == "DB_PASSWORD").then(|| r" se\cret ".to_owned());
        Conf::parse(text.as_bytes(), &env).unwrap()
    }

    #[test]
    fn values_are_substituted_and_trimmed() {
        let conf = conf("connection.password = ${DB_PASSWORD}\n${DB_PASSWORD}=x\nserver.https=ON\nconnection.username=dhis  \n");
        assert_eq!(conf.get("connection.password"), r"se\cret");
        assert_eq!(conf.get("${DB_PASSWORD}"), "x");
        assert_eq!(conf.get("connection.username"), "dhis");
        assert!(conf.is_on("server.https", false) && conf.is_on("absent", true));
    }

    #[test]
    fn the_url_names_the_database() {
        let database = |url: &str| conf(&format!("connection.url={url}")).database();
        let config = database("jdbc:postgresql://play-database:5433/dhis2?sslmode=disable").unwrap();
        assert_eq!((config.get_ports(), config.get_dbname()), (&[5433][..], Some("dhis2")));
        assert_eq!(database("jdbc:postgresql://db/dhis2").unwrap().get_ports(), &[5432]);
        for url in ["", "postgresql://db/dhis2", "jdbc:postgresql://db", "jdbc:postgresql://db:x/y"] {
            assert!(database(url).is_err(), "{url}");
        }
    }
}
