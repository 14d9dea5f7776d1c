//! A failed start: told within a minute, though a start may take hours, and tried again until its cause is gone.

use std::time::{Duration, Instant};

use dhis2_e2e::site::inside::container;
use dhis2_e2e::site::instance::{self, Instance};
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, memory, process, wait};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;

/// From the start of DHIS2's container until its failure is in the status.
const TOLD: Duration = Duration::from_mins(1);
/// DHIS2 drains for ten seconds before it ends.
const REPLACED: Duration = Duration::from_mins(2);

/// A migration that failed: DHIS2 starts on no such database (dhis2-core at 2.42.4.1, observed).
const BROKEN: &str =
    "UPDATE flyway_schema_history SET success = false WHERE installed_rank = (SELECT max(installed_rank) FROM flyway_schema_history)";
const MENDED: &str = "UPDATE flyway_schema_history SET success = true";

#[test]
fn failed_start() {
    crate::tell("failed-start", |story| async move {
        Operator::install(&story).await?;
        let instance = story.instance("play");
        instance.apply(&story.manifest("play", &json!({}))).await?;
        instance.settled().await?;
        let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
        story.sql("play", BROKEN)?;
        restarted(&pods).await?;
        is_told(&story, &instance, &pods).await?;
        a_second_try_tells_the_same(&instance, &pods).await?;
        story.sql("play", MENDED)?;
        instance.settled().await?;
        if story.site.own.is_some() { out_of_memory(&story, &instance, &pods).await } else { Ok(()) }
    });
}

/// Deletes the pod, and returns when DHIS2's container of the next one runs.
async fn restarted(pods: &Api<Pod>) -> Outcome {
    let before = pods.get("play-0").await?.metadata.uid;
    pods.delete("play-0", &DeleteParams::default()).await?;
    let runs = |pod: &Pod| pod.metadata.uid != before && dhis2(pod).is_some_and(|(running, _)| running);
    wait::until(pods, "play-0", "DHIS2's container to run", REPLACED, runs).await?;
    Ok(())
}

/// Whether DHIS2's container runs, and how often it was started again.
fn dhis2(pod: &Pod) -> Option<(bool, i32)> {
    let container = container(pod, "dhis2")?;
    Some((container.state.as_ref()?.running.is_some(), container.restart_count))
}

/// It needs more memory than its container may have.
async fn out_of_memory(story: &Story, instance: &Instance, pods: &Api<Pod>) -> Outcome {
    restarted(pods).await?;
    let pod = pods.get("play-0").await?.metadata.uid.unwrap_or_default();
    memory::use_up(process::dhis2(&pod)?)?;
    let after = instance.unready("OutOfMemory", "more memory than its limit", TOLD).await?;
    story.tell(&format!("out of memory was told after {:.1} s", after.as_secs_f32()));
    instance.settled().await?;
    Ok(())
}

async fn is_told(story: &Story, instance: &Instance, pods: &Api<Pod>) -> Outcome {
    let begun = Instant::now();
    let failed = |instance: &_| instance::condition(instance, "Ready").is_some_and(|ready| ready.reason == "StartFailed");
    let seen = wait::until(&instance.api, &instance.name, "the failed start to be told", TOLD, failed).await?;
    story.tell(&format!("told after {:.1} s", begun.elapsed().as_secs_f32()));
    for (kind, status) in [("Ready", "False"), ("ApplicationReady", "False"), ("Stalled", "True"), ("DatabaseReady", "True")] {
        let found = instance::condition(&seen, kind).map(|condition| condition.status.as_str());
        assert_eq!(found, Some(status), "{kind}");
    }
    let message = instance::condition(&seen, "Ready").map(|ready| ready.message.clone()).unwrap_or_default();
    assert!(message.contains("404") && message.contains("log"), "{message:?} does not say what was seen and where to look");
    let tries = dhis2(&pods.get("play-0").await?).map(|(_, restarts)| restarts);
    assert!(tries.is_some_and(|tries| tries <= 1), "told only after several tries: {tries:?}");
    Ok(())
}

/// While it is tried again the status says the same, so that nobody is told every half minute that all is well.
async fn a_second_try_tells_the_same(instance: &Instance, pods: &Api<Pod>) -> Outcome {
    let tries_again = |pod: &Pod| dhis2(pod).is_some_and(|(running, restarts)| running && restarts > 0);
    wait::until(pods, "play-0", "DHIS2 to be started again", REPLACED, tries_again).await?;
    // The operator has seen that as well, and the try has not failed yet.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let seen = instance.api.get(&instance.name).await?;
    let reason = instance::condition(&seen, "Ready").map(|ready| ready.reason.as_str());
    assert_eq!(reason, Some("StartFailed"), "during the second try");
    Ok(())
}
