//! Which instance has an address that several ask for. Pure, and the same in whatever order the watches told of them.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::parse::Refusal;
use crate::api::{Dhis2Instance, Reason};

/// Who comes first at an address: whoever serves there, then the older one, then the lower uid.
type Rank = (bool, Option<Timestamp>, Option<String>);

/// Why a resource does not get the address that it asks for, if another one of `all` has it. A neighbour in another namespace
/// is not named: whoever asks need not know who else is in the cluster.
pub fn taken<'a>(resource: &Dhis2Instance, all: impl IntoIterator<Item = &'a Dhis2Instance>) -> Option<Refusal> {
    let address = asked(resource);
    let own = rank(resource, &address)?;
    let others = all.into_iter().filter(|other| other.metadata.uid != resource.metadata.uid);
    let claims = others.filter_map(|other| Some((rank(other, &address)?, other)));
    let (_, other) = claims.min_by(|one, other| one.0.cmp(&other.0)).filter(|(rank, _)| *rank < own)?;
    let who = if other.namespace() == resource.namespace() {
        format!("instance {} of this namespace", other.name_any())
    } else {
        "an instance of another namespace".to_owned()
    };
    Some(Refusal::new(
        Reason::HostConflict,
        format!(
            "spec.web: {address} is the address of {who}, so no Ingress is made for it. All else goes on. Choose another host or path; if the other one gives the address up, the Ingress follows by itself."
        ),
    ))
}

fn rank(resource: &Dhis2Instance, address: &str) -> Option<Rank> {
    let serves = served(resource) == Some(address);
    let created = resource.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (serves || asked(resource) == address).then(|| (!serves, created, resource.uid()))
}

/// Host and path. Another path of the same host is another address: an ingress controller tells them apart.
pub(super) fn asked(resource: &Dhis2Instance) -> String {
    let web = &resource.spec.web;
    format!("{}{}", web.host, web.path.trim_end_matches('/'))
}

/// Where its Ingress leads to, whatever the resource asks for meanwhile.
pub(super) fn served(resource: &Dhis2Instance) -> Option<&str> {
    resource.status.as_ref()?.url.as_deref()?.split_once("://").map(|(_, address)| address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn instance(namespace: &str, name: &str, host: &str, created: u32) -> Dhis2Instance {
        let metadata = json!({
            "name": name, "namespace": namespace, "uid": format!("uid-of-{namespace}-{name}"),
            "creationTimestamp": format!("2026-11-25T12:00:{created:02}Z")
        });
        changed(&json!({
            "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance", "metadata": metadata,
            "spec": {"version": "2.42.4", "web": {"host": host}}
        }))
    }

    fn changed(manifest: &Value) -> Dhis2Instance {
        serde_json::from_value(manifest.clone()).unwrap()
    }

    fn serving(instance: &Dhis2Instance, url: &str) -> Dhis2Instance {
        let mut manifest = json!(instance);
        manifest["status"]["url"] = json!(url);
        changed(&manifest)
    }

    fn at(instance: &Dhis2Instance, path: &str) -> Dhis2Instance {
        let mut manifest = json!(instance);
        manifest["spec"]["web"]["path"] = json!(path);
        changed(&manifest)
    }

    /// Names of those that wait, which must not depend on the order.
    fn waiting(all: &[Dhis2Instance]) -> Vec<String> {
        let waits = |backwards: bool| {
            let order = || -> Box<dyn Iterator<Item = &Dhis2Instance>> {
                if backwards { Box::new(all.iter().rev()) } else { Box::new(all.iter()) }
            };
            all.iter().filter(|one| taken(one, order()).is_some()).map(ResourceExt::name_any).collect::<Vec<_>>()
        };
        assert_eq!(waits(false), waits(true), "the order in which a restarted operator lists them decides");
        waits(false)
    }

    #[test]
    fn the_later_one_waits() {
        let [first, second] = [instance("ns", "b", "h.org", 1), instance("ns", "a", "h.org", 2)];
        assert_eq!(waiting(&[first.clone(), second.clone()]), ["a"]);
        assert_eq!(waiting(&[second]), [""; 0], "the first one is deleted");
        assert_eq!(waiting(&[first, instance("ns", "a", "other.org", 2)]), [""; 0], "the second one has another host");
    }

    #[test]
    fn of_two_of_the_same_second_one_waits() {
        let all = [instance("ns", "b", "h.org", 1), instance("ns", "a", "h.org", 1), instance("ns", "c", "h.org", 1)];
        assert_eq!(waiting(&all), ["b", "c"]);
    }

    #[test]
    fn whoever_serves_keeps_the_address() {
        let older = instance("ns", "older", "h.org", 1);
        let younger = serving(&instance("ns", "younger", "h.org", 2), "https://h.org");
        assert_eq!(waiting(&[older.clone(), younger.clone()]), ["older"]);
        let moving = serving(&older, "https://elsewhere.org");
        assert_eq!(waiting(&[moving, younger.clone()]), ["older"]);
        assert_eq!(waiting(&[serving(&older, "http://h.org"), younger]), ["younger"], "both serve: from before this rule was");
    }

    /// A paused one is left alone: whatever it asks for, its Ingress stays where it is.
    #[test]
    fn an_address_that_is_still_served_is_not_free() {
        let paused = serving(&instance("ns", "paused", "new.org", 2), "https://old.org");
        assert_eq!(waiting(&[instance("ns", "next", "old.org", 1), paused]), ["next"]);
    }

    #[test]
    fn another_path_is_another_address() {
        let root = instance("ns", "root", "h.org", 1);
        assert_eq!(waiting(&[root.clone(), at(&instance("ns", "hmis", "h.org", 2), "/hmis")]), [""; 0]);
        assert_eq!(waiting(&[at(&root, "/hmis"), at(&instance("ns", "hmis", "h.org", 2), "/hmis")]), ["hmis"]);
        let served = serving(&at(&root, "/hmis"), "https://h.org/hmis");
        assert_eq!(waiting(&[served, at(&instance("ns", "hmis", "h.org", 0), "/hmis")]), ["hmis"]);
    }

    #[test]
    fn neighbours_are_named_at_home_only() {
        let told =
            |there: &str| taken(&instance("ns", "late", "h.org", 2), [&instance(there, "secret-project", "h.org", 1)]).unwrap().message;
        assert!(told("ns").contains("instance secret-project of this namespace"), "{}", told("ns"));
        let abroad = told("their-namespace");
        assert!(abroad.contains("h.org") && !abroad.contains("secret-project") && !abroad.contains("their-namespace"), "{abroad}");
    }
}
