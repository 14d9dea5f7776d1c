//! Volumes: claims of the instance's own, made once, never made again.

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use super::{
    Policy, Wanted,
    metadata::{Part, kept},
};
use crate::operator::{
    instance::{Instance, Storage},
    kind::Kind,
};

/// The claims of an instance: database, files, backups.
pub fn claims(instance: &Instance) -> Vec<Wanted> {
    vec![
        claim(instance, "database", Part::Database, &instance.database.storage),
        claim(instance, "files", Part::Application, &instance.files),
        claim(instance, "backups", Part::Backup, &instance.backups),
    ]
}

fn claim(instance: &Instance, suffix: &str, part: Part, storage: &Storage) -> Wanted {
    let name = instance.child(suffix);
    let claim = PersistentVolumeClaim {
        metadata: kept(instance, &name, part),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Quantity(storage.size.clone()))].into()),
                limits: None,
            }),
            storage_class_name: storage.class.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    };
    Wanted::new(Kind::PersistentVolumeClaim, &name, &claim, Policy::Claim)
}
