//! The connection pool. It behaves as c3p0 with DHIS2's settings wherever that can be told from outside: a connection that
//! died while idle is handed out once more and fails its request; the pool recovers by itself.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error, NoTls};

/// Connections to one database.
pub struct Pool {
    config: Config,
    idle: Mutex<Vec<Client>>,
    permits: Arc<Semaphore>,
    tested: bool,
}

/// A connection on loan.
pub struct Lease {
    client: Option<Client>,
    pool: Arc<Pool>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Pool {
    /// At most `max` connections. `tested`: dead ones are thrown away before they are handed out (`HikariCP`, from 2.43 on).
    pub fn new(config: Config, max: u64, tested: bool) -> Arc<Self> {
        let permits = usize::try_from(max).unwrap_or(80).clamp(1, 1000);
        Arc::new(Self { config, idle: Mutex::default(), permits: Arc::new(Semaphore::new(permits)), tested })
    }

    /// A connection of its own, outside the pool.
    ///
    /// # Errors
    /// When the database refuses or can't be reached.
    pub async fn connect(&self) -> Result<Client, Error> {
        let (client, connection) = self.config.connect(NoTls).await?;
        // Its error reaches whoever asks next: the client knows that it is closed.
        tokio::spawn(connection);
        Ok(client)
    }

    /// An idle connection or a new one; waits while all are on loan.
    ///
    /// # Errors
    /// When a new connection is needed and can't be made.
    pub async fn get(self: &Arc<Self>) -> Result<Lease, Error> {
        // The semaphore is never closed; without a permit the connection would just not count.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        let client = match self.take_idle() {
            Some(client) => client,
            None => self.connect().await?,
        };
        Ok(Lease { client: Some(client), pool: Arc::clone(self), _permit: permit })
    }

    /// Opens `count` connections ahead of the first requests.
    ///
    /// # Errors
    /// When one can't be made.
    pub async fn fill(&self, count: usize) -> Result<(), Error> {
        for _ in 0..count {
            let client = self.connect().await?;
            self.idle().push(client);
        }
        Ok(())
    }

    /// Connections waiting for work, and those at work.
    pub fn figures(&self, max: usize) -> (usize, usize) {
        (self.idle().len(), max.saturating_sub(self.permits.available_permits()))
    }

    fn take_idle(&self) -> Option<Client> {
        let mut idle = self.idle();
        if self.tested {
            idle.retain(|client| !client.is_closed());
        }
        idle.pop()
    }

    fn give_back(&self, client: Client) {
        let mut idle = self.idle();
        if client.is_closed() {
            idle.retain(|client| !client.is_closed());
        } else {
            idle.push(client);
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Client>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the server takes no more connections.
pub fn is_exhausted(error: &Error) -> bool {
    error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS)
}

/// Whether the database can only be read.
pub fn is_read_only(error: &Error) -> bool {
    error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            self.pool.give_back(client);
        }
    }
}

impl Deref for Lease {
    type Target = Client;

    #[allow(clippy::expect_used, reason = "the client is taken only when the lease is dropped")]
    fn deref(&self) -> &Client {
        self.client.as_ref().expect("a lease holds its client until it is dropped")
    }
}

impl DerefMut for Lease {
    #[allow(clippy::expect_used, reason = "the client is taken only when the lease is dropped")]
    fn deref_mut(&mut self) -> &mut Client {
        self.client.as_mut().expect("a lease holds its client until it is dropped")
    }
}
