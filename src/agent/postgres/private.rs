//! A PostgreSQL that nobody else can reach: no network, its socket in a directory of its own.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ::postgres::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::lock_file;
use super::programs::Programs;
use crate::agent::failure::Failure;
use crate::agent::program;
use crate::layout;

/// How long a server may take until it answers: crash recovery of a volume that is taken over included.
const START: Duration = Duration::from_hours(1);
/// How often a starting server is asked.
const ASK: Duration = Duration::from_millis(50);

/// A private server that does not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No directory for its socket.
    #[error("make the directory {0} for the private server's socket")]
    MakeDirectory(PathBuf, #[source] io::Error),
    /// The program did not start.
    #[error("start the private server")]
    Start(#[source] io::Error),
    /// It ended while it was waited for.
    #[error("start the private server: it ended: {0}")]
    Ended(String),
    /// It does not answer.
    #[error("connect to the private server")]
    Connect(#[source] ::postgres::Error),
    /// It did not stop.
    #[error("stop the private server")]
    Stop(#[source] io::Error),
}

impl Failure for Error {}

/// A running private server. Dropped without [`Server::stop`], it is stopped all the same: a volume that is refused must not need
/// a recovery afterwards.
#[derive(Debug)]
pub struct Server {
    process: Child,
    directory: PathBuf,
}

/// Whether a crash of the machine may cost the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing is lost by a crash.
    Kept,
    /// A directory that is thrown away after a crash, and synchronised as a whole at the end.
    AtTheEnd,
}

impl Server {
    /// Starts a server on the data directory and waits until it answers.
    pub fn start(programs: &Programs, pgdata: &Path, durability: Durability) -> Result<Self, Error> {
        let directory = std::env::temp_dir().join(format!("dhis2-private-{}", std::process::id()));
        let prepare = || -> io::Result<fs::File> {
            if directory.exists() {
                fs::remove_dir_all(&directory)?;
            }
            fs::DirBuilder::new().mode(0o700).create(&directory)?;
            // Only this user can enter the directory: the socket needs no further proof.
            fs::write(directory.join("pg_hba.conf"), "local all all trust\n")?;
            fs::File::create(directory.join("log"))
        };
        let log = prepare().map_err(|error| Error::MakeDirectory(directory.clone(), error))?;
        lock_file::clear(&lock_file::of_data(pgdata)).map_err(Error::Start)?;
        let mut command = programs.command("postgres");
        arguments(&mut command, pgdata, &directory, durability);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().map_err(Error::Start)?;
        let mut server = Self { process, directory };
        server.await_answer()?;
        Ok(server)
    }

    /// Where its socket is.
    pub fn host(&self) -> &Path {
        &self.directory
    }

    /// Connects as superuser.
    pub fn connect(&self, database: &str) -> Result<Client, Error> {
        self.connect_as(layout::SUPERUSER, database)
    }

    /// Connects as `role`.
    pub fn connect_as(&self, role: &str, database: &str) -> Result<Client, Error> {
        super::local_as(role, &self.directory, database, Duration::from_secs(10)).map_err(Error::Connect)
    }

    /// Stops it, ending open sessions, and waits until its files are complete.
    pub fn stop(mut self) -> Result<(), Error> {
        self.signal(Signal::SIGINT).map_err(Error::Stop)?;
        let status = self.process.wait().map_err(Error::Stop)?;
        if status.success() { Ok(()) } else { Err(Error::Ended(self.last_words())) }
    }

    fn await_answer(&mut self) -> Result<(), Error> {
        let start = Instant::now();
        loop {
            let Err(error) = self.connect("postgres") else {
                return Ok(());
            };
            if self.process.try_wait().map_err(Error::Start)?.is_some() {
                return Err(Error::Ended(self.last_words()));
            }
            if start.elapsed() > START {
                return Err(error);
            }
            std::thread::sleep(ASK);
        }
    }

    fn last_words(&self) -> String {
        program::last_lines(&fs::read_to_string(self.directory.join("log")).unwrap_or_default())
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.process.id()).map_err(io::Error::other)?;
        kill(Pid::from_raw(pid), signal).map_err(io::Error::from)
    }
}

fn arguments(command: &mut Command, pgdata: &Path, directory: &Path, durability: Durability) {
    let setting = |name: &str, value: &str| format!("--{name}={value}");
    let directory_text = directory.to_string_lossy();
    command.arg("-D").arg(pgdata);
    command.arg(setting("listen_addresses", "")).arg(setting("unix_socket_directories", &directory_text));
    command.arg(setting("hba_file", &format!("{directory_text}/pg_hba.conf")));
    // Enough for a whole DHIS2 schema in one transaction (observed: 3871 locks).
    command.arg(setting("max_locks_per_transaction", "256")).arg(setting("max_connections", "20"));
    command.arg(setting("logging_collector", "off")).arg(setting("log_destination", "stderr"));
    // Indexes are made by several processes, and a container's /dev/shm has 64 MiB.
    command.arg(setting("dynamic_shared_memory_type", "mmap"));
    if durability == Durability::AtTheEnd {
        command.arg(setting("fsync", "off")).arg(setting("full_page_writes", "off")).arg(setting("autovacuum", "off"));
        command.arg(setting("maintenance_work_mem", "256MB")).arg(setting("max_wal_size", "128MB"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = self.signal(Signal::SIGINT);
            let _ = self.process.wait();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}
