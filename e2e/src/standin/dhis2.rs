//! What a started server holds.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::State;
use jiff::civil::DateTime;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio_postgres::{Client, Error};

use super::accounts::Accounts;
use super::analytics::Runs;
use super::conf::Conf;
use super::heap::{Heap, Held};
use super::log::Log;
use super::pool::{Lease, Pool};
use super::sessions::Sessions;
use super::settings::Settings;
use super::timing::Timing;
use super::version::Version;

/// A server that has started, shared by all its requests.
pub struct Dhis2 {
    /// The version it plays.
    pub version: Version,
    /// `DHIS2_HOME`.
    pub home: PathBuf,
    /// Where uploads are received: Tomcat's `temp`.
    pub temp: PathBuf,
    /// dhis.conf as it was at start.
    pub conf: Conf,
    /// "" or "/sub".
    pub context_path: String,
    /// How long things take.
    pub timing: Timing,
    /// Where it logs.
    pub log: Log,
    /// The connections to its database.
    pub pool: Arc<Pool>,
    /// Its memory.
    pub heap: Heap,
    /// Users it has seen.
    pub accounts: Accounts,
    /// Cookies it has given out.
    pub sessions: Sessions,
    /// System settings, cached.
    pub settings: Settings,
    /// A connection that is only looked at.
    pub watched: Watched,
    /// Runs of analytics.
    pub runs: Runs,
    /// When it was started.
    pub since: DateTime,
    /// Memory that stays in use as long as it runs.
    pub base: Held,
}

/// How handlers take the server.
pub type Shared = State<Arc<Dhis2>>;

impl Dhis2 {
    /// A connection of the pool.
    ///
    /// # Errors
    /// When one is needed and can't be made.
    pub async fn client(&self) -> Result<Lease, Error> {
        self.pool.get().await
    }

    /// The folder of the file store.
    pub fn files(&self) -> PathBuf {
        let container = self.conf.get("filestore.container");
        self.home.join(if container.is_empty() { Path::new("files") } else { Path::new(container) })
    }
}

/// A connection that requests for cached data touch without using: gone when the database is down, there when it is frozen.
#[derive(Default)]
pub struct Watched {
    client: tokio::sync::Mutex<Option<Client>>,
}

impl Watched {
    /// Succeeds while the database has not closed the connection, or lets a new one be made.
    ///
    /// # Errors
    /// When there is no connection and none can be made.
    pub async fn touch(&self, pool: &Pool) -> Result<(), Error> {
        let mut client = self.client.lock().await;
        if client.as_ref().is_none_or(Client::is_closed) {
            *client = Some(pool.connect().await?);
        }
        Ok(())
    }
}

const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const ALPHANUMERIC: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// A new identifier as DHIS2 makes them: a letter and ten letters or digits.
pub fn uid() -> String {
    pick(LETTERS, 1) + &pick(ALPHANUMERIC, 10)
}

/// A secret of `length` letters and digits.
pub fn token(length: usize) -> String {
    pick(ALPHANUMERIC, length)
}

/// A name for a stored file.
pub fn uuid() -> String {
    [8, 4, 4, 4, 12].map(|length| pick(b"0123456789abcdef", length)).join("-")
}

fn pick(from: &[u8], length: usize) -> String {
    let mut bytes = vec![0_u8; length];
    // The kernel's generator fails only on systems without one; the names would then collide and be refused.
    let _ = SystemRandom::new().fill(&mut bytes);
    bytes.iter().filter_map(|byte| from.get(usize::from(*byte) % from.len())).map(|byte| char::from(*byte)).collect()
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
