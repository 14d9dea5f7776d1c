//! The kinds of objects that an instance is made of.

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    batch::v1::{CronJob, Job},
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service},
    networking::v1::{Ingress, NetworkPolicy},
};
use kube::api::ApiResource;
use strum::{EnumIter, IntoStaticStr};

use crate::api::{Dhis2Backup, Dhis2Restore, Dhis2RestoreTest};

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
    /// Requests to bring the instance back to a set; made by people.
    Dhis2Restore,
    /// Requests for a backup; made by people.
    Dhis2Backup,
    /// Requests for a restore test; made by people.
    Dhis2RestoreTest,
}

impl Kind {
    /// The kind's name as in the API.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// How the API names it.
    pub fn resource(self) -> ApiResource {
        match self {
            Self::Secret => ApiResource::erase::<Secret>(&()),
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::PersistentVolumeClaim => ApiResource::erase::<PersistentVolumeClaim>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
            Self::Job => ApiResource::erase::<Job>(&()),
            Self::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
            Self::Ingress => ApiResource::erase::<Ingress>(&()),
            Self::CronJob => ApiResource::erase::<CronJob>(&()),
            Self::Pod => ApiResource::erase::<Pod>(&()),
            Self::Dhis2Restore => ApiResource::erase::<Dhis2Restore>(&()),
            Self::Dhis2Backup => ApiResource::erase::<Dhis2Backup>(&()),
            Self::Dhis2RestoreTest => ApiResource::erase::<Dhis2RestoreTest>(&()),
        }
    }

    /// Do people make it, without the labels of what the operator makes?
    pub fn of_people(self) -> bool {
        matches!(self, Self::Dhis2Restore | Self::Dhis2Backup | Self::Dhis2RestoreTest)
    }

    /// Is it watched? Secrets are not: whoever may watch them may read them.
    pub fn watched(self) -> bool {
        self != Self::Secret
    }
}
