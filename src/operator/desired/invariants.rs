//! What holds for the objects of any instance.

use std::collections::BTreeSet;

use proptest::{prelude::*, sample::select};
use serde_json::Value;

use super::{Policy, Wanted, fixture, pod_security::violations};
use crate::operator::{cases, instance::Instance, kind::Kind};

/// The kinds that have pods made.
const WORKLOADS: [Kind; 3] = [Kind::StatefulSet, Kind::Job, Kind::CronJob];

/// The pod template of a workload.
fn template(wanted: &Wanted) -> Option<&Value> {
    let path = match wanted.kind {
        Kind::StatefulSet | Kind::Job => "/spec/template",
        Kind::CronJob => "/spec/jobTemplate/spec/template",
        _ => return None,
    };
    Some(wanted.object.pointer(path).expect("a workload has a template"))
}

fn list<'a>(object: &'a Value, path: &str) -> &'a [Value] {
    object.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn containers(template: &Value) -> impl Iterator<Item = &Value> {
    list(template, "/spec/initContainers").iter().chain(list(template, "/spec/containers"))
}

/// What we ask of a pod beyond Pod Security `restricted`.
fn modest(template: &Value) -> Result<(), String> {
    let pod = template.pointer("/spec").expect("a template has a spec");
    holds(pod.get("serviceAccountName").is_none() && pod.get("hostUsers").is_none(), "no account of its own, no users of the node")?;
    holds(pod["automountServiceAccountToken"] == false && pod["enableServiceLinks"] == false, "no token, no service links")?;
    for volume in list(pod, "/volumes") {
        let known = ["configMap", "emptyDir", "ephemeral", "persistentVolumeClaim", "secret"];
        holds(
            volume.as_object().unwrap().keys().all(|key| key == "name" || known.contains(&key.as_str())),
            "volumes of types that we use",
        )?;
    }
    for container in containers(template) {
        let security = &container["securityContext"];
        holds(security["capabilities"] == serde_json::json!({"drop": ["ALL"]}), "no capabilities")?;
        holds(security["readOnlyRootFilesystem"] == true, "a root file system that is not written")?;
        for amount in ["/resources/requests/memory", "/resources/requests/cpu", "/resources/limits/memory"] {
            holds(!text(container, amount).is_empty(), amount)?;
        }
        holds(!text(container, "/imagePullPolicy").is_empty(), "a pull policy")?;
    }
    Ok(())
}

fn holds(condition: bool, what: &str) -> Result<(), String> {
    if condition { Ok(()) } else { Err(what.to_owned()) }
}

fn is_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len()) && name.chars().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

