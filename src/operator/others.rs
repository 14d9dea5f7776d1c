//! Other instances, whose repositories a resource or a request means when it names them. They are in the same namespace, and so are
//! their keys: nobody reaches more by a name than by naming the repository itself.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;

use super::{children::Children, slot::Slot};
use crate::api::{Dhis2Instance, backup::S3, bootstrap::SourceRepository};

/// The repository of another instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Where it is.
    pub repository: SourceRepository,
    /// The Secret with its key.
    pub password: String,
}

/// What is known of the repositories of others, by the names of the instances.
pub type Others = BTreeMap<String, Elsewhere>;

/// Those that a resource and the requests about it name, as far as `find` knows them.
pub fn named(resource: &Dhis2Instance, children: &Children, find: impl Fn(&str) -> Option<Elsewhere>) -> Others {
    let asked = children.iter().filter_map(|(_, _, slot)| by_request(slot));
    let names: BTreeSet<&str> = by_bootstrap(resource).into_iter().chain(asked).collect();
    names.into_iter().filter_map(|name| Some((name.to_owned(), find(name)?))).collect()
}

/// The instance with a set of which the resource begins.
pub fn by_bootstrap(resource: &Dhis2Instance) -> Option<&str> {
    resource.spec.bootstrap.as_ref()?.from_backup.as_ref()?.instance.as_deref()
}

fn by_request(slot: &Slot) -> Option<&str> {
    slot.request()?.spec.from.as_ref()?.instance.as_deref()
}

/// The repository of an instance, as another one names it.
pub fn repository_of(other: &Dhis2Instance) -> Elsewhere {
    let name = other.name_any();
    let recorded = other.status.as_ref().and_then(|status| status.claims.as_ref()?.backups.as_ref());
    let claim = || recorded.map_or_else(|| format!("{name}-backups"), |made| made.name.clone());
    let bucket = |s3: &S3| {
        let own = || format!("{}/{name}", other.namespace().unwrap_or_default());
        S3 { prefix: Some(s3.prefix.clone().unwrap_or_else(own)), ..s3.clone() }
    };
    let repository = match &other.spec.backup.repository.s3 {
        Some(s3) => SourceRepository { volume_claim: None, s3: Some(bucket(s3)) },
        None => SourceRepository { volume_claim: Some(claim()), s3: None },
    };
    Elsewhere { repository, password: format!("{name}-backup") }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::restore::Dhis2RestoreStatus,
        operator::{
            kind::Kind,
            slot::{Facts, Request, fixture::owned},
        },
    };

    fn instance(name: &str, more: &Value) -> Dhis2Instance {
        let mut spec = json!({"version": "2.42.4", "web": {"host": "play.example.org"}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut resource = Dhis2Instance::new(name, serde_json::from_value(spec).unwrap());
        resource.metadata.namespace = Some("hmis".into());
        resource
    }

    #[test]
    fn the_repository_of_another_one_is_where_that_one_has_it() {
        let volume = repository_of(&instance("old", &json!({})));
        assert_eq!((volume.repository.volume_claim.as_deref(), volume.password.as_str()), (Some("old-backups"), "old-backup"));
        let s3 = |more: &Value| {
            let mut s3 = json!({"bucket": "sets", "credentials": {"secretName": "s3"}});
            s3.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let other = repository_of(&instance("old", &json!({"backup": {"repository": {"s3": s3}}})));
            assert_eq!((other.repository.volume_claim, other.password.as_str()), (None, "old-backup"));
            other.repository.s3.unwrap()
        };
        assert_eq!(s3(&json!({})).prefix.as_deref(), Some("hmis/old"), "not the place of whoever reads it");
        assert_eq!(s3(&json!({"prefix": "a/b"})).prefix.as_deref(), Some("a/b"));
    }

    #[test]
    fn only_those_that_are_named_are_asked_for() {
        let known = |name: &str| (name != "gone").then(|| repository_of(&instance(name, &json!({}))));
        let mut children = Children::default();
        let resource = instance("play", &json!({"bootstrap": {"fromBackup": {"instance": "old"}}}));
        for (name, from) in [("a", json!({"instance": "other"})), ("b", json!({"instance": "gone"})), ("c", json!({"copy": "away"}))] {
            let spec = serde_json::from_value(json!({"instance": "play", "from": from})).unwrap();
            let request = Request { spec, status: Dhis2RestoreStatus::default(), generation: Some(1), created: None };
            children.insert(Kind::Dhis2Restore, name, owned(name, "", Facts::Restore(Box::new(request))));
        }
        let others = named(&resource, &children, known);
        assert_eq!(others.keys().collect::<Vec<_>>(), ["old", "other"]);
        assert!(named(&instance("play", &json!({})), &Children::default(), known).is_empty());
    }
}
