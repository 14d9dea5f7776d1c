//! The operator as a child process, against a rig.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dhis2_operator::operator::ask;
use nix::sys::signal::Signal;

use super::process::{Process, Usage};
use super::release::Release;
use crate::site::Outcome;

/// An operator that runs. Dropped, it is killed.
#[derive(Debug)]
pub struct Operator {
    process: Process,
    address: SocketAddr,
}

/// How an operator is started.
#[derive(Clone, Debug)]
pub struct Start {
    program: PathBuf,
    kubeconfig: PathBuf,
    environment: Vec<(String, String)>,
    log: PathBuf,
}

/// How long it may take to get ready.
const LIMIT: Duration = Duration::from_secs(30);

/// The shortest time that a silent leader is waited for.
const LEASE_TTL: &str = "5";

impl Start {
    /// As the release says, under the name of this pod. A process under the name of one that was killed leads at once, as a
    /// container that is started again does; another one waits for the end of its Lease.
    pub fn new(program: &Path, release: &Release, kubeconfig: &Path, pod: &str, log: &Path) -> Self {
        let given = release.environment.iter().map(|(name, value)| (name.clone(), value.clone()));
        let start =
            Self { program: program.to_owned(), kubeconfig: kubeconfig.to_owned(), environment: given.collect(), log: log.to_owned() };
        start.with("POD_NAME", pod).with("LEASE_TTL", LEASE_TTL)
    }

    /// With another value of one of the variables that its flags are read from.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What it is called by, but for what changes from start to start.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// Starts the process, without waiting for anything.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn spawn(&self) -> Outcome<Operator> {
        let address = own_address()?;
        let started = self.clone().with("KUBECONFIG", &self.kubeconfig.to_string_lossy()).with("LISTEN", &address.to_string());
        let process = Process::start(&self.program, &["run".to_owned()], &started.environment, &self.log)?;
        Ok(Operator { process, address })
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// When it can't be started, ends, or does not get ready in time.
    pub async fn start(&self) -> Outcome<Operator> {
        let mut operator = self.spawn()?;
        operator.ready("ready").await?;
        Ok(operator)
    }
}

impl Operator {
    /// Waits until it says at `/readyz` what begins with `word`: `ready`, `ready: leading`, `ready: standing by`.
    ///
    /// # Errors
    /// When it ends or does not in time.
    pub async fn ready(&mut self, word: &str) -> Outcome {
        let begun = Instant::now();
        loop {
            let address = self.address.to_string();
            let said = tokio::task::spawn_blocking(move || ask::ready(&address)).await?;
            match said {
                Ok(said) if said.starts_with(word) => return Ok(()),
                _ if self.process.ended().is_some() => {
                    return Err(format!("the operator ended: {}", self.process.last_words()).into());
                }
                said if begun.elapsed() > LIMIT => {
                    let said = said.map_err(|error| error.to_string());
                    return Err(format!("the operator is not {word} within {} s: {said:?}", LIMIT.as_secs()).into());
                }
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Where its probes and metrics are.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it uses.
    pub fn usage(&self) -> Usage {
        self.process.usage()
    }

    /// Kills it: it has no time for anything.
    pub fn kill(mut self) {
        self.process.signal(Signal::SIGKILL);
        self.process.wait();
    }

    /// Tells it to end, and waits until it has.
    pub async fn terminate(mut self) {
        self.process.signal(Signal::SIGTERM);
        while self.process.ended().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops it where it is.
    pub fn stop(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.process.signal(Signal::SIGCONT);
    }
}

/// An address for one operator: of the thousands of ports of 127.0.0.1, any may be taken by a connection in the next moment.
fn own_address() -> std::io::Result<SocketAddr> {
    const PORT: u16 = 8080;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id() << 8;
    loop {
        let number = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        // 127.64.0.0 to 127.127.255.255.
        let address = Ipv4Addr::from_bits(0x7f40_0000 | (number & 0x003f_ffff));
        let address = SocketAddr::new(IpAddr::V4(address), PORT);
        match TcpListener::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
}
