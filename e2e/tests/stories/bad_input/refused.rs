//! What the API server refuses.

use dhis2_e2e::site::{Outcome, Story};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::{Changed, Refused, create};

/// Of the first thing that is wrong with a resource: what the API server says of it as `kubectl apply` sends it, with a dry run and
/// without.
pub async fn new_ones(story: &Story, mut cases: Vec<Refused>) -> Outcome {
    cases.push(larger_than_etcd_takes());
    let mut wrong = Vec::new();
    for Refused { name, spec, field, says } in &cases {
        let manifest = story.manifest(name.as_deref().unwrap_or("bad"), spec);
        let tried = create(story, "dhis2instances", &manifest, true).await;
        let done = create(story, "dhis2instances", &manifest, false).await;
        let good = tried.as_ref().err().is_some_and(|said| said.contains(field) && said.contains(says));
        if !good || tried != done {
            wrong.push(format!("{}: not {field:?} and {says:?}, but {tried:?} and {done:?}", told(spec)));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    Ok(())
}

fn told(spec: &Value) -> String {
    spec.to_string().chars().take(200).collect()
}

fn larger_than_etcd_takes() -> Refused {
    let config: Value =
        (0..30_000).map(|number| (format!("a.key.of.some.length.{number}"), json!("and.a.value.of.some.length.as.well"))).collect();
    Refused { name: None, spec: json!({ "config": config }), field: "spec.config".to_owned(), says: "at most 64".to_owned() }
}

/// Changes of a resource that is there.
pub async fn changes(story: &Story, cases: &[Changed]) -> Outcome {
    for Changed { from, to, field, says } in cases {
        let instance = story.instance("changed");
        instance.apply(&story.manifest("changed", from)).await?;
        for dry_run in [true, false] {
            let parameters = PatchParams { dry_run, ..PatchParams::default() };
            let answer = instance.api.patch("changed", &parameters, &Patch::Merge(json!({ "spec": to }))).await;
            let said = answer.err().map(|error| error.to_string());
            assert!(said.as_ref().is_some_and(|said| said.contains(field) && said.contains(says)), "{to}: {said:?}");
        }
        instance.api.delete("changed", &DeleteParams::default()).await?;
    }
    Ok(())
}

/// Who writes a resource does not write its status.
pub async fn a_status_of_theirs(story: &Story) -> Outcome {
    let instance = story.instance("status");
    let mut manifest = story.manifest("status", &json!({}));
    manifest["status"] = json!({ "url": "https://elsewhere.example.org", "secrets": [{ "name": "others", "uid": "1" }] });
    create(story, "dhis2instances", &manifest, false).await?;
    let status = json!(instance.api.get("status").await?.status);
    assert!(status.get("url").is_none() && status.get("secrets").is_none(), "the status that a user wrote was taken: {status}");
    instance.api.delete("status", &DeleteParams::default()).await?;
    Ok(())
}
