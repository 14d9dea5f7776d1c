//! restic's locks, which are files in the repository: those that can't be written, and those that can't be removed.

use std::process::Output;
use std::sync::atomic::Ordering;

use nix::unistd::{AccessFlags, access};

use super::{Error, Place, Repository, words};

impl Repository {
    /// A bucket that takes nothing any more, or keeps all that it has taken, gives back what it has, and so does a volume that can only be
    /// read, as after an error of its file system. Where somebody with another key removes sets meanwhile, this fails, and is tried again.
    pub(super) fn refuses_locks(&self) -> bool {
        if let Place::Volume(directory) = &self.place {
            return access(&directory.join("locks"), AccessFlags::W_OK).is_err();
        }
        let locked = || self.finish("lock the repository", self.command().args(["cat", "config"]), None);
        // Whatever else goes wrong is told by what follows.
        self.is_remote() && matches!(locked(), Err(Error::Denied { said, .. }) if said.contains("create lock")) || self.keeps_locks()
    }

    /// Whether its server has refused to remove a lock: then nobody here may lock others out, since that would last.
    pub fn keeps_locks(&self) -> bool {
        self.keeps_locks.load(Ordering::Relaxed)
    }

    pub(super) fn note_locks(&self, output: &Output) {
        if self.is_remote() && words::leaves_locks(&output.stderr) {
            self.keeps_locks.store(true, Ordering::Relaxed);
        }
    }

    /// Removes what killed pods have left. Whether there is a lock at all is seen without restic, which takes most of a second to begin.
    pub(super) fn unlock_stale(&self, step: &'static str) -> Result<(), Error> {
        if let Place::Volume(directory) = &self.place
            && directory.join("locks").read_dir().is_ok_and(|mut locks| locks.next().is_none())
        {
            return Ok(());
        }
        match self.finish(step, self.command().arg("unlock"), None) {
            // They hinder nobody who locks no others out.
            Err(Error::Denied { .. }) if self.keeps_locks() => Ok(()),
            ended => ended.map(drop),
        }
    }
}
