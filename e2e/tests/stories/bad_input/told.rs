//! What only the operator sees.

use std::time::Duration;

use dhis2_e2e::site::instance::condition;
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, wait};
use dhis2_operator::api::{Dhis2Instance, PAUSED};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::Told;

/// From the resource until it is told.
const SOON: Duration = Duration::from_mins(1);

/// All of them, beside each other. Returns how many.
pub async fn all(story: &Story, mut cases: Vec<Told>) -> Outcome<usize> {
    cases.push(refused_with_the_pod());
    for (n, Told { spec, .. }) in cases.iter().enumerate() {
        story.instance(&name(n)).apply(&story.manifest(&name(n), spec)).await?;
    }
    for (n, case) in cases.iter().enumerate() {
        is_told(story, &name(n), case).await?;
    }
    Ok(cases.len() + a_pause_in_other_words(story).await?)
}

fn name(n: usize) -> String {
    format!("told-{n}")
}

/// What the API server says to the pod that is made of a resource, in its own words.
fn refused_with_the_pod() -> Told {
    Told {
        spec: json!({ "pod": { "tolerations": [{ "operator": "Exsts" }] } }),
        reason: "ObjectRejected".to_owned(),
        field: "tolerations[0].operator".to_owned(),
        says: "Equal".to_owned(),
    }
}

async fn is_told(story: &Story, name: &str, case: &Told) -> Outcome {
    let told = |seen: &Dhis2Instance| {
        condition(seen, "Stalled")
            .is_some_and(|told| told.reason == case.reason && told.message.contains(&case.field) && told.message.contains(&case.says))
    };
    let what = format!("{} about {} and {:?}", case.reason, case.field, case.says);
    wait::until(&story.instance(name).api, name, &what, SOON, told).await?;
    Ok(())
}

/// Who writes `yes` means hands off.
async fn a_pause_in_other_words(story: &Story) -> Outcome<usize> {
    let instance = story.instance("paused");
    let mut manifest = story.manifest("paused", &json!({}));
    manifest["metadata"]["annotations"] = json!({ (PAUSED): "yes" });
    instance.apply(&manifest).await?;
    instance.until("Paused").await?;
    Ok(1)
}

/// The operator's metrics name no tenant, and each line of its log is one JSON object, whatever is in it.
pub async fn nothing_of_it_gets_out(story: &Story, operator: &Operator) -> Outcome {
    let pod = operator.pod().await?.name_any();
    let metrics = operator.metrics(story, &pod).await?;
    assert!(metrics.contains("dhis2_operator_reconcile_total"), "these are no metrics: {metrics}");
    for name in [story.namespace.as_str(), "told-0", "paused"] {
        assert!(!metrics.contains(name), "the metrics name {name}");
    }
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.operator_namespace());
    let log = pods.logs(&pod, &LogParams::default()).await?;
    for line in log.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line["level"].is_string()), "a line of the log is no JSON: {line:?}");
    }
    assert!(log.contains("told-"), "the log tells of no instance");
    Ok(())
}
