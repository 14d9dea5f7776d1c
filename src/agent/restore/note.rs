//! Which set an unfinished restore has chosen, noted on the database volume: a run that is killed is taken up with the same set, also
//! when a newer one was made meanwhile. Once the volume's mark is prepared, that one says it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::agent::paths::Paths;
use crate::agent::volume;
use crate::layout;

/// The note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// Uid of the instance that is restored.
    pub instance: String,
    /// Name of the set.
    pub set: String,
    /// The moment of which it is, RFC 3339.
    pub created: String,
}

/// The set that an earlier run has chosen for `instance`. What makes no sense was written by nobody that has gone far: it counts as none.
pub fn read(paths: &Paths, instance: &str) -> Option<Note> {
    let note: Note = serde_json::from_slice(&std::fs::read(place(paths)).ok()?).ok()?;
    (note.instance == instance).then_some(note)
}

/// Writes it, durably.
pub fn write(paths: &Paths, note: &Note) -> Result<(), volume::Error> {
    let text = serde_json::to_string_pretty(note).unwrap_or_default();
    volume::write(&place(paths), text.as_bytes())
}

fn place(paths: &Paths) -> PathBuf {
    paths.of(layout::RESTORE_NOTE)
}
