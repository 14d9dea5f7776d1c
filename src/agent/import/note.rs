//! What is being loaded, noted on the database volume: nobody makes an empty database there meanwhile, and a dump that was refused is
//! not loaded again for hours to be refused at the same line.

use serde::{Deserialize, Serialize};

use super::Error;
use super::dump::Dump;
use crate::agent::paths::Paths;
use crate::agent::volume;
use crate::layout;

/// The note.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Note {
    instance: String,
    dump: String,
    bytes: u64,
    modified: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

/// Notes that this dump is being loaded, or why it was refused.
pub fn write(paths: &Paths, instance: &str, dump: &Dump, refused: Option<String>) -> Result<(), volume::Error> {
    let (bytes, modified) = (dump.version.bytes, dump.version.modified);
    let note = Note { instance: instance.to_owned(), dump: dump.name.clone(), bytes, modified, refused };
    volume::write(&paths.of(layout::RESTORE_NOTE), serde_json::to_string_pretty(&note).unwrap_or_default().as_bytes())
}

/// Refuses a dump that was refused and is the same. What makes no sense was written by nobody that has gone far.
pub fn unchanged(paths: &Paths, instance: &str, dump: &Dump) -> Result<(), Error> {
    let text = std::fs::read(paths.of(layout::RESTORE_NOTE)).unwrap_or_default();
    let Ok(note) = serde_json::from_slice::<Note>(&text) else { return Ok(()) };
    let same = (note.instance.as_str(), &note.dump, note.bytes, note.modified)
        == (instance, &dump.name, dump.version.bytes, dump.version.modified);
    match note.refused.filter(|_| same) {
        Some(refused) => Err(Error::Unchanged(refused)),
        None => Ok(()),
    }
}
