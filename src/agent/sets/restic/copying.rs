//! A second repository that sets are copied to.

use std::process::Command;

use serde::Deserialize;

use super::super::bucket::Address;
use super::{Error, OWN, Owner, Place, Repository, UNTIL_STALE, remote};
use crate::agent::paths::Paths;
use crate::agent::secret;
use crate::layout;

/// The field that names the bucket of a copy.
const COPY: &str = "spec.backup.copies[].s3";
/// The field that names its key.
const COPY_KEY: &str = "spec.backup.copies[].passwordSecretName";

impl Repository {
    /// The instance's own repository, only read: not even a lock is written to it, so that a copy that takes days keeps no backup, no
    /// restore test and no removal of old sets from their work.
    pub fn to_be_copied(address: &Address, paths: &Paths) -> Result<Self, Error> {
        let repository = Self { read_only: true, ..Self::named(address, paths, OWN, layout::BACKUP_PASSWORD)? };
        repository.is_there()?;
        Ok(repository)
    }

    /// The repository that `owner` copies sets of `source` to; made when there is none yet. It has a key of its own, and is cut into the
    /// same pieces: what two sets have in common is sent once.
    pub fn copy(address: &Address, paths: &Paths, owner: &Owner<'_>, source: &Self) -> Result<Self, Error> {
        let repository = Self::named(address, paths, COPY, layout::COPY_PASSWORD)?;
        match &repository.place {
            Place::Volume(_) => return Err(Error::NoBucket),
            Place::Bucket(bucket) => remote::open(&repository, bucket, owner, Some(source))?,
        }
        repository.unlock_stale("remove stale locks")?;
        Ok(repository)
    }

    /// A copy of the instance's, which is never made here.
    pub fn existing_copy(address: &Address, paths: &Paths) -> Result<Self, Error> {
        secret::read_optional(&paths.of(layout::COPY_PASSWORD)).ok().flatten().ok_or(Error::NoKey(COPY_KEY))?;
        Self::named(address, paths, COPY, layout::COPY_PASSWORD)?.found()
    }

    /// Copies these snapshots of `source`. Those that are here already are left out, and what was sent before an interruption is not sent
    /// again.
    pub fn copy_from(&self, source: &Self, ids: &[&str]) -> Result<(), Error> {
        let build = |command: &mut Command| {
            source.tell_as_source(command);
            command.args(["copy", "--no-lock"]).args(ids);
        };
        self.run("copy the set", build, None, UNTIL_STALE).map(drop)
    }

    /// Names it to restic as the one that is copied from. Credentials and options of a server hold for both of them.
    pub(super) fn tell_as_source(&self, command: &mut Command) {
        match &self.place {
            Place::Volume(directory) => command.env("RESTIC_FROM_REPOSITORY", directory),
            Place::Bucket(bucket) => command.env("RESTIC_FROM_REPOSITORY", &bucket.url),
        };
        command.env("RESTIC_FROM_PASSWORD_FILE", &self.password_file);
    }

    /// What all sets take, in bytes.
    pub fn bytes(&self) -> Result<u64, Error> {
        #[derive(Deserialize)]
        struct Stats {
            total_size: u64,
        }
        let arguments = |restic: &mut Command| _ = restic.args(["stats", "--mode", "raw-data", "--no-lock"]);
        self.ask::<Stats>("measure the repository", arguments).map(|stats| stats.total_size)
    }
}