/// Does a label selector of ours select these labels?
fn selects(selector: &Value, labels: &Value) -> bool {
    assert!(selector.get("matchExpressions").is_none(), "only labels are used");
    let wanted = selector.get("matchLabels").and_then(Value::as_object).expect("a selector names labels");
    !wanted.is_empty() && wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Every name of a claim, ConfigMap or Secret that a pod refers to, by kind.
fn references(value: &Value, found: &mut BTreeSet<(Kind, String, Option<String>)>) {
    let Value::Object(map) = value else {
        for entry in value.as_array().into_iter().flatten() {
            references(entry, found);
        }
        return;
    };
    for (key, inner) in map {
        let name = |field: &str| inner[field].as_str().expect("a name").to_owned();
        match key.as_str() {
            "persistentVolumeClaim" => drop(found.insert((Kind::PersistentVolumeClaim, name("claimName"), None))),
            "configMap" => drop(found.insert((Kind::ConfigMap, name("name"), None))),
            "secretKeyRef" => drop(found.insert((Kind::Secret, name("name"), Some(name("key"))))),
            "secret" => {
                for item in list(inner, "/items") {
                    found.insert((Kind::Secret, name("secretName"), Some(text(item, "/key").to_owned())));
                }
            }
            _ => references(inner, found),
        }
    }
}

/// The Secrets that are the user's own.
fn foreign(instance: &Instance) -> BTreeSet<String> {
    let mut foreign: BTreeSet<String> = instance.application.secret_config.values().map(|secret| secret.secret_name.clone()).collect();
    foreign.extend(["key-of-theirs", "s3-credentials", "s3-ca"].map(str::to_owned));
    foreign
}

fn exists(all: &[Wanted], kind: Kind, name: &str, key: Option<&str>) -> bool {
    all.iter().any(|wanted| {
        let has_key = |key: &str| matches!(&wanted.policy, Policy::Generate(values) if values.iter().any(|value| value.key == key));
        wanted.kind == kind && wanted.name == name && key.is_none_or(has_key)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(10_000), ..ProptestConfig::default() })]

    #[test]
    fn every_pod_is_restricted(instance in fixture::any(), stage in select(fixture::STAGES.to_vec())) {
        let instance = Instance { stage, ..instance };
        for wanted in WORKLOADS.iter().flat_map(|kind| super::of_kind(&instance, *kind)) {
            let template = template(&wanted).unwrap();
            prop_assert_eq!(violations(template), Vec::<String>::new(), "{}", wanted.name);
            prop_assert_eq!(modest(template), Ok(()), "{}", wanted.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(32), ..ProptestConfig::default() })]

    #[test]
    fn names_are_valid_and_unique(instance in fixture::any()) {
        let all = fixture::at_all_stages(&instance);
        for wanted in &all {
            prop_assert!(is_name(&wanted.name), "{}", wanted.name);
            prop_assert_eq!(text(&wanted.object, "/metadata/name"), &wanted.name);
            prop_assert_eq!(text(&wanted.object, "/metadata/namespace"), &instance.namespace);
            prop_assert_eq!(text(&wanted.object, "/kind"), wanted.kind.name());
            if wanted.kind == Kind::CronJob {
                prop_assert!(wanted.name.len() <= 52, "the controller appends 11 characters");
            }
        }
        for stage in fixture::STAGES {
            let wanted = super::desired(&Instance { stage, ..instance.clone() });
            let names: BTreeSet<_> = wanted.iter().map(|wanted| (wanted.kind, &wanted.name)).collect();
            prop_assert_eq!(names.len(), wanted.len());
        }
    }

    #[test]
    fn labels_are_valid(instance in fixture::any()) {
        for wanted in fixture::at_all_stages(&instance) {
            let templates = template(&wanted).into_iter().map(|template| &template["metadata"]["labels"]);
            for labels in templates.chain([&wanted.object["metadata"]["labels"]]) {
                for value in labels.as_object().unwrap().values() {
                    prop_assert!(value.as_str().unwrap().len() <= 63);
                }
                prop_assert_eq!(&labels["app.kubernetes.io/managed-by"], "dhis2-operator");
                prop_assert_eq!(&labels["app.kubernetes.io/instance"], &instance.name);
            }
        }
    }

    #[test]
    fn selectors_select_their_own_pods_only(instance in fixture::any()) {
        let all = fixture::at_all_stages(&instance);
        for set in all.iter().filter(|wanted| wanted.kind == Kind::StatefulSet) {
            for pod in all.iter().filter_map(template) {
                let own = template(set) == Some(pod);
                prop_assert_eq!(selects(&set.object["spec"]["selector"], &pod["metadata"]["labels"]), own);
            }
        }
        for service in all.iter().filter(|wanted| wanted.kind == Kind::Service) {
            let selector = serde_json::json!({"matchLabels": service.object["spec"]["selector"]});
            let selected: Vec<_> = all.iter().filter(|wanted| template(wanted).is_some_and(|pod| selects(&selector, &pod["metadata"]["labels"]))).collect();
            prop_assert_eq!(selected.len(), 1);
            let port = text(&service.object, "/spec/ports/0/targetPort");
            let ports: Vec<_> = containers(template(selected[0]).unwrap()).flat_map(|container| list(container, "/ports")).collect();
            prop_assert!(ports.iter().any(|known| known["name"] == port), "{port}");
        }
    }

    #[test]
    fn what_a_pod_refers_to_exists(instance in fixture::any()) {
        let all = fixture::at_all_stages(&instance);
        for pod in all.iter().filter_map(template) {
            let mut found = BTreeSet::new();
            references(&pod["spec"], &mut found);
            for (kind, name, key) in found {
                let theirs = kind == Kind::Secret && foreign(&instance).contains(&name);
                prop_assert!(theirs || exists(&all, kind, &name, key.as_deref()), "{kind:?} {name} {key:?}");
            }
        }
        for set in all.iter().filter(|wanted| wanted.kind == Kind::StatefulSet) {
            prop_assert!(exists(&all, Kind::Service, text(&set.object, "/spec/serviceName"), None));
        }
    }

    #[test]
    fn mounts_have_volumes_and_volumes_are_used(instance in fixture::any()) {
        for pod in fixture::at_all_stages(&instance).iter().filter_map(template) {
            let volumes: Vec<_> = list(pod, "/spec/volumes").iter().map(|volume| text(volume, "/name")).collect();
            let unique: BTreeSet<_> = volumes.iter().copied().collect();
            let mounted: BTreeSet<_> = containers(pod).flat_map(|container| list(container, "/volumeMounts")).map(|mount| text(mount, "/name")).collect();
            prop_assert_eq!(unique.len(), volumes.len());
            prop_assert_eq!(unique, mounted);
            for container in containers(pod) {
                let paths: Vec<_> = list(container, "/volumeMounts").iter().map(|mount| text(mount, "/mountPath")).collect();
                prop_assert_eq!(paths.iter().collect::<BTreeSet<_>>().len(), paths.len());
            }
        }
    }

    #[test]
    fn the_same_instance_gives_the_same_objects(instance in fixture::any()) {
        prop_assert_eq!(super::desired(&instance), super::desired(&instance.clone()));
    }

    #[test]
    fn nothing_empty_is_written(instance in fixture::any()) {
        for wanted in fixture::at_all_stages(&instance) {
            // What a user gives, such as an empty affinity, is theirs.
            if instance.pod.affinity.is_none() {
                prop_assert!(!has_empty(&wanted.object), "{}", wanted.object);
            }
        }
    }

    #[test]
    fn what_outlives_the_instance_says_whose_it_is(instance in fixture::any()) {
        for wanted in fixture::at_all_stages(&instance) {
            let owned = !list(&wanted.object, "/metadata/ownerReferences").is_empty();
            let opens = ["encryption", "backup", "admin"].map(|suffix| instance.child(suffix));
            let kept = wanted.policy == Policy::Claim || opens.contains(&wanted.name) && wanted.kind == Kind::Secret;
            prop_assert_eq!(owned, !(kept && instance.retain), "{}", wanted.name);
            let told = wanted.object["metadata"]["annotations"]["dhis2.hosting/instance"] == instance.uid;
            prop_assert_eq!(told, kept, "{}", wanted.name);
        }
    }
}

/// Null, or an empty list or map other than the two that Kubernetes gives a meaning.
fn has_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty() || list.iter().any(has_empty),
        Value::Object(map) => map.is_empty() || map.values().any(has_empty),
        _ => false,
    }
}
