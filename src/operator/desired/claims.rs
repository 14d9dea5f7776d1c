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
    let claim = PersistentVolumeClaim { metadata: kept(instance, &name, part), spec: Some(spec(storage)), status: None };
    Wanted::new(Kind::PersistentVolumeClaim, &name, &claim, Policy::Claim)
}

/// What is asked of a volume.
pub fn spec(storage: &Storage) -> PersistentVolumeClaimSpec {
    PersistentVolumeClaimSpec {
        access_modes: Some(vec!["ReadWriteOnce".into()]),
        resources: Some(VolumeResourceRequirements {
            requests: Some([("storage".to_owned(), Quantity(storage.size.clone()))].into()),
            limits: None,
        }),
        storage_class_name: storage.class.clone(),
        ..PersistentVolumeClaimSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::desired::fixture;

    #[test]
    fn a_claim_asks_for_what_the_instance_says() {
        let mut instance = fixture::plain();
        instance.files = Storage { size: "50Gi".into(), class: Some("fast".into()) };
        let spec = fixture::object(&instance, Kind::PersistentVolumeClaim, "play-files")["spec"].clone();
        assert_eq!(
            spec,
            serde_json::json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "50Gi"}}, "storageClassName": "fast"})
        );
    }

    #[test]
    fn volumes_go_with_the_instance_only_when_asked_to() {
        for retain in [true, false] {
            for claim in claims(&Instance { retain, ..fixture::plain() }) {
                assert_eq!(claim.object["metadata"].get("ownerReferences").is_none(), retain);
            }
        }
    }
}
