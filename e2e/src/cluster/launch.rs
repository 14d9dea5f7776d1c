//! The way into namespaces of its own. `launch` ends at once; what it leaves is the cluster's first process.

use std::io::{self, Write};
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::setsid;

use super::cgroups;
use super::state::{Place, Ports};

/// Why the first process did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its control groups.
    #[error(transparent)]
    Cgroups(#[from] cgroups::Error),
    /// Its namespaces.
    #[error("{action}")]
    Namespaces {
        /// The step.
        action: &'static str,
        /// The cause.
        source: nix::Error,
    },
    /// The process itself.
    #[error("start the first process")]
    Start(#[source] io::Error),
}

fn failed(action: &'static str) -> impl Fn(nix::Error) -> Error {
    move |source| Error::Namespaces { action, source }
}

/// Joins the cluster's control groups, leaves the machine's namespaces and starts `init` as the first
/// process of the new ones; prints its number. The network namespace is left to `init`, which
/// listens on the machine's loopback address before.
pub fn launch(place: &Place, ports: Ports, fsync: bool) -> Result<(), Error> {
    cgroups::join(&place.group)?;
    setsid().map_err(failed("leave the session"))?;
    let kinds = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    unshare(kinds).map_err(failed("make namespaces"))?;
    // Groups that the new namespace sees from their root have no process in it any more.
    cgroups::step_aside(&place.group)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).map_err(failed("part from the machine's mounts"))?;
    let mut init = Command::new("/proc/self/exe");
    init.args(["init", &place.name]);
    for port in [ports.api, ports.http, ports.https] {
        init.arg(port.to_string());
    }
    if fsync {
        init.arg("--fsync");
    }
    let child = init.spawn().map_err(Error::Start)?;
    writeln!(io::stdout(), "{}", child.id()).map_err(Error::Start)
}
