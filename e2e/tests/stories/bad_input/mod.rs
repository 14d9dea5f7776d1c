//! Bad input, all of `tests/bad_input.yaml` and `tests/bad_requests.yaml`: what can be seen without the cluster the API server refuses, dry run or not, with the field
//! and what to do; the rest the operator tells. And who may write instances may do nothing else.

mod refused;
mod requests;
mod tenant;
mod told;

use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Story, checkout};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Table {
    refused: Vec<Refused>,
    changed: Vec<Changed>,
    told: Vec<Told>,
}

/// A resource that the API server does not take.
#[derive(Deserialize)]
struct Refused {
    name: Option<String>,
    #[serde(default = "nothing")]
    spec: Value,
    field: String,
    says: String,
}

fn nothing() -> Value {
    json!({})
}

/// A change that it does not take.
#[derive(Deserialize)]
struct Changed {
    from: Value,
    to: Value,
    field: String,
    says: String,
}

/// A resource that it takes and that the operator can't use.
#[derive(Deserialize)]
struct Told {
    spec: Value,
    reason: String,
    field: String,
    says: String,
}

#[test]
fn bad_input() {
    crate::tell("bad-input", |story| async move {
        let Table { refused, changed, told } = serde_yaml::from_str(&std::fs::read_to_string(checkout("tests/bad_input.yaml"))?)?;
        let number = refused.len() + changed.len() + requests::all(&story).await?;
        refused::new_ones(&story, refused).await?;
        refused::changes(&story, &changed).await?;
        refused::a_status_of_theirs(&story).await?;
        tenant::may_write_instances_only(&story).await?;
        let operator = Operator::install(&story).await?;
        let told = told::all(&story, told).await?;
        told::nothing_of_it_gets_out(&story, &operator).await?;
        story.tell(&format!("{number} refused by the API server, {told} told"));
        Ok(())
    });
}

/// What the API server says to a new object, as `kubectl apply` sends it.
async fn create(story: &Story, plural: &str, object: &Value, dry_run: bool) -> Result<(), String> {
    let dry_run = if dry_run { "&dryRun=All" } else { "" };
    let path = format!("/apis/dhis2.hosting/v1alpha1/namespaces/{}/{plural}?fieldValidation=Strict{dry_run}", story.namespace);
    let request = http::Request::post(path).header("content-type", "application/json").body(object.to_string().into_bytes());
    match story.client.request::<Value>(request.map_err(|error| error.to_string())?).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message),
        Err(error) => Err(error.to_string()),
    }
}
