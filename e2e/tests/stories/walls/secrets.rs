//! Where secrets are: in Secrets, and in the processes that need them. Nowhere in what the cluster shows or kept.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dhis2_e2e::cluster::run;
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, process};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

/// A secret of the users' own, named by `secretConfig`.
const THEIRS: &str = "marker-0c8f6d1e7b5a4923";

/// Makes a Secret of the users' own; returns what names it.
pub async fn theirs(story: &Story) -> Outcome<Value> {
    let api: Api<Secret> = Api::namespaced(story.client.clone(), &story.namespace);
    let metadata = ObjectMeta { name: Some("ldap".to_owned()), ..ObjectMeta::default() };
    let string_data = Some(BTreeMap::from([("password".to_owned(), THEIRS.to_owned())]));
    api.create(&PostParams::default(), &Secret { metadata, string_data, ..Secret::default() }).await?;
    Ok(json!({ "ldap.manager.password": { "secretName": "ldap", "key": "password" } }))
}

/// Every value of every Secret of the namespace, plain and as Secrets carry it; user names are none.
async fn markers(story: &Story) -> Outcome<Vec<(String, String)>> {
    let api: Api<Secret> = Api::namespaced(story.client.clone(), &story.namespace);
    let mut markers = Vec::new();
    for secret in api.list(&ListParams::default()).await? {
        let name = secret.name_any();
        for (key, value) in secret.data.unwrap_or_default().into_iter().filter(|(key, _)| key != "username") {
            let text = String::from_utf8(value.0)?;
            assert!(text.len() >= 12, "{name}/{key} is too short to be found by");
            markers.push((format!("{name}/{key}, encoded"), BASE64_STANDARD.encode(&text)));
            markers.push((format!("{name}/{key}"), text));
        }
    }
    assert!(markers.len() >= 12, "where are the Secrets?");
    Ok(markers)
}

/// Looks for them in all objects but Secrets, in what `kubectl describe` says of them, in all logs, in the arguments of all
/// processes, and in whatever else the cluster wrote down.
pub async fn are_nowhere_else(story: &Story, operator: &Operator) -> Outcome {
    let markers = markers(story).await?;
    let mut seen = vec![("the operator's log".to_owned(), operator.log().await?)];
    let kinds = "dhis2,pods,statefulsets,jobs,cronjobs,configmaps,persistentvolumeclaims,services,ingresses,networkpolicies,events,controllerrevisions";
    for (verb, form) in [("get", &["--output", "yaml", "--show-managed-fields"][..]), ("describe", &[])] {
        let mut kubectl = story.site.kubectl();
        seen.push((format!("kubectl {verb}"), run::output(kubectl.args(["--namespace", &story.namespace, verb, kinds]).args(form))?));
    }
    let mut logs = story.site.kubectl();
    logs.args(["--namespace", &story.namespace, "logs", "--selector", "app.kubernetes.io/managed-by=dhis2-operator"]);
    seen.push(("the logs of all pods".to_owned(), run::output(logs.args(["--all-containers", "--tail=-1", "--prefix"]))?));
    if story.site.own.is_some() {
        seen.push(("the arguments of a process".to_owned(), process::arguments()?));
    }
    for (place, text) in &seen {
        assert!(text.len() > 100, "{place} is empty: {text}");
        for (name, value) in &markers {
            assert!(!text.contains(value.as_str()), "the value of {name} is in {place}");
        }
    }
    in_no_file(story, &markers)
}

/// The logs that the node and the control plane wrote, the audit log among them.
fn in_no_file(story: &Story, markers: &[(String, String)]) -> Outcome {
    let Some(own) = &story.site.own else {
        story.tell("left out: processes, and the files of node and control plane, need our own cluster's machine");
        return Ok(());
    };
    let mut patterns = tempfile::NamedTempFile::new()?;
    let values: Vec<&str> = markers.iter().map(|(_, value)| value.as_str()).collect();
    patterns.write_all(values.join("\n").as_bytes())?;
    let folders = [own.place().logs(), own.place().folder.join("node/var/log/pods")];
    let found = Command::new("grep").args(["-rlF", "-f"]).arg(patterns.path()).args(folders).output()?;
    assert!(found.status.code() == Some(1), "a secret is in {}", String::from_utf8_lossy(&found.stdout));
    story.tell(&format!("{} secret values were looked for", markers.len() / 2));
    Ok(())
}
