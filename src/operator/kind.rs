//! The kinds of objects that an instance is made of.

use strum::{EnumIter, IntoStaticStr};

/// A kind that the operator makes or watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumIter, IntoStaticStr)]
pub enum Kind {
    /// Generated passwords; never listed, never watched.
    Secret,
    /// Configuration files.
    ConfigMap,
    /// Volumes.
    PersistentVolumeClaim,
    /// Addresses.
    Service,
    /// Who may connect.
    NetworkPolicy,
    /// Steps that run once.
    Job,
    /// The servers.
    StatefulSet,
    /// The door.
    Ingress,
    /// The schedule of the backups.
    CronJob,
    /// What runs; made by the others, watched for its state.
    Pod,
}

impl Kind {
    /// The kind's name as in the API.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
