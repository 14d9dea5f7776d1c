//! Walls: nobody outside reaches an instance but through its door, its pods reach nothing that they need not, none of them holds a
//! token, and no secret is anywhere but where it belongs.

mod reach;
mod secrets;

use std::time::Duration;

use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::json;

use reach::Pods;

const LIMIT: Duration = Duration::from_mins(2);

#[test]
fn walls() {
    crate::tell("walls", |story| async move {
        let operator = Operator::install(&story).await?;
        let instance = story.instance("play");
        let theirs = secrets::theirs(&story).await?;
        instance.apply(&story.small_manifest("play", &json!({ "secretConfig": theirs }))).await?;
        instance.settled().await?;
        instance.until("BackupHealthy").await?;
        no_pod_has_a_token(&story).await?;
        if story.site.own.is_some() {
            let pods = Pods::begin(&story).await?;
            pods.nobody_comes_in().await?;
            pods.nobody_goes_out()?;
        } else {
            story.tell("left out: who reaches whom needs a cluster that enforces NetworkPolicy");
        }
        secrets::are_nowhere_else(&story, &operator).await
    });
}

/// Neither in their spec nor in their file system.
async fn no_pod_has_a_token(story: &Story) -> Outcome {
    let api: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    let pods = api.list(&ListParams::default()).await?.items;
    assert!(pods.len() >= 2, "where are the pods?");
    for pod in pods {
        let spec = json!(pod.spec);
        assert_eq!(spec["automountServiceAccountToken"], false, "{}", pod.name_any());
        assert!(!spec.to_string().contains("serviceAccountToken\":{"), "{}", pod.name_any());
    }
    // It fails: that is the good end.
    let token = story.inside("play-database-0", "ls /var/run/secrets/kubernetes.io 2>&1 || true")?;
    assert!(token.contains("No such file"), "{token}");
    Ok(())
}
