//! The backup sets of an instance: the repository that they lie in, what belongs together, what a manifest says, what a database holds,
//! which sets are proven, which stay, and how one is restored.

pub mod bucket;
pub mod manifest;
pub mod moment;
pub mod proof;
pub mod restic;
pub mod restore;
pub mod retention;
pub mod set;

use std::path::{Path, PathBuf};

use super::paths::Paths;
use super::{digest, secret};

/// A note on the volume that forgotten snapshots still take space.
const PENDING_PRUNE: &str = "/backups/.prune-pending";
/// The same where there is no such volume. It is gone with the pod: what one has left that was killed goes when the next set does.
const PENDING_PRUNE_OF_POD: &str = ".prune-pending";

/// Where it is noted that space is to be freed.
pub fn pending_prune(repository: &restic::Repository, paths: &Paths) -> PathBuf {
    if repository.is_remote() { std::env::temp_dir().join(PENDING_PRUNE_OF_POD) } else { paths.of(PENDING_PRUNE) }
}

/// Whether the file of a storage key is in the store (`DHIS2_HOME/files/<storagekey>`; dhis2-core at 2.42.4.1, observed).
pub fn stored(files: &Path, key: &str) -> bool {
    files.join(key.trim_start_matches('/')).is_file()
}

/// By which people know the key of a repository that they have taken into the safe. It is random and long: its digest tells nobody.
pub fn known_by(key: &secret::Value) -> String {
    digest::sha256(key.reveal().as_bytes()).chars().take(16).collect()
}
