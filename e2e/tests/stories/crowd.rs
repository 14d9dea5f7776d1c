//! Crowd: two hundred instances of one namespace that no node takes: each is told why, none costs a request while it waits, and
//! all of them go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use dhis2_e2e::site::audit::{self, Log};
use dhis2_e2e::site::instance::condition;
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, objects, wait};
use dhis2_operator::api::Dhis2Instance;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

const MANY: usize = 200;
/// Requests of the story's own under way at a time.
const TOGETHER: usize = 8;
/// So long it may take until there is news of a further one. What two hundred take is counted: how long, is a matter of the machine.
const STANDSTILL: Duration = Duration::from_mins(1);
const IDLE: Duration = Duration::from_secs(10);

#[test]
fn crowd() {
    crate::tell("crowd", |story| async move {
        let operator = Operator::install(&story).await?;
        let (log, begun) = (Log::from_now(&story), Instant::now());
        make(&story).await?;
        story.tell(&format!("{MANY} instances made in {:.1} s", begun.elapsed().as_secs_f32()));
        let api: Api<Dhis2Instance> = Api::namespaced(story.client.clone(), &story.namespace);
        until_all_are_told(&api).await?;
        story.tell(&format!("all of them told Unschedulable after {:.1} s", begun.elapsed().as_secs_f32()));
        if let Some(log) = log {
            price(&story, &operator, &log)?;
        }
        until_all_are_announced(&story).await?;
        waiting_is_free(&story, &operator).await?;
        gone(&story, &api).await
    });
}

async fn make(story: &Story) -> Outcome {
    let nowhere = json!({ "pod": { "nodeSelector": { "example.org/node": "none" } }, "deletionPolicy": "Delete" });
    let made = stream::iter(0..MANY).map(|number| {
        let name = format!("crowd-{number}");
        let (instance, manifest) = (story.instance(&name), story.manifest(&name, &nowhere));
        async move { instance.apply(&manifest).await.map(drop) }
    });
    made.buffer_unordered(TOGETHER).try_collect().await
}

async fn until_all_are_told(api: &Api<Dhis2Instance>) -> Outcome {
    let ask = async || {
        let mut reasons = BTreeMap::<String, usize>::new();
        for instance in api.list(&ListParams::default()).await? {
            *reasons.entry(condition(&instance, "Ready").map(|ready| ready.reason.clone()).unwrap_or_default()).or_default() += 1;
        }
        let told = reasons.get("Unschedulable").copied().unwrap_or_default();
        Ok::<_, kube::Error>((MANY.saturating_sub(told), format!("{reasons:?}")))
    };
    Ok(wait::none_left("each to be told that no node takes it", STANDSTILL, ask).await?)
}

/// An event is written after the status that it is about.
async fn until_all_are_announced(story: &Story) -> Outcome {
    let events: Api<Event> = Api::namespaced(story.client.clone(), &story.namespace);
    let of_instances = ListParams::default().fields("reason=Unschedulable,regarding.kind=Dhis2Instance");
    let ask = async || {
        let events = events.list(&of_instances).await?;
        let told: BTreeSet<String> = events.into_iter().filter_map(|event| event.regarding?.name).collect();
        Ok::<_, kube::Error>((MANY - told.len(), format!("{} of {MANY} are announced", told.len())))
    };
    Ok(wait::none_left("an event for each", STANDSTILL, ask).await?)
}

/// What it took, by request: none is made again and again.
fn price(story: &Story, operator: &Operator, log: &Log) -> Outcome {
    let requests = log.requests(&operator.user())?;
    let counts = audit::count(&requests, audit::Request::what);
    story.tell(&format!("{} requests for each: {}", requests.len() / MANY, audit::told(&counts)));
    let refused: Vec<String> = requests.iter().filter(|request| !request.succeeded()).map(audit::Request::what).collect();
    assert!(refused.len() < MANY, "{} of {} were in vain: {:?}", refused.len(), requests.len(), refused.first());
    Ok(())
}

async fn waiting_is_free(story: &Story, operator: &Operator) -> Outcome {
    let Some(counts) = audit::idle(story, &operator.user(), IDLE).await? else {
        story.tell("left out: that waiting takes no requests needs our own cluster's audit log");
        return Ok(());
    };
    story.tell(&format!("requests in {} s while {MANY} wait: {}", IDLE.as_secs(), audit::told(&counts)));
    assert!(counts.is_empty(), "waiting takes requests: {counts:?}");
    Ok(())
}

async fn gone(story: &Story, api: &Api<Dhis2Instance>) -> Outcome {
    let begun = Instant::now();
    api.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    let ask = async || {
        let left = objects::list(story, &story.namespace).await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((left.len(), String::new()))
    };
    wait::none_left("everything to go", STANDSTILL, ask).await?;
    story.tell(&format!("all gone after {:.1} s", begun.elapsed().as_secs_f32()));
    Ok(())
}
