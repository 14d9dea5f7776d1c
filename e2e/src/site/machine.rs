//! A bare machine: in namespaces of its own, with a disk of its own and podman, and nothing of Kubernetes. It sees the files of the machine
//! that it is on, and has an address, by which others of its network are reached that are started in it.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use nix::sched::{CloneFlags, setns};

use super::Outcome;
use super::own::Own;
use crate::cluster::cache::Cache;
use crate::cluster::state::FirstProcess;
use crate::cluster::{cgroups, files, node, packages, run};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/site/machine.sh");

/// It ends with the value, and its disk goes.
pub struct Machine {
    folder: PathBuf,
    group: String,
    address: Ipv4Addr,
    running: Option<(Child, FirstProcess)>,
}

impl Machine {
    /// One that is not switched on, with an empty disk. What a killed run has left of it goes first: whoever holds the cluster is the only
    /// one to have such a machine.
    ///
    /// # Errors
    /// When Debian's packages can't be installed, or what was left can't be removed.
    pub fn new(own: &Own, address: Ipv4Addr) -> Outcome<Self> {
        let cache = Cache::locate()?;
        let _building = cache.lock("build")?;
        packages::install_podman()?;
        let name = &own.place().name;
        let folder = cache.root().join("machines").join(name);
        let machine = Self { folder, group: format!("dhis2-machine-{}-{name}", cache.mark()), address, running: None };
        machine.clear()?;
        files::make_folder(&machine.folder)?;
        Ok(machine)
    }

    /// A folder of its disk.
    pub fn disk(&self, path: &str) -> PathBuf {
        self.folder.join(path.trim_start_matches('/'))
    }

    /// Switches it on.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn boot(&mut self) -> Outcome {
        cgroups::create(&self.group)?;
        let mut boot = run::tied("bash");
        boot.args([SCRIPT, "boot", &self.group]).arg(&self.folder).arg(self.address.to_string());
        let mut child = boot.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut said = String::new();
        if let Some(told) = child.stdout.take() {
            BufReader::new(told).read_line(&mut said)?;
        }
        let first = first_below(&child);
        // Known from here on, so that it is ended in any case.
        let first = first.filter(|_| said.trim() == "ready").ok_or("the machine did not come up");
        if first.is_err() {
            child.kill()?;
            child.wait()?;
        }
        self.running = Some((child, first?));
        Ok(())
    }

    /// As a power cut ends it: what is on its disk stays.
    ///
    /// # Errors
    /// When something of it goes on.
    pub fn power_off(&mut self) -> Outcome {
        if let Some((mut child, _)) = self.running.take() {
            child.kill()?;
            child.wait()?;
        }
        cgroups::kill_all(&self.group)?;
        Ok(cgroups::remove(&self.group)?)
    }

    /// Runs commands as `root` with a search path that begins with `programs`, and returns what they wrote to standard output.
    ///
    /// # Errors
    /// The first that fails.
    pub fn types(&self, programs: &[PathBuf], script: &str) -> Outcome<String> {
        let path = std::env::join_paths(programs.iter().cloned().chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from)))?;
        let mut bash = node::inside(self.first()?, "bash");
        bash.args(["-euo", "pipefail", "-c", script]).env_clear().env("PATH", path).env("HOME", "/var/lib/root").env("LANG", "C.UTF-8");
        Ok(run::output(&mut bash)?)
    }

    /// Makes an image known to podman.
    ///
    /// # Errors
    /// When it is no image.
    pub fn load(&self, archive: &Path) -> Outcome {
        run::output(node::inside(self.first()?, "podman").args(["load", "--quiet", "--input"]).arg(archive))?;
        Ok(())
    }

    /// Does something in its network.
    ///
    /// # Errors
    /// When it is off, and what `act` gives.
    pub fn in_network<T: Send>(&self, act: impl FnOnce() -> io::Result<T> + Send) -> Outcome<T> {
        in_network_of(self.first()?, act)
    }

    /// Its first process.
    ///
    /// # Errors
    /// When it is off.
    pub fn first(&self) -> Outcome<FirstProcess> {
        Ok(self.running.as_ref().ok_or("the machine is off")?.1)
    }

    fn clear(&self) -> Outcome {
        cgroups::kill_all(&self.group)?;
        cgroups::remove(&self.group)?;
        Ok(files::remove_tree(&self.folder)?)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let ended = self.power_off().and_then(|()| self.clear());
        if let Err(error) = ended {
            eprintln!("what is left of the machine in {}: {error}", self.folder.display());
        }
    }
}

/// The first process of the namespaces: the only child of the one that made them.
fn first_below(child: &Child) -> Option<FirstProcess> {
    let pid = child.id();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    FirstProcess::read(children.trim().parse().ok()?)
}

/// Does something in the network of a process: a thread has a network of its own, and what it begins has it as well.
pub(super) fn in_network_of<T: Send>(process: FirstProcess, act: impl FnOnce() -> io::Result<T> + Send) -> Outcome<T> {
    let network = File::open(format!("/proc/{}/ns/net", process.pid))?;
    let acted = std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            setns(network, CloneFlags::CLONE_NEWNET)?;
            act()
        });
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread in the other network panicked")))
    });
    Ok(acted?)
}
