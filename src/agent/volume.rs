//! Files that must survive a power cut, and who may write to a volume.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::statvfs::statvfs;
use serde::{Deserialize, Serialize};

use super::failure::Failure;

/// How often a held lock is tried again: the kernel offers no wait with an end.
const RETRY: Duration = Duration::from_millis(200);

/// A volume that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Opening the lock file failed.
    #[error("open the lock {0}: is the volume mounted and writable?")]
    OpenLock(PathBuf, #[source] io::Error),
    /// Taking the lock failed.
    #[error("take the lock {0}")]
    TakeLock(PathBuf, #[source] Errno),
    /// Somebody else holds it.
    #[error("take the lock {0}: another pod uses the volume")]
    Locked(PathBuf),
    /// The file system does not tell its size.
    #[error("measure the volume at {0}")]
    Measure(PathBuf, #[source] Errno),
    /// Writing failed.
    #[error("write {0}")]
    Write(PathBuf, #[source] io::Error),
}

impl Failure for Error {}

/// Size of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// All of it.
    pub size: u64,
    /// What this user can still write.
    pub free: u64,
}

/// How much space the file system at `path` has.
pub fn space(path: &Path) -> Result<Space, Error> {
    let told = statvfs(path).map_err(|errno| Error::Measure(path.to_owned(), errno))?;
    let unit = told.fragment_size();
    Ok(Space { size: told.blocks() * unit, free: told.blocks_available() * unit })
}

/// Takes the exclusive lock at `path`, waiting at most `patience`. It is held until the value is dropped or the process ends.
pub fn lock(path: &Path, patience: Duration) -> Result<Flock<File>, Error> {
    let open = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    take(open.map_err(|error| Error::OpenLock(path.to_owned(), error))?, path, patience)
}

/// Takes the exclusive lock of a directory that need not be writable, likewise.
pub fn lock_directory(path: &Path, patience: Duration) -> Result<Flock<File>, Error> {
    take(File::open(path).map_err(|error| Error::OpenLock(path.to_owned(), error))?, path, patience)
}

fn take(mut file: File, path: &Path, patience: Duration) -> Result<Flock<File>, Error> {
    let start = Instant::now();
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, Errno::EWOULDBLOCK)) if start.elapsed() >= patience => {
                return Err(Error::Locked(path.to_owned()));
            }
            Err((unlocked, Errno::EWOULDBLOCK)) => file = unlocked,
            Err((_, errno)) => return Err(Error::TakeLock(path.to_owned(), errno)),
        }
        std::thread::sleep(RETRY);
    }
}

/// Replaces the file at `path` so that after a power cut there is the old or the new one, whole.
pub fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    let written = || -> io::Result<()> {
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let new = PathBuf::from(name);
        let mut file = File::create(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        sync_directory(path.parent().unwrap_or(Path::new("/")))
    };
    written().map_err(|error| Error::Write(path.to_owned(), error))
}

/// Name of the file that [`probe`] writes and takes away again.
pub const PROBE: &str = ".dhis2-operator-probe";

/// Finds out whether a volume keeps what is written to it: writes a file, brings it to disk and takes it away again.
pub fn probe(folder: &Path) -> io::Result<()> {
    let probe = folder.join(PROBE);
    let write = || -> io::Result<()> {
        let mut file = File::create(&probe)?;
        // More than a file system keeps in an inode, so that a full one is noticed.
        file.write_all(&[b'.'; 8192])?;
        file.sync_all()
    };
    let written = write();
    // A failed write may leave the file: it goes in either case, and a second failure adds nothing to the first.
    let removed = std::fs::remove_file(&probe);
    written.and(removed)
}

/// Makes the entries of a directory durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_told_and_a_freed_one_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".lock");
        let held = lock(&path, Duration::ZERO).unwrap();
        assert!(matches!(lock(&path, Duration::ZERO), Err(Error::Locked(_))));
        let waiter = {
            let path = path.clone();
            std::thread::spawn(move || lock(&path, Duration::from_secs(20)).map(drop))
        };
        drop(held);
        waiter.join().unwrap().unwrap();
    }

    #[test]
    fn a_probe_leaves_no_trace() {
        let directory = tempfile::tempdir().unwrap();
        probe(directory.path()).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mark");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
