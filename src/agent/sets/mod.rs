//! The backup sets of an instance: the repository that they lie in, what belongs together, what a manifest says, what a database holds,
//! and which sets are proven.

pub mod manifest;
pub mod moment;
pub mod proof;
pub mod restic;
pub mod set;
