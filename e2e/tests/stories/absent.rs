//! Absent: the node is not heard of for ten minutes, in the middle of a restore. That DHIS2 can't be seen is told meanwhile, nothing is made a second
//! time beside what still runs there, and the restore comes to its end when the node is back.

use std::time::{Duration, Instant};

use dhis2_e2e::site::data;
use dhis2_e2e::site::door::{Door, Scheme};
use dhis2_e2e::site::instance::{condition, holds};
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, process, wait};
use dhis2_operator::api::Dhis2Instance;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::power::BACK;

/// Longer than the five minutes after which pods of such a node are deleted.
const ABSENT: Duration = Duration::from_mins(10);
/// A node counts as lost after 40 seconds (`--node-monitor-grace-period`), and its pods as not ready then.
const NOTICED: Duration = Duration::from_mins(2);

#[test]
#[ignore = "takes long, on a cluster of its own: make e2e-long"]
fn absent() {
    crate::tell_alone("absent", |story| async move {
        Operator::install(&story).await?;
        let instance = story.instance("play");
        instance.apply(&story.small_manifest("play", &json!({}))).await?;
        instance.settled().await?;
        instance.until("BackupHealthy").await?;
        let door = Door::new(&story.site, &instance.host);
        door.opens(Scheme::Http, BACK).await?;
        let admin = instance.admin().await?;
        let data = data::put(&door, &admin).await?;
        story.back_up(&instance, "kept").await?;
        data::enter_later(&story, "play")?;
        let request = story.ask_for_restore("back", "play", &json!({ "set": "kept" })).await?;
        let builds = |seen: &Dhis2Instance| {
            seen.status.as_ref().and_then(|status| status.operation.as_ref()).is_some_and(|operation| operation.phase == "Building")
        };
        instance.when("the restore to build", builds).await?;

        kubelet(&story, Signal::SIGSTOP)?;
        let begun = Instant::now();
        let seen = wait::until(&instance.api, "play", "it not to be ready", NOTICED, |seen| !holds(seen, "Ready")).await?;
        let told = condition(&seen, "Ready").ok_or("Ready is not told")?;
        assert_eq!(told.reason, "NodeLost", "{}", told.message);
        story.tell(&format!("told after {:.0} s: {}: {}", begun.elapsed().as_secs_f32(), told.reason, told.message));
        tokio::time::sleep(ABSENT.saturating_sub(begun.elapsed())).await;
        alone(&story).await?;
        kubelet(&story, Signal::SIGCONT)?;
        let begun = Instant::now();

        request.comes_to("Done").await?;
        wait::until(&instance.api, "play", "it to serve", BACK, |seen| holds(seen, "Ready")).await?;
        instance.settled().await?;
        door.opens(Scheme::Http, BACK).await?;
        tokio::task::spawn_blocking(move || data::check(&door, &admin, &data)).await??;
        assert!(!data::has_later(&story, "play")?, "what was entered after the set is there");
        story.tell(&format!("restored, and served again {:.0} s after the node was back", begun.elapsed().as_secs_f32()));
        Ok(())
    });
}

fn kubelet(story: &Story, signal: Signal) -> Outcome {
    let own = story.site.own.as_ref().ok_or("only on our own cluster")?;
    if process::signal(&own.place().group, "kubelet", signal)? { Ok(()) } else { Err("no kubelet runs".into()) }
}

/// What runs on a node that nobody hears of has no second one beside it.
async fn alone(story: &Story) -> Outcome {
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    for pod in ["play-0", "play-database-0"] {
        let pod = pods.get(pod).await?;
        story.tell(&format!("{} after ten minutes: deleted {:?}", pod.name_any(), pod.metadata.deletion_timestamp));
        assert!(pod.metadata.deletion_timestamp.is_some(), "{} is a new one", pod.name_any());
    }
    Ok(())
}
