//! Where the agreed places of [`layout`](crate::layout) are for this run.

use std::path::{Path, PathBuf};

/// Finds the places of the layout: in a pod below `/`, in a trial below another directory.
#[derive(Clone, Debug)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// The places below `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// One place, such as `layout::DATA`.
    pub fn of(&self, place: &str) -> PathBuf {
        self.root.join(place.trim_start_matches('/'))
    }
}
