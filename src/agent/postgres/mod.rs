//! PostgreSQL as the agent needs it: its programs, a private server, connections, roles, and what the database remembers.

pub mod identity;
pub mod lock_file;
pub mod private;
pub mod programs;
pub mod reach;
pub mod said;
pub mod scram;

use std::path::Path;
use std::time::Duration;

use ::postgres::{Client, Config, NoTls};

use super::secret;
use crate::layout;

/// How the agent's sessions show in `pg_stat_activity`.
const APPLICATION: &str = "dhis2-agent";

/// Connects as superuser by the local socket in `directory`.
pub fn local(directory: &Path, database: &str, timeout: Duration) -> Result<Client, ::postgres::Error> {
    local_as(layout::SUPERUSER, directory, database, timeout)
}

/// What names mean for a superuser: never what the owner of the database has put in their place, or set for the database.
const ONLY_SYSTEM: &str = "-c search_path=pg_catalog,pg_temp";

/// Connects as `role` by the local socket in `directory`.
pub fn local_as(role: &str, directory: &Path, database: &str, timeout: Duration) -> Result<Client, ::postgres::Error> {
    let mut config = Config::new();
    config.host_path(directory).user(role).dbname(database);
    if role == layout::SUPERUSER {
        config.options(ONLY_SYSTEM);
    }
    config.connect_timeout(timeout).application_name(APPLICATION).connect(NoTls)
}

/// Connects to the instance's database over the network.
pub fn remote(host: &str, port: u16, user: &str, password: &secret::Value) -> Result<Client, ::postgres::Error> {
    let mut config = Config::new();
    config.host(host).port(port).user(user).password(password.reveal()).dbname(layout::DATABASE);
    config.connect_timeout(Duration::from_secs(5)).tcp_user_timeout(Duration::from_secs(30));
    config.application_name(APPLICATION).connect(NoTls)
}

/// Quotes a name for use in SQL.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a text for use in SQL, where a statement takes no parameters.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
