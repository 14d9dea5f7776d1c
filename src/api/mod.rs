//! The wire types of the API: what users write and what `kubectl explain` prints. No behaviour.
//!
//! One file a section of the spec. Doc comments become the descriptions of the CRD, so they are
//! written for users: meaning, unit, default.

#![allow(clippy::doc_markdown, reason = "these comments are printed as plain text by kubectl explain")]

pub mod analytics;
pub mod backup;
pub mod bootstrap;
pub mod database;
pub mod errand;
pub mod instance;
pub mod pod;
pub mod reason;
pub mod restore;
pub mod schema;
pub mod status;
pub mod upgrade;
pub mod web;

pub use errand::{Dhis2Backup, Dhis2RestoreTest};
pub use instance::{Dhis2Instance, Dhis2InstanceSpec};
pub use reason::Reason;
pub use restore::Dhis2Restore;
pub use status::Dhis2InstanceStatus;

/// The API group.
pub const GROUP: &str = "dhis2.hosting";

/// Value of `app.kubernetes.io/managed-by` on everything that the operator makes, and its field manager.
pub const MANAGER: &str = "dhis2-operator";

/// Annotation: `"true"`, or anything but `"false"`, makes the operator leave this instance alone, at once.
pub const PAUSED: &str = "dhis2.hosting/paused";

/// Annotation: the name of a backup set that holds much less than those before it, and is right all the same.
pub const ACCEPTED_SET: &str = "dhis2.hosting/accepted-set";

/// Annotation: the key of the backup repository, or of a copy of it, was taken out of the cluster. Its value is the first sixteen digits of
/// the SHA-256 of what was taken; of several keys with commas in between.
pub const KEY_EXPORTED: &str = "dhis2.hosting/key-exported";

/// Annotation on objects that may lack an owner reference: uid of the instance that made them.
pub const INSTANCE: &str = "dhis2.hosting/instance";

/// Label on volume claims that the instance is not served from: [`BUILDING`] or [`REPLACED`].
pub const CLAIM: &str = "dhis2.hosting/claim";

/// Value of [`CLAIM`]: a restore is filling the volume.
pub const BUILDING: &str = "building";

/// Value of [`CLAIM`]: the volume that an instance had before a restore.
pub const REPLACED: &str = "replaced";

/// Finalizer of a `Dhis2Backup` with `deletionPolicy: Delete`: its set is removed first.
pub const SET_FINALIZER: &str = "dhis2.hosting/set";

/// Label on the pods that copy backup sets: name of the copy.
pub const COPY: &str = "dhis2.hosting/copy";

/// Annotation on everything that the operator keeps: digest of what it wanted when it last wrote.
pub const WANTED: &str = "dhis2.hosting/wanted";

/// Annotation on pods: digest of what they read only at their start.
pub const RESTART: &str = "dhis2.hosting/restart";

#[cfg(test)]
mod tests;
