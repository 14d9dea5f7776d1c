//! A user who may write the instances of one namespace, and nothing else, gets nothing else by it.

use std::time::Duration;

use dhis2_e2e::site::{Outcome, Story, wait};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
/// Their name; on a cluster of their own nobody has it.
const USER: &str = "tenant-of-a-story";

pub async fn may_write_instances_only(story: &Story) -> Outcome {
    grant(story).await?;
    let (here, operators) = (&story.namespace, story.operator_namespace());
    let instances = format!("/apis/dhis2.hosting/v1alpha1/namespaces/{here}/dhis2instances");
    let manifest = story.manifest("theirs", &json!({ "backup": { "schedule": "0 0 30 2 *" } }));
    let theirs = format!("{instances}/theirs");
    // The API server hears of a right a moment after it took it.
    let granted = async || match ask(story, "GET", &theirs, &Value::Null).await.map_err(|error| error.to_string())? {
        404 => Ok(()),
        other => Err(other.to_string()),
    };
    wait::ask("the right to look at an instance", SOON, granted).await?;
    for (method, path, body) in [
        ("POST", instances.as_str(), manifest.clone()),
        ("PATCH", &theirs, json!({ "metadata": { "labels": { "team": "hmis" } } })),
        ("GET", &theirs, Value::Null),
        ("DELETE", &theirs, Value::Null),
    ] {
        let answer = ask(story, method, path, &body).await?;
        assert!((200..300).contains(&answer), "{method} {path}: {answer}");
    }
    let object = json!({ "metadata": { "name": "theirs" } });
    let core = |namespace: &str, what: &str| format!("/api/v1/namespaces/{namespace}/{what}");
    for (method, path, body) in [
        ("GET", core(here, "secrets"), Value::Null),
        ("GET", core(here, "secrets/told-0-admin"), Value::Null),
        ("POST", core(here, "secrets"), object.clone()),
        ("GET", core(here, "configmaps"), Value::Null),
        ("POST", core(here, "configmaps"), object.clone()),
        ("POST", core(here, "pods"), object.clone()),
        ("POST", core(here, "pods/told-0-0/exec?command=id"), Value::Null),
        ("POST", core(here, "serviceaccounts/default/token"), json!({ "spec": {} })),
        ("DELETE", core(here, "persistentvolumeclaims/told-0-database"), Value::Null),
        ("GET", core(&operators, "pods"), Value::Null),
        ("GET", core(&operators, "secrets"), Value::Null),
        ("GET", "/api/v1/namespaces".to_owned(), Value::Null),
        ("GET", "/apis/dhis2.hosting/v1alpha1/dhis2instances".to_owned(), Value::Null),
        ("POST", format!("/apis/dhis2.hosting/v1alpha1/namespaces/{operators}/dhis2instances"), manifest),
        ("PATCH", format!("{instances}/told-0/status"), json!({ "status": { "url": "https://elsewhere.example.org" } })),
        ("POST", format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{here}/rolebindings"), object),
        ("DELETE", format!("/apis/coordination.k8s.io/v1/namespaces/{operators}/leases/story-dhis2-operator"), Value::Null),
    ] {
        assert_eq!(ask(story, method, &path, &body).await?, 403, "{method} {path}");
    }
    Ok(())
}

async fn grant(story: &Story) -> Outcome {
    let metadata = json!({ "name": "instances" });
    let role: Role = serde_json::from_value(json!({
        "metadata": metadata,
        "rules": [{ "apiGroups": ["dhis2.hosting"], "resources": ["dhis2instances"], "verbs": ["get", "create", "update", "patch", "delete"] }],
    }))?;
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": metadata,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "instances" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER }],
    }))?;
    Api::namespaced(story.client.clone(), &story.namespace).create(&PostParams::default(), &role).await?;
    Api::namespaced(story.client.clone(), &story.namespace).create(&PostParams::default(), &binding).await?;
    Ok(())
}

/// The status code of the answer to what they ask.
async fn ask(story: &Story, method: &str, path: &str, body: &Value) -> Outcome<u16> {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = http::Request::builder().method(method).uri(path).header("Impersonate-User", USER).header("content-type", kind);
    match story.client.request::<Value>(request.body(body)?).await {
        Ok(_) => Ok(200),
        Err(kube::Error::Api(status)) => Ok(status.code),
        Err(error) => Err(error.into()),
    }
}
