//! The backup sets of an instance: the repository that they lie in, what belongs together, what a manifest says, what a database holds,
//! which sets are proven, and how one is restored.

pub mod bucket;
pub mod manifest;
pub mod moment;
pub mod proof;
pub mod restic;
pub mod restore;
pub mod set;
