//! Snapshots, as restic tells of them.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

/// So much the clocks of nodes may differ without a word.
pub const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// One snapshot of the repository.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Snapshot {
    /// Its identifier.
    pub id: String,
    /// In a copy of the repository: its identifier where it was made, by which manifests name it.
    #[serde(default)]
    pub original: Option<String>,
    /// When it was made.
    pub time: Timestamp,
    /// Namespace and name of the instance that made it.
    #[serde(default)]
    pub hostname: String,
    /// What it is part of.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What was backed up.
    #[serde(default)]
    pub paths: Vec<String>,
}

impl Snapshot {
    /// Is it of a moment that is to come? Then the clock of a node was wrong, or this one's is.
    pub fn is_to_come(&self, now: Timestamp) -> bool {
        self.time.duration_since(now) > SKEW
    }

    /// Is it the one that a manifest names?
    pub fn is_named(&self, id: &str) -> bool {
        self.id == id || self.original.as_deref() == Some(id)
    }
}

/// What restic tells about a snapshot that it has just made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Summary {
    /// Its identifier.
    pub snapshot_id: String,
    /// Bytes added to the repository, compressed.
    pub data_added_packed: u64,
    /// Files in the snapshot.
    pub total_files_processed: u64,
    /// Their size.
    pub total_bytes_processed: u64,
    /// Whether all of them could be read.
    #[serde(skip, default = "complete")]
    pub complete: bool,
}

fn complete() -> bool {
    true
}
