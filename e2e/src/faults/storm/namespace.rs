//! F16: what a namespace forbids or changes.

use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use super::play;
use super::report::Report;
use super::scene::LIMIT;
use super::stage::{Stage, named};
use super::told::{SOON, Told};
use crate::site::{Outcome, wait};

/// The most requests in ten seconds.
const MOST: usize = 150;

/// There is room for two volumes only; then the quota goes.
pub fn quota(stage: &Stage) -> LocalBoxFuture<'_, Outcome<Report>> {
    async move {
        let (clean, mut scene) = play::scene(stage, &named("create")?, "quota").await?;
        let quotas: Api<ResourceQuota> = Api::namespaced(stage.ground.rig.client(), &scene.namespace);
        let quota = json!({ "metadata": { "name": "small" }, "spec": { "hard": { "persistentvolumeclaims": "2" } } });
        quotas.create(&PostParams::default(), &serde_json::from_value(quota)?).await?;
        let counted = |quota: &ResourceQuota| quota.status.as_ref().is_some_and(|status| status.used.is_some());
        wait::until(&quotas, "small", "the quota to be counted", LIMIT, counted).await?;
        let (mut report, begun) = (Report::default(), Instant::now());
        scene.acts().await?;
        let told = Told::Instance("ObjectRejected", &["PersistentVolumeClaim", "exceeded quota: small"]);
        while report.told.is_none() && begun.elapsed() < SOON {
            match told.lacks(&scene).await {
                None => report.told = Some(begun.elapsed()),
                Some(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        report.wrong.extend(told.lacks(&scene).await);
        tokio::time::sleep(Duration::from_secs(5)).await;
        quotas.delete("small", &DeleteParams::default()).await?;
        report.struck += usize::from(report.told.is_some());
        match scene.until_calm(Some(&clean), Duration::from_secs(40)).await {
            Ok(calm) => report.calm = calm,
            Err(error) => report.wrong.push(error.to_string()),
        }
        report.count(&scene.replicas, begun, MOST);
        report.wrong.extend(scene.violations(&clean).await);
        Ok(report)
    }
    .boxed_local()
}

/// Containers without a limit get one, as the namespace says: only pods differ from those of other namespaces, and nobody fights.
pub fn limits(stage: &Stage) -> LocalBoxFuture<'_, Outcome<Report>> {
    async move {
        let (clean, mut scene) = play::scene(stage, &named("create")?, "limits").await?;
        let ranges: Api<LimitRange> = Api::namespaced(stage.ground.rig.client(), &scene.namespace);
        let default = json!({ "type": "Container", "default": { "cpu": "4", "ephemeral-storage": "1Gi" }, "defaultRequest": { "ephemeral-storage": "1Mi" } });
        let range = json!({ "metadata": { "name": "default" }, "spec": { "limits": [default] } });
        ranges.create(&PostParams::default(), &serde_json::from_value(range)?).await?;
        let (mut report, begun) = (Report::default(), Instant::now());
        scene.acts().await?;
        match scene.until_calm(None, Duration::from_secs(45)).await {
            Ok(calm) => report.calm = calm,
            Err(error) => report.wrong.push(error.to_string()),
        }
        let pod = scene.object("Pod", "play-0").map(|pod| pod.data.pointer("/spec/containers/0/resources/limits/cpu").cloned());
        report.struck += usize::from(pod.flatten().is_some_and(|limit| limit == "4"));
        report.count(&scene.replicas, begun, MOST);
        let wrong = scene.violations(&clean).await;
        report.wrong.extend(wrong.into_iter().filter(|wrong| !wrong.starts_with("same objects as without faults: Pod/")));
        Ok(report)
    }
    .boxed_local()
}
