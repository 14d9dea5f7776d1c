//! What the API server refuses before it is stored: the rules of the CRD, evaluated without a cluster.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Dhis2Backup, Dhis2Instance, Dhis2Restore, Dhis2RestoreTest};
use crate::operator::compare::satisfies;

fn resource(spec: &Value) -> Result<Dhis2Instance, serde_json::Error> {
    serde_json::from_value(
        json!({"apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance", "metadata": {"name": "play", "namespace": "ns"}, "spec": spec}),
    )
}

fn merged(more: &Value) -> Value {
    let mut spec = json!({"version": "2.42.4", "web": {"host": "play.example.org"}});
    merge(&mut spec, more);
    spec
}

fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}

/// What the rules say of a new resource.
fn verdict(more: &Value) -> String {
    let spec = merged(more);
    match resource(&spec) {
        Ok(resource) => resource.validate_cel().err().map(|errors| format!("{errors:?}")).unwrap_or_default(),
        Err(error) => error.to_string(),
    }
}

/// What the rules say of a change.
fn verdict_on_change(from: &Value, to: &Value) -> String {
    let (old, new) = (resource(&merged(from)).unwrap(), resource(&merged(to)).unwrap());
    new.validate_cel_update(&old).err().map(|errors| format!("{errors:?}")).unwrap_or_default()
}

