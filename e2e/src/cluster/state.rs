//! What is written down of a cluster: enough to find it again, and to prove that it is ours.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::cache::Cache;
use super::{files, run};

/// Ports on the machine's loopback address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// The API server.
    pub api: u16,
    /// The ingress controller, plain.
    pub http: u16,
    /// The ingress controller, encrypted.
    pub https: u16,
}

/// The first process in a cluster's namespaces. When it ends, everything in them does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstProcess {
    /// Its number on the machine.
    pub pid: i32,
    /// When it started, in ticks since the machine did: numbers are used again, the pair is not.
    pub started: u64,
    /// The inode of its process namespace.
    pub namespace: u64,
}

impl FirstProcess {
    /// What runs under this number now.
    pub fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; the fields after it are plain.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let ended = matches!(fields.next()?, "Z" | "X");
        let started = fields.nth(18)?.parse().ok()?;
        let namespace = fs::metadata(format!("/proc/{pid}/ns/pid")).ok()?.ino();
        (!ended).then_some(Self { pid, started, namespace })
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        Self::read(self.pid).as_ref() == Some(self)
    }
}

/// A cluster's state file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Its control group: a copy of this file in another cache speaks of a cluster that is not that cache's.
    #[serde(default)]
    pub group: String,
    /// Its ports, kept while it is down.
    pub ports: Ports,
    /// Its first process, while it is up.
    pub process: Option<FirstProcess>,
    /// Whether it came up whole; a start that was interrupted leaves `false`.
    pub ready: bool,
}

/// Why there is no state.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its file.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// Its content.
    #[error("read {}: remove the folder to start anew", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The name does not do.
    #[error("{0:?} can't name a cluster: use 1 to 20 of a-z, 0-9 and -, not first")]
    Name(String),
}

/// A cluster's place: its folder in the cache and its control group.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Its control group in every hierarchy.
    pub group: String,
}

impl Place {
    /// The place of the cluster of this name.
    pub fn new(cache: &Cache, name: &str) -> Result<Self, Error> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 20 || name.starts_with('-') || !name.chars().all(plain) {
            return Err(Error::Name(name.to_owned()));
        }
        Ok(Self { name: name.to_owned(), folder: cache.clusters().join(name), group: format!("{}{name}", group_prefix(cache)) })
    }

    /// The kubeconfig for programs of the machine.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The folder of logs: one for each program, and `audit.log`.
    pub fn logs(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The folder of volumes: `NAME.img` for each, mounted on `NAME` in the cluster.
    pub fn volumes(&self) -> PathBuf {
        self.folder.join("volumes")
    }

    /// Reads the state file; a cluster that never was has an empty state.
    pub fn state(&self) -> Result<State, Error> {
        let path = self.state_file();
        let Some(text) = files::read_if_there(&path)? else {
            return Ok(State::default());
        };
        let state: State = serde_json::from_str(&text).map_err(|source| Error::Content { path, source })?;
        Ok(if state.group == self.group { state } else { State::default() })
    }

    /// Writes the state file.
    pub fn keep(&self, state: &State) -> Result<(), Error> {
        let path = self.state_file();
        let state = State { group: self.group.clone(), ..state.clone() };
        let text = serde_json::to_string_pretty(&state).map_err(|e| files::Error::new("write", &path, io::Error::other(e)))?;
        Ok(files::replace(&path, text)?)
    }

    fn state_file(&self) -> PathBuf {
        self.folder.join("state.json")
    }

    /// The first process, if it runs.
    pub fn running(&self) -> Result<Option<FirstProcess>, Error> {
        Ok(self.state()?.process.filter(FirstProcess::is_alive))
    }

    /// Files of this cluster that loop devices of the machine are backed by. Another container's cluster may have the same path, but
    /// not the same file.
    pub fn looped(&self) -> Result<Vec<PathBuf>, run::Error> {
        let list = ["--list", "--noheadings", "--raw", "--output", "BACK-INO,BACK-FILE"];
        let told = run::output(Command::new("losetup").args(list))?;
        Ok(told
            .lines()
            .filter_map(backing)
            .filter(|(inode, file)| file.starts_with(&self.folder) && is(file, *inode))
            .map(|(_, file)| file)
            .collect())
    }
}

/// Inode and path of a loop device's file.
fn backing(line: &str) -> Option<(u64, PathBuf)> {
    let (inode, file) = line.trim().split_once(' ')?;
    Some((inode.parse().ok()?, PathBuf::from(file.trim())))
}

fn is(file: &Path, inode: u64) -> bool {
    fs::metadata(file).is_ok_and(|found| found.ino() == inode)
}

/// What the control groups of this cache's clusters begin with.
pub fn group_prefix(cache: &Cache) -> String {
    format!("dhis2-cluster-{}-", cache.mark())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_more_than_its_number() {
        let own = FirstProcess::read(std::process::id().cast_signed()).unwrap();
        assert!(own.is_alive());
        let earlier = FirstProcess { started: own.started - 1, ..own };
        assert!(!earlier.is_alive());
    }

    #[test]
    fn another_file_of_the_same_path_is_no_volume_of_ours() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.img");
        fs::write(&file, "").unwrap();
        let inode = fs::metadata(&file).unwrap().ino();
        let (told, path) = backing(&format!("{inode} {}", file.display())).unwrap();
        assert!(path == file && is(&path, told));
        assert!(!is(&path, told + 1));
        assert!(!is(&folder.path().join("gone.img"), told));
    }

    #[test]
    fn state_is_read_back_as_it_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { name: "x".to_owned(), folder: folder.path().to_owned(), group: "g".to_owned() };
        assert_eq!(place.state().unwrap(), State::default());
        let state = State { process: FirstProcess::read(std::process::id().cast_signed()), ready: true, ..State::default() };
        place.keep(&state).unwrap();
        let kept = place.state().unwrap();
        assert_eq!(State { group: String::new(), ..kept }, state);
    }

    #[test]
    fn the_copy_of_a_cache_knows_no_cluster() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { name: "x".to_owned(), folder: folder.path().to_owned(), group: "g".to_owned() };
        let state = State { process: FirstProcess::read(std::process::id().cast_signed()), ready: true, ..State::default() };
        place.keep(&state).unwrap();
        let copy = Place { group: "of-another-cache".to_owned(), ..place };
        assert_eq!(copy.state().unwrap(), State::default());
        assert_eq!(copy.running().unwrap(), None);
    }

    #[test]
    fn names_that_would_leave_the_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "../x", "-x", "Dev", "a-name-that-is-much-too-long"] {
            let cache = Cache::at(folder.path()).unwrap();
            assert!(matches!(Place::new(&cache, name), Err(Error::Name(_))), "{name}");
        }
    }
}
