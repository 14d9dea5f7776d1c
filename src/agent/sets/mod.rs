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

use std::path::Path;

use super::{digest, secret};

/// Whether the file of a storage key is in the store (`DHIS2_HOME/files/<storagekey>`; dhis2-core at 2.42.4.1, observed).
pub fn stored(files: &Path, key: &str) -> bool {
    files.join(key.trim_start_matches('/')).is_file()
}

/// By which people know the key of a repository that they have taken into the safe. It is random and long: its digest tells nobody.
pub fn known_by(key: &secret::Value) -> String {
    digest::sha256(key.reveal().as_bytes()).chars().take(16).collect()
}