#[test]
fn what_people_write_is_taken() {
    for more in [
        json!({}),
        json!({"version": "2.42.10"}),
        json!({"version": "2.41.0"}),
        json!({"version": "2.50.1.1"}),
        json!({"config": {"max.sessions.per_user": "5", "system.session.timeout": "7200"}}),
        json!({"encryption": {"secretName": "key"}}),
        json!({"encryption": {"defaultKey": true}}),
        json!({"java": {"options": ["-XX:MaxGCPauseMillis=1500", "-Duser.timezone=Africa/Kigali"]}}),
        json!({"database": {"bundled": {"parameters": {"work_mem": "32MB", "random_page_cost": "1.1", "log_min_duration_statement": "-1"}}}}),
        json!({"web": {"ingress": {"annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "200m"}}}}),
        json!({"pod": {"labels": {"team": "hmis"}, "annotations": {"example.org/owner": "me"}}}),
        json!({"web": {"tls": {"issuer": {"name": "letsencrypt"}}}}),
        json!({"web": {"host": "localhost", "path": "/a/b-c_d"}}),
        json!({"web": {"host": "xn--clnica-2va.example.org"}}),
        json!({"image": {"repository": "localhost:5000/dhis2/core"}}),
        json!({"image": {"repository": "core", "digest": format!("sha256:{}", "0".repeat(64))}}),
        json!({"database": {"bundled": {"version": 16, "image": "ghcr.io/cloudnative-pg/postgis:16-3.5"}}}),
        json!({"database": {"bundled": {"image": format!("postgis@sha256:{}", "0".repeat(64))}}}),
        json!({"files": {"volume": {"size": "500Mi"}}, "resources": {"memory": "4G", "cpu": "0.5", "cpuLimit": "500m"}}),
        json!({"secretConfig": {"ldap.manager.password": {"secretName": "a.b-c", "key": ".dockerconfigjson"}}}),
        json!({"backup": {"schedule": "*/15 0-6/2 1,15 jan-JUN mon-fri", "timeZone": "Etc/GMT+2"}}),
        json!({"network": {"allowFrom": [{"podSelector": {}, "namespaceSelector": {}}, {"ipBlock": {"cidr": "10.0.0.0/8"}}]}}),
    ] {
        assert_eq!(verdict(&more), "", "{more}");
    }
}

/// Bad input that is refused before it is stored.
#[derive(Deserialize)]
struct Refused {
    name: Option<String>,
    spec: Option<Value>,
    says: String,
}

/// A change that is refused.
#[derive(Deserialize)]
struct Changed {
    from: Value,
    to: Value,
    says: String,
}

fn table<T: DeserializeOwned>(part: &str) -> Vec<T> {
    let mut table: BTreeMap<String, serde_yaml::Value> = serde_yaml::from_str(include_str!("../../tests/bad_input.yaml")).unwrap();
    serde_yaml::from_value(table.remove(part).unwrap()).unwrap()
}

/// The messages of the definition's own rules. The rest is in the API server's words, and asked of one by a story.
fn messages(schema: &Value) -> Vec<String> {
    let own = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let mut found: Vec<String> = own.filter_map(|rule| rule["message"].as_str().map(str::to_owned)).collect();
    let below = schema.as_object().into_iter().flatten().map(|(_, inner)| inner).chain(schema.as_array().into_iter().flatten());
    found.extend(below.flat_map(messages));
    found
}

#[test]
fn what_can_not_work_is_refused() {
    let messages = messages(&json!(crate::operator::crd::instance()));
    let own = |says: &str| !says.is_empty() && messages.iter().any(|message| message.contains(says));
    let refused: Vec<Refused> = table("refused");
    let mut seen = 0;
    for Refused { name, spec, says } in refused.iter().filter(|refused| own(&refused.says)) {
        let mut resource = resource(&merged(&spec.clone().unwrap_or(json!({})))).unwrap();
        resource.metadata.name = name.clone().or(resource.metadata.name);
        let verdict = resource.validate_cel().err().map(|errors| format!("{errors:?}")).unwrap_or_default();
        assert!(verdict.contains(says), "{spec:?} {name:?}: {says:?} is not in {verdict:?}");
        seen += 1;
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn what_would_lose_data_can_not_be_changed() {
    for Changed { from, to, says } in table("changed") {
        let verdict = verdict_on_change(&from, &to);
        assert!(verdict.contains(&says), "{to}: {verdict:?}");
    }
    for (from, to) in [
        (json!({"files": {"volume": {"size": "10Gi"}}}), json!({"files": {"volume": {"size": "20Gi"}}})),
        (json!({"size": "medium"}), json!({"size": "small"})),
        (json!({}), json!({"web": {"host": "other.example.org"}})),
    ] {
        assert_eq!(verdict_on_change(&from, &to), "", "{to}");
    }
}

#[test]
fn names_become_names_of_services() {
    for (name, good) in [
        ("play", true),
        ("p-1", true),
        ("1play", false),
        ("Play", false),
        ("play-", false),
        ("a.b", false),
        (&"a".repeat(40), true),
        (&"a".repeat(41), false),
    ] {
        let mut resource = resource(&merged(&json!({}))).unwrap();
        resource.metadata.name = Some(name.into());
        assert_eq!(resource.validate_cel().is_ok(), good, "{name}");
    }
}

/// Nothing that a resource names can lie in another namespace. What only selects may look there: it gives no access.
#[test]
fn no_reference_has_a_namespace() {
    const SELECTING: [&str; 2] = ["namespaceSelector", "namespaces"];
    fn names(schema: &Value, found: &mut Vec<String>) {
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            found.push(name.clone());
            names(inner, found);
        }
        for below in ["items", "additionalProperties"] {
            if schema[below].is_object() {
                names(&schema[below], found);
            }
        }
    }
    let crd = json!(crate::operator::crd::instance());
    let mut found = Vec::new();
    names(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"], &mut found);
    assert!(found.iter().any(|name| name == "secretName"), "the walk misses fields: {found:?}");
    let naming: Vec<_> =
        found.iter().filter(|name| name.to_lowercase().contains("namespace") && !SELECTING.contains(&name.as_str())).collect();
    assert!(naming.is_empty(), "{naming:?}");
}

#[test]
fn a_new_resource_counts_as_being_worked_on() {
    let crd = serde_json::to_value(crate::operator::crd::instance()).unwrap();
    let status = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
    assert!(satisfies(status, &json!({"default": {"observedGeneration": -1}})));
}

/// What the rules say of a request to restore, and of a change of it.
fn verdict_on_restore(from: Option<&Value>, to: &Value) -> String {
    let request = |spec: &Value| -> Result<Dhis2Restore, serde_json::Error> {
        let mut all = json!({"instance": "play"});
        merge(&mut all, spec);
        serde_json::from_value(json!({
            "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Restore", "metadata": {"name": "back", "namespace": "ns"}, "spec": all
        }))
    };
    let to = match request(to) {
        Ok(to) => to,
        Err(error) => return error.to_string(),
    };
    let verdict = match from {
        Some(from) => to.validate_cel_update(&request(from).unwrap()),
        None => to.validate_cel(),
    };
    verdict.err().map(|errors| format!("{errors:?}")).unwrap_or_default()
}

#[test]
fn a_request_to_restore_names_one_set_and_stays_what_it_is() {
    let time = "2026-11-29T12:00:00Z";
    let other = json!({"from": {"repository": {"volumeClaim": "other-backups"}, "passwordSecretName": "other-backup"}});
    let copy = json!({"from": {"copy": "away"}});
    let named = json!({"from": {"instance": "other"}});
    for taken in [
        json!({}),
        json!({"set": "play-backup-29405160"}),
        json!({"before": time}),
        json!({"revert": true}),
        other.clone(),
        copy.clone(),
        named,
    ] {
        assert_eq!(verdict_on_restore(None, &taken), "", "{taken}");
    }
    for (refused, words) in [
        (json!({"set": "a", "before": time}), "not both"),
        (json!({"set": "a,b"}), "the name of a set"),
        (json!({"instance": "Play_1"}), "the name of an object"),
        (json!({"from": {}}), "exactly one of copy, instance and repository"),
        (json!({"from": {"instance": "a", "copy": "b"}}), "exactly one of copy, instance and repository"),
        (json!({"from": {"instance": "play"}}), "the instance's own sets"),
        (json!({"from": {"instance": "a", "passwordSecretName": "c"}}), "name the Secret with the key"),
        (
            json!({"from": {"copy": "a", "repository": {"volumeClaim": "b"}, "passwordSecretName": "c"}}),
            "exactly one of copy, instance and repository",
        ),
        (json!({"from": {"repository": {"volumeClaim": "b"}}}), "name the Secret with the key"),
        (json!({"from": {"copy": "a", "passwordSecretName": "c"}}), "name the Secret with the key"),
        (json!({"before": "yesterday"}), "year"),
    ] {
        let verdict = verdict_on_restore(None, &refused);
        assert!(verdict.contains(words), "{refused}: {verdict}");
    }
    assert_eq!(verdict_on_restore(Some(&json!({"set": "a"})), &json!({"set": "a", "revert": true})), "");
    for (from, to, words) in [
        (json!({"set": "a"}), json!({"set": "b"}), "of one set"),
        (json!({"set": "a"}), json!({}), "of one set"),
        (json!({}), json!({"before": time}), "of one set"),
        (json!({}), json!({"instance": "other"}), "of one instance"),
        (json!({}), copy.clone(), "of one set"),
        (copy, other, "of one set"),
        (json!({"revert": true}), json!({}), "stays so"),
        (json!({}), json!({"unreadableFiles": "LeaveOut"}), "carried out once"),
    ] {
        let verdict = verdict_on_restore(Some(&from), &to);
        assert!(verdict.contains(words), "{from} to {to}: {verdict}");
    }
}

/// What the rules say of a request of this kind and name, and of a change of it.
fn verdict_on<K>(kind: &str, name: &str, from: Option<&Value>, to: &Value) -> String
where
    K: DeserializeOwned + kube::CustomResourceExt + serde::Serialize,
{
    let request = |spec: &Value| -> Result<K, serde_json::Error> {
        let mut all = json!({"instance": "play"});
        merge(&mut all, spec);
        serde_json::from_value(json!({
            "apiVersion": "dhis2.hosting/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": "ns"}, "spec": all
        }))
    };
    let to = request(to).unwrap();
    let verdict = match from {
        Some(from) => kube::core::cel::validate_cel_update(&to, &request(from).unwrap()),
        None => kube::core::cel::validate_cel(&to),
    };
    verdict.err().map(|errors| format!("{errors:?}")).unwrap_or_default()
}

#[test]
fn a_request_for_a_backup_or_a_test_names_an_instance_and_stays_what_it_is() {
    let backup = |name: &str, from: Option<&Value>, to: &Value| verdict_on::<Dhis2Backup>("Dhis2Backup", name, from, to);
    let test = |name: &str, from: Option<&Value>, to: &Value| verdict_on::<Dhis2RestoreTest>("Dhis2RestoreTest", name, from, to);
    let longest = "a".repeat(64);
    for verdict in [backup, test] {
        assert_eq!(verdict("now", None, &json!({})), "");
        for (name, refused, words) in [
            ("now", json!({"instance": "Play_1"}), "the name of a Dhis2Instance"),
            ("now", json!({"instance": "1play"}), "the name of a Dhis2Instance"),
            (&longest, json!({}), "at most 63 characters"),
        ] {
            let said = verdict(name, None, &refused);
            assert!(said.contains(words), "{name} {refused}: {said}");
        }
        let said = verdict("now", Some(&json!({})), &json!({"instance": "other"}));
        assert!(said.contains("is of one instance"), "{said}");
    }
    assert_eq!(test("now", None, &json!({"set": "play-asked-0123456789ab"})), "");
    assert!(test("now", None, &json!({"set": "a,b"})).contains("the name of a set"));
    for (from, to) in [(json!({"set": "a"}), json!({"set": "b"})), (json!({"set": "a"}), json!({})), (json!({}), json!({"set": "a"}))] {
        let said = test("now", Some(&from), &to);
        assert!(said.contains("of one set"), "{from} to {to}: {said}");
    }
    for fine in [json!({"copy": "away"}), json!({"copy": "away", "level": "Data"}), json!({"level": "Application"})] {
        assert_eq!(test("now", None, &fine), "");
    }
    let said = test("now", None, &json!({"copy": "away", "level": "Application"}));
    assert!(said.contains("level Data"), "{said}");
    for (from, to) in [(json!({"copy": "a"}), json!({"copy": "b"})), (json!({"copy": "a"}), json!({})), (json!({}), json!({"copy": "a"}))] {
        let said = test("now", Some(&from), &to);
        assert!(said.contains("of one repository"), "{from} to {to}: {said}");
    }
}
