//! Volumes: claims of the instance's own, made once, never made again.

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use super::{
    Policy, Wanted,
    metadata::{Part, kept},
};
use crate::{
    api::{BUILDING, CLAIM, REPLACED, restore::Phase},
    operator::{
        instance::{Instance, Kept, Repository, Storage},
        kind::Kind,
    },
};

/// The claims of an instance: database, files, backups; those of a restore; those of before one, which are left as they are. None that
/// is lost: an empty volume would come in its place.
pub fn claims(instance: &Instance) -> Vec<Wanted> {
    let (claims, database, files) = (&instance.claims, &instance.database.storage, &instance.files);
    // What a claim is for has to be on it before it is so: whoever takes over what a deleted instance left goes by that.
    let leaving = instance.is(Phase::Stopping).then_some(REPLACED);
    let mut all = vec![(&claims.database, Part::Database, database, leaving), (&claims.files, Part::Application, files, leaving)];
    all.extend(backups(instance).map(|storage| (&claims.backups, Part::Backup, storage, None)));
    if let Some(restoring) = instance.restoring.as_ref().filter(|restoring| restoring.phase != Phase::Starting) {
        let filling = leaving.is_none().then_some(BUILDING);
        all.extend([(&restoring.database, Part::Database, database, filling), (&restoring.files, Part::Application, files, filling)]);
    }
    // A restore that goes back has its claims among them.
    let served: Vec<&String> = all.iter().map(|(name, ..)| *name).collect();
    let kept = claims.kept.iter().filter(|kept| !served.contains(&&kept.name));
    let part = |kept: &Kept| if kept.database { Part::Database } else { Part::Application };
    let kept: Vec<_> = kept.map(|kept| (&kept.name, part(kept), &kept.storage, Some(REPLACED))).collect();
    all.extend(kept);
    all.into_iter()
        .filter(|(name, ..)| !claims.lost.contains(name))
        .map(|(name, part, storage, role)| claim(instance, name, part, storage, role))
        .collect()
}

/// The claim of backups, also one that the repository has left: it stays as it is.
fn backups(instance: &Instance) -> Option<&Storage> {
    match &instance.repository {
        Repository::Volume(storage) => Some(storage),
        Repository::S3(bucket) => bucket.left.as_ref(),
    }
}

fn claim(instance: &Instance, name: &str, part: Part, storage: &Storage, role: Option<&str>) -> Wanted {
    let mut metadata = kept(instance, name, part);
    metadata.labels.get_or_insert_default().extend(role.map(|role| (CLAIM.to_owned(), role.to_owned())));
    let claim = PersistentVolumeClaim { metadata, spec: Some(spec(storage)), status: None };
    Wanted::new(Kind::PersistentVolumeClaim, name, &claim, Policy::Claim)
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

    /// The claims that are wanted, with what they say of themselves.
    fn roles(instance: &Instance) -> Vec<(String, Option<String>)> {
        let role = |wanted: &Wanted| wanted.object["metadata"]["labels"][CLAIM].as_str().map(str::to_owned);
        claims(instance).iter().map(|wanted| (wanted.name.clone(), role(wanted))).collect()
    }

    #[test]
    fn what_a_claim_is_for_is_on_it_before_it_is_so() {
        let plain = fixture::plain();
        let named = |roles: [(&str, Option<&str>); 5]| roles.map(|(name, role)| (format!("play-{name}"), role.map(str::to_owned))).to_vec();
        let building = Some(BUILDING);
        for phase in [Phase::Building, Phase::BackingUp] {
            let wanted = roles(&fixture::restoring(&plain, phase));
            let expected = [("database", None), ("files", None), ("backups", None), ("database-2", building), ("files-2", building)];
            assert_eq!(wanted, named(expected), "{phase:?}");
        }
        let leaving = Some(REPLACED);
        let expected = [("database", leaving), ("files", leaving), ("backups", None), ("database-2", None), ("files-2", None)];
        assert_eq!(roles(&fixture::restoring(&plain, Phase::Stopping)), named(expected));
    }

    #[test]
    fn a_claim_that_is_lost_is_not_made_anew_and_one_of_before_does_not_grow() {
        let mut instance = fixture::restoring(&fixture::plain(), Phase::BackingUp);
        instance.claims.lost = vec!["play-files".into(), "play-database-2".into()];
        let storage = Storage { size: "5Gi".into(), class: None };
        instance.claims.kept = vec![Kept { name: "play-files-3".into(), database: false, storage }];
        let names: Vec<String> = claims(&instance).into_iter().map(|wanted| wanted.name).collect();
        assert_eq!(names, ["play-database", "play-backups", "play-files-2", "play-files-3"]);
        let kept = fixture::object(&instance, Kind::PersistentVolumeClaim, "play-files-3");
        assert_eq!(kept["spec"]["resources"]["requests"]["storage"], "5Gi");
        assert_eq!(kept["metadata"]["labels"][CLAIM], REPLACED);
    }
}
