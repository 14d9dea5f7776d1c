//! The first process of a cluster's namespaces: sets them up, then keeps the cluster's programs running.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{dup2_stdout, sethostname};

use super::certificates::{self, ADMIN, Keys};
use super::components::{self, Component};
use super::network::{self, Doors};
use super::state::{Place, Ports};
use super::{files, mounts};

/// A program that ends at once would otherwise be started thousands of times a second.
const PAUSE: Duration = Duration::from_millis(500);

/// Why the namespaces could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its network.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// Its mounts.
    #[error(transparent)]
    Mounts(#[from] mounts::Error),
    /// Its keys.
    #[error(transparent)]
    Keys(#[from] certificates::Error),
    /// A file.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// A call to the kernel.
    #[error("{action}")]
    Kernel {
        /// The step.
        action: &'static str,
        /// The cause.
        source: nix::Error,
    },
    /// Who started this process does not listen.
    #[error("tell the ports")]
    Tell(#[source] io::Error),
    /// A program.
    #[error("start {name}")]
    Start {
        /// Its name.
        name: &'static str,
        /// The cause.
        source: io::Error,
    },
}

fn failed(action: &'static str) -> impl Fn(nix::Error) -> Error {
    move |source| Error::Kernel { action, source }
}

/// Sets up the namespaces, tells the ports on standard output, and runs the programs for ever.
pub fn init(place: &Place, ports: Ports, fsync: bool) -> Result<(), Error> {
    let doors = Doors::open(ports)?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(failed("make a network namespace"))?;
    sethostname(network::NODE).map_err(failed("set the host name"))?;
    mounts::make(place)?;
    network::make()?;
    let keys = Keys::ensure(&place.folder.join("keys"))?;
    components::configure(&keys)?;
    tell(doors.ports()?)?;
    doors.serve();
    let mut running = HashMap::new();
    let supervisor = Supervisor { logs: place.logs(), kubeconfig: keys.kubeconfig(ADMIN) };
    for component in components::all(place, &keys, fsync) {
        running.insert(supervisor.start(&component)?, component);
    }
    loop {
        let ended = match waitpid(None, None) {
            Err(nix::Error::EINTR) => continue,
            ended => ended.map_err(failed("wait for a program"))?,
        };
        let Some(component) = ended.pid().and_then(|pid| running.remove(&pid.as_raw())) else {
            continue;
        };
        supervisor.note(&component, ended);
        std::thread::sleep(PAUSE);
        running.insert(supervisor.start(&component)?, component);
    }
}

/// Standard output is a pipe to `up`, which waits for its end.
fn tell(ports: Ports) -> Result<(), Error> {
    let line = serde_json::to_string(&ports).map_err(|e| Error::Tell(e.into()))?;
    writeln!(io::stdout(), "{line}").map_err(Error::Tell)?;
    let nowhere = File::open("/dev/null").map_err(Error::Tell)?;
    dup2_stdout(nowhere).map_err(failed("close standard output"))
}

struct Supervisor {
    logs: PathBuf,
    kubeconfig: PathBuf,
}

impl Supervisor {
    /// Starts a program and returns its number.
    fn start(&self, component: &Component) -> Result<i32, Error> {
        let name = component.name;
        let told = |source| Error::Start { name, source };
        let log = File::options().create(true).append(true).open(self.log(component)).map_err(told)?;
        let mut words = component.command.iter();
        let mut command = if component.after_api {
            let mut command = Command::new("/proc/self/exe");
            command.arg("after-api").arg(&self.kubeconfig).arg("--");
            command
        } else {
            Command::new(words.next().map_or("", String::as_str))
        };
        let child = command
            .args(words)
            .env("HOME", "/run/home")
            .current_dir("/run/home")
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(told)?)
            .stderr(log)
            .spawn()
            .map_err(told)?;
        Ok(child.id().cast_signed())
    }

    fn log(&self, component: &Component) -> PathBuf {
        self.logs.join(format!("{}.log", component.name))
    }

    /// Says in the program's log that it ended; one that can't be written must not end the cluster.
    fn note(&self, component: &Component, status: WaitStatus) {
        if let Ok(mut log) = File::options().append(true).open(self.log(component)) {
            let _ = writeln!(log, "=== {} ended: {status:?}; starting it again", component.name);
        }
    }
}
