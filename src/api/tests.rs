//! What the API server refuses before it is stored: the rules of the CRD, evaluated without a cluster, and
//! the patterns of its schema.

use serde_json::{Value, json};

use super::Dhis2Instance;
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
    ] {
        assert_eq!(verdict(&more), "", "{more}");
    }
}

#[test]
fn what_can_not_work_is_refused() {
    for (more, says) in [
        (json!({"version": "2.40.9"}), "2.41 or newer"),
        (json!({"version": "2.38.2.1"}), "2.41 or newer"),
        (json!({"config": {"connection.password": "x"}}), "operator sets itself"),
        (json!({"config": {"encryption.password": "x"}}), "operator sets itself"),
        (json!({"config": {"flyway.repair_before_migration": "on"}}), "operator sets itself"),
        (json!({"config": {"Max.Sessions": "x"}}), "lower case"),
        (json!({"config": {"a.b": "x\nconnection.password=y"}}), "line breaks"),
        (json!({"config": {"a.b": "x\u{2028}y"}}), "line breaks"),
        (json!({"secretConfig": {"redis.password": {"secretName": "s", "key": "k"}}}), "operator sets itself"),
        (json!({"config": {"ldap.url": "x"}, "secretConfig": {"ldap.url": {"secretName": "s", "key": "k"}}}), "not in both"),
        (json!({"encryption": {"secretName": "key", "defaultKey": true}}), "exactly one"),
        (json!({"encryption": {}}), "exactly one"),
        (json!({"web": {"tls": {"none": true, "upstream": true}}}), "exactly one"),
        (json!({"web": {"ingress": {"annotations": {"nginx.ingress.kubernetes.io/configuration-snippet": "x"}}}}), "harmless"),
        (
            json!({"web": {"ingress": {"annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "1m; return 200"}}}}),
            "control characters",
        ),
        (json!({"database": {"bundled": {"parameters": {"fsync": "0"}}}}), "only the parameters"),
        (json!({"database": {"bundled": {"parameters": {"work_mem": "1MB' include 'x"}}}}), "values are numbers"),
        (json!({"java": {"options": ["-XX:OnOutOfMemoryError=touch"]}}), "load code"),
        (json!({"java": {"options": ["-Dcontext.path=/x"]}}), "load code"),
        (json!({"pod": {"labels": {"app.kubernetes.io/instance": "other"}}}), "reserved"),
        (json!({"pod": {"annotations": {"container.apparmor.security.beta.kubernetes.io/dhis2": "unconfined"}}}), "reserved"),
        (json!({"pod": {"labels": {"dhis2.hosting/restart": "x"}}}), "reserved"),
    ] {
        let verdict = verdict(&more);
        assert!(verdict.contains(says), "{more}: {verdict:?}");
    }
}

#[test]
fn what_would_lose_data_can_not_be_changed() {
    for (from, to, says) in [
        (json!({}), json!({"encryption": {"secretName": "other"}}), "encryption key"),
        (json!({"encryption": {"secretName": "one"}}), json!({"encryption": {"secretName": "two"}}), "encryption key"),
        (json!({}), json!({"database": {"bundled": {"version": 16}}}), "PostgreSQL version"),
        (json!({}), json!({"database": {"bundled": {"image": "postgis:18"}}}), "image of a running database"),
        (json!({"files": {"volume": {"size": "20Gi"}}}), json!({"files": {"volume": {"size": "10Gi"}}}), "never shrink"),
        (json!({}), json!({"files": {"volume": {"className": "fast"}}}), "storage class"),
    ] {
        let verdict = verdict_on_change(&from, &to);
        assert!(verdict.contains(says), "{to}: {verdict:?}");
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

#[test]
fn the_schema_bounds_what_the_rules_do_not() {
    let crd = serde_json::to_value(crate::operator::crd::instance()).unwrap();
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    for (pointer, matching, failing) in [
        ("/version/pattern", vec!["2.42.1", "2.42.1.1"], vec!["latest", "42.1", "2.42", "2.42.1-rc", "2.42.1.1.1", " 2.42.1"]),
        (
            "/web/properties/host/pattern",
            vec!["play.example.org", "localhost"],
            vec!["*.example.org", "Play.org", "play..org", "play.org/x", "-a.org", "play.org\n"],
        ),
        ("/web/properties/path/pattern", vec!["/", "/hmis", "/a/b-c_d"], vec!["hmis", "/a/", "/../etc", "/a b", "/a'", "/a\n"]),
        ("/image/properties/repository/pattern", vec!["docker.io/dhis2/core", "localhost:5000/core"], vec!["", "a b", "core\n", "-core"]),
        ("/files/properties/volume/properties/size/pattern", vec!["10Gi", "500Mi"], vec!["0Gi", "-1Gi", "10", "1.5Gi", "10GiB"]),
        ("/backup/properties/timeZone/pattern", vec!["Africa/Kigali", "Etc/GMT+2"], vec!["../etc/passwd", "", "Africa Kigali"]),
    ] {
        let pattern = spec.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}"));
        let rule = format!("self.matches('{}')", pattern.replace('\\', "\\\\"));
        for (texts, good) in [(matching, true), (failing, false)] {
            for text in texts {
                assert_eq!(matches(&rule, text), good, "{pointer}: {text:?}");
            }
        }
    }
}

/// The API server's regular expressions are RE2, as CEL's are.
fn matches(rule: &str, text: &str) -> bool {
    let schema = json!({"type": "string", "x-kubernetes-validations": [{"rule": rule}]});
    kube::core::cel::Validator::new().validate(&schema, &json!(text), None).is_ok()
}

#[test]
fn a_new_resource_counts_as_being_worked_on() {
    let crd = serde_json::to_value(crate::operator::crd::instance()).unwrap();
    let status = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
    assert!(satisfies(status, &json!({"default": {"observedGeneration": -1}})));
}
