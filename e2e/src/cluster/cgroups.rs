//! Control groups: one for each cluster in every hierarchy, so that all that a cluster starts can be
//! counted, limited and found again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::files;

/// A mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// `cgroup` or `cgroup2`.
    pub kind: String,
    /// Mount options that make the same hierarchy appear again: its controllers or its name.
    pub options: String,
}

const VERSION_2: &str = "cgroup2";

/// What is wrong with the control groups.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of theirs.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// The machine has none.
    #[error("no control groups are mounted below /sys/fs/cgroup")]
    None,
    /// A process or a kernel object holds on to one.
    #[error("remove the control group {}: still in use after {} s", path.display(), waited.as_secs())]
    Busy {
        /// The group.
        path: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
}

/// The hierarchies of this mount namespace.
pub fn hierarchies() -> Result<Vec<Hierarchy>, Error> {
    let found = parse(&files::read(Path::new("/proc/self/mountinfo"))?);
    if found.is_empty() {
        return Err(Error::None);
    }
    Ok(found)
}

fn parse(mountinfo: &str) -> Vec<Hierarchy> {
    let hierarchy = |line: &str| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut fields = filesystem.split(' ');
        let (kind, _source, options) = (fields.next()?, fields.next()?, fields.next()?);
        let own = |o: &&str| !["rw", "ro", "nsdelegate", "memory_recursiveprot"].contains(o);
        (kind == "cgroup" || kind == VERSION_2).then_some(())?;
        Some(Hierarchy {
            mount_point: PathBuf::from(mount.split(' ').nth(4)?),
            kind: kind.to_owned(),
            options: options.split(',').filter(own).collect::<Vec<_>>().join(","),
        })
    };
    mountinfo.lines().filter_map(hierarchy).collect()
}

/// Makes a group of this name in every hierarchy.
pub fn create(name: &str) -> Result<(), Error> {
    let hierarchies = hierarchies()?;
    if let [only] = hierarchies.as_slice() {
        // Most machines have this done already. Beside version 1 there is nothing to hand on.
        delegate(only)?;
    }
    for hierarchy in hierarchies {
        let group = hierarchy.mount_point.join(name);
        files::make_folder(&group)?;
        // A new cpuset is empty, and an empty one takes no process.
        for set in ["cpuset.cpus", "cpuset.mems"] {
            let above = hierarchy.mount_point.join(set);
            if hierarchy.kind == "cgroup" && above.exists() {
                files::write(&group.join(set), files::read(&above)?.trim())?;
            }
        }
    }
    Ok(())
}

/// In version 2 a group hands its controllers on to those in it, unless processes are in it itself.
pub fn delegate(hierarchy: &Hierarchy) -> Result<(), Error> {
    if hierarchy.kind == VERSION_2 {
        let controllers = files::read(&hierarchy.mount_point.join("cgroup.controllers"))?;
        let all: Vec<_> = controllers.split_whitespace().map(|c| format!("+{c}")).collect();
        let control = hierarchy.mount_point.join("cgroup.subtree_control");
        files::write(&control, all.join(" "))?;
    }
    Ok(())
}

/// Moves this process into the groups of this name.
pub fn join(name: &str) -> Result<(), Error> {
    for hierarchy in hierarchies()? {
        files::write(&hierarchy.mount_point.join(name).join("cgroup.procs"), "0")?;
    }
    Ok(())
}

/// Moves this process out of the group of this name into one below it, where version 2 asks for it.
pub fn step_aside(name: &str) -> Result<(), Error> {
    for hierarchy in hierarchies()? {
        if hierarchy.kind == VERSION_2 {
            let below = hierarchy.mount_point.join(name).join("init");
            files::make_folder(&below)?;
            files::write(&below.join("cgroup.procs"), "0")?;
        }
    }
    Ok(())
}

/// Names of groups that begin with `prefix`.
pub fn names(prefix: &str) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for hierarchy in hierarchies()? {
        for path in files::list(&hierarchy.mount_point)? {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
            names.extend(name.filter(|n| n.starts_with(prefix) && path.is_dir()));
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// Ends every process in the groups of this name. Only what we started there can be in them.
pub fn kill_all(name: &str) -> Result<(), Error> {
    for hierarchy in hierarchies()? {
        for group in below(&hierarchy.mount_point.join(name))? {
            let pids = files::read_if_there(&group.join("cgroup.procs"))?.unwrap_or_default();
            for pid in pids.lines().filter_map(|l| l.parse().ok()).filter(|p| *p > 0) {
                // One that has ended meanwhile is what we want.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
    Ok(())
}

/// Removes the groups of this name, waiting until their last process is gone.
pub fn remove(name: &str) -> Result<(), Error> {
    let begun = Instant::now();
    for hierarchy in hierarchies()? {
        let path = hierarchy.mount_point.join(name);
        while !removed(&path)? {
            let waited = begun.elapsed();
            if waited > Duration::from_secs(15) {
                return Err(Error::Busy { path, waited });
            }
            // The kernel tells nobody when a group of version 1 becomes empty.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

fn removed(path: &Path) -> Result<bool, Error> {
    let mut groups = below(path)?;
    groups.reverse();
    for group in groups {
        match fs::remove_dir(&group) {
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy => return Ok(false),
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(files::Error::new("remove", &group, e).into());
            }
            _ => {}
        }
    }
    Ok(true)
}

/// A group and those in it, each after the one above it.
fn below(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    if path.is_dir() {
        found.push(path.to_owned());
    }
    let mut next = 0;
    while let Some(group) = found.get(next).cloned() {
        found.extend(files::list(&group)?.into_iter().filter(|p| p.is_dir()));
        next += 1;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_keep_what_mounts_them_again() {
        let mountinfo = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime shared:9 - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";
        let told: Vec<_> = parse(mountinfo).into_iter().map(|h| format!("{} {} {}", h.mount_point.display(), h.kind, h.options)).collect();
        let wanted =
            ["/sys/fs/cgroup/memory cgroup memory", "/sys/fs/cgroup/systemd cgroup xattr,name=systemd", "/sys/fs/cgroup/unified cgroup2 "];
        assert_eq!(told, wanted);
    }
}
