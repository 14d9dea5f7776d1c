//! The operator: what the cluster says → what it should say → the difference, written.

pub mod desired;
pub mod instance;
pub mod kind;
pub mod settings;
