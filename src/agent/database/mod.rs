//! The database volume: built once, served from then on.

pub mod build;
pub mod check;
pub mod create;
pub mod finish;
pub mod mark;
mod postmaster;
pub mod roles;
pub mod run;
mod steward;

/// Whether a message of PostgreSQL or of the kernel tells of a full disk.
pub fn says_full(message: &str) -> bool {
    message.contains("No space left on device") || message.contains("Disk quota exceeded")
}
