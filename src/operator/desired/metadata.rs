//! Names, labels and owner of every object.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use strum::IntoStaticStr;

use crate::{
    api::{INSTANCE, MANAGER},
    operator::instance::Instance,
};

/// The part of an instance that an object belongs to, as `app.kubernetes.io/component` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Part {
    /// DHIS2.
    Application,
    /// PostgreSQL.
    Database,
    /// What makes the database volume.
    DatabaseBuild,
    /// What replaces the default password.
    Bootstrap,
    /// What makes backups.
    Backup,
    /// What restores them to see whether they can be.
    Verify,
    /// What restores one to new volumes.
    Restore,
    /// What copies them to a second repository.
    Copy,
    /// What looks at the new version of an upgrade.
    Upgrade,
    /// What tries it on a copy.
    Rehearsal,
    /// What asks DHIS2 for its analytics tables.
    Analytics,
    /// What removes a set.
    Removal,
}

/// Labels of everything that belongs to a part.
pub fn labels(instance: &Instance, part: Part) -> BTreeMap<String, String> {
    let part: &str = part.into();
    let mut labels = of_instance(instance);
    labels.extend([("name", "dhis2"), ("component", part), ("part-of", "dhis2")].map(|(key, value)| (label(key), value.to_owned())));
    labels
}

/// Selects the pods of a part. What workloads select by can't be changed later, so it is no more than it must be.
pub fn pods(instance: &Instance, part: Part) -> LabelSelector {
    let part: &str = part.into();
    let mut labels = of_instance(instance);
    labels.insert(label("component"), part.to_owned());
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}

/// Selects all pods of the instance.
pub fn all_pods(instance: &Instance) -> LabelSelector {
    LabelSelector { match_labels: Some(of_instance(instance)), ..LabelSelector::default() }
}

/// `managed-by` keeps apart what another tool labels with the same instance name.
fn of_instance(instance: &Instance) -> BTreeMap<String, String> {
    [("instance", instance.name.as_str()), ("managed-by", MANAGER)].map(|(key, value)| (label(key), value.to_owned())).into()
}

fn label(key: &str) -> String {
    format!("app.kubernetes.io/{key}")
}

/// Metadata of an object that goes with the instance.
pub fn owned(instance: &Instance, name: &str, part: Part) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(instance.namespace.clone()),
        labels: Some(labels(instance, part)),
        owner_references: Some(vec![instance.owner.clone()]),
        ..ObjectMeta::default()
    }
}

/// Metadata of an object that outlives the instance unless it is not to be retained. Whose it is, an annotation tells in any case.
pub fn kept(instance: &Instance, name: &str, part: Part) -> ObjectMeta {
    ObjectMeta {
        annotations: Some([(INSTANCE.to_owned(), instance.uid.clone())].into()),
        owner_references: (!instance.retain).then(|| vec![instance.owner.clone()]),
        ..owned(instance, name, part)
    }
}
