//! What the API server refuses of what is asked for once: `tests/bad_requests.yaml`.

use dhis2_e2e::site::{Outcome, Story, checkout, instance};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde::Deserialize;
use serde_json::{Value, json};

const GROUP: &str = "dhis2.hosting";
const VERSION: &str = "v1alpha1";

#[derive(Deserialize)]
struct Table {
    refused: Vec<Refused>,
    changed: Vec<Changed>,
}

/// A request that it does not take.
#[derive(Deserialize)]
struct Refused {
    kind: String,
    name: Option<String>,
    #[serde(default = "super::nothing")]
    spec: Value,
    field: String,
    says: String,
}

/// A change that it does not take.
#[derive(Deserialize)]
struct Changed {
    kind: String,
    from: Value,
    to: Value,
    field: String,
    says: String,
}

/// All of them, with a dry run and without. Returns how many there are.
pub async fn all(story: &Story) -> Outcome<usize> {
    let Table { refused, changed } = serde_yaml::from_str(&std::fs::read_to_string(checkout("tests/bad_requests.yaml"))?)?;
    let mut wrong = Vec::new();
    for Refused { kind, name, spec, field, says } in &refused {
        let name = name.as_deref().unwrap_or("bad");
        for dry_run in [true, false] {
            let said = ask(story, (kind, name), spec, dry_run).await.err().unwrap_or_default();
            if !(said.contains(field) && said.contains(says)) {
                wrong.push(format!("{kind} {name} {spec}: not {field:?} and {says:?}, but {said:?}"));
            }
        }
    }
    for Changed { kind, from, to, field, says } in &changed {
        ask(story, (kind, "changed"), from, false).await?;
        let api = api(story, kind);
        for dry_run in [true, false] {
            let parameters = PatchParams { dry_run, ..PatchParams::default() };
            let answer = api.patch("changed", &parameters, &Patch::Merge(json!({ "spec": to }))).await;
            let said = answer.err().map(|error| error.to_string()).unwrap_or_default();
            if !(said.contains(field) && said.contains(says)) {
                wrong.push(format!("{kind} {from} to {to}: not {field:?} and {says:?}, but {said:?}"));
            }
        }
        api.delete("changed", &DeleteParams::default()).await?;
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), refused.len() + changed.len(), wrong.join("\n"));
    Ok(refused.len() + changed.len())
}

fn api(story: &Story, kind: &str) -> Api<DynamicObject> {
    Api::namespaced_with(story.client.clone(), &story.namespace, &resource(kind))
}

fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, VERSION, &format!("Dhis2{kind}")))
}

/// What the API server says to a new one.
async fn ask(story: &Story, (kind, name): (&str, &str), more: &Value, dry_run: bool) -> Result<(), String> {
    let mut spec = json!({ "instance": "play" });
    instance::merge(&mut spec, more);
    let object =
        json!({ "apiVersion": format!("{GROUP}/{VERSION}"), "kind": format!("Dhis2{kind}"), "metadata": { "name": name }, "spec": spec });
    super::create(story, &resource(kind).plural, &object, dry_run).await
}
