//! The proof of a set: it was restored and compared with its manifest. A snapshot of the repository itself, so that it is not lost with
//! the pod that made it, and so that whoever removes old sets knows which one is sure.

use std::process::Command;

use super::restic::{Error, Repository, Snapshot};
use super::set::{Label, Part};
use crate::report::Verified;

/// The proof's name in its snapshot.
const FILE: &str = "proof.json";

/// Writes it.
pub fn write(repository: &Repository, label: &Label<'_>, proof: &Verified) -> Result<(), Error> {
    let step = "write the proof";
    let text = serde_json::to_vec_pretty(proof).map_err(|error| Error::Understand(step, error))?;
    let build = |restic: &mut Command| {
        label.mark(restic, Part::Proof);
        restic.args(["--stdin", "--stdin-filename", FILE]);
    };
    repository.back_up(step, build, Some(&text)).map(drop)
}

/// The newest proof among these snapshots.
pub fn newest(repository: &Repository, snapshots: &[Snapshot]) -> Result<Option<Verified>, Error> {
    let proofs = snapshots.iter().filter(|snapshot| snapshot.is(Part::Proof));
    let Some(proof) = proofs.max_by_key(|proof| proof.time) else { return Ok(None) };
    let path = format!("/{FILE}");
    repository.ask("read the proof", |command| _ = command.args(["dump", &proof.id, &path])).map(Some)
}
