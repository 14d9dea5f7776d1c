//! Vanishing: a namespace may be deleted with all that is in it, at any moment. Nothing holds it up, nobody writes into it any more, and
//! the instances of other namespaces go on.

use std::time::Duration;

use dhis2_e2e::site::audit::{self, Log};
use dhis2_e2e::site::chance::Chance;
use dhis2_e2e::site::instance;
use dhis2_e2e::site::operator::{self, Operator};
use dhis2_e2e::site::{Outcome, Story, wait};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;

/// The moments that one is deleted at, in milliseconds after its instance was made, at most: at once, while volumes and Secrets are made,
/// while the database is built, while DHIS2 starts. And one whose first backup runs.
const MOMENTS: [u64; 4] = [1, 1500, 6000, 20_000];
/// Pods drain, volumes are let go.
const GONE: Duration = Duration::from_mins(2);
/// How long the operator is watched afterwards.
const IDLE: Duration = Duration::from_secs(10);

#[test]
fn vanishing() {
    crate::tell("vanishing", |story| async move {
        let mut chance = Chance::new();
        story.tell(&format!("E2E_SEED={}", chance.seed));
        let moments: Vec<_> = MOMENTS.iter().map(|most| Some(chance.moment(*most))).chain([None]).collect();
        let doomed: Vec<String> = (0..moments.len()).map(|number| format!("{}-{number}", story.namespace)).collect();
        for namespace in &doomed {
            story.make_namespace(namespace).await?;
        }
        let watched: Vec<&String> = [&story.namespace].into_iter().chain(&doomed).collect();
        let mut values = operator::values(&story, &story.namespace);
        instance::merge(&mut values, &json!({ "watchNamespaces": watched }));
        let operator = Operator::install_in(&story, &story.operator_namespace(), &values).await?;
        let stays = story.instance("play");
        stays.apply(&story.small_manifest("play", &json!({ "backup": { "suspend": true } }))).await?;
        try_join_all(doomed.iter().zip(moments).map(|(namespace, moment)| vanishes(&story, namespace, moment))).await?;
        stays.settled().await?;
        let log = Log::from_now(&story);
        stays.change(&json!({ "pod": { "labels": { "team": "health" } } })).await?;
        stays.settled().await?;
        tokio::time::sleep(IDLE).await;
        if let Some(log) = log {
            let requests = log.requests(&operator.user())?;
            let late: Vec<_> =
                requests.into_iter().filter(|request| doomed.contains(&request.object_ref.namespace) && request.writes()).collect();
            assert!(late.is_empty(), "written to what is gone: {}", audit::told(&audit::count(&late, audit::Request::what)));
        }
        let restarts: i32 = operator
            .living()
            .await?
            .iter()
            .flat_map(|pod| pod.status.iter())
            .flat_map(|status| &status.container_statuses)
            .flatten()
            .map(|container| container.restart_count)
            .sum();
        assert_eq!(restarts, 0, "the operator ended");
        Ok(())
    });
}

/// Makes an instance in a namespace and deletes the namespace after a while, or when the first backup runs.
async fn vanishes(story: &Story, namespace: &str, moment: Option<Duration>) -> Outcome {
    let instance = story.instance_in(namespace, "play");
    let mut manifest = story.small_manifest("play", &json!({}));
    let host = format!("play-{namespace}.localhost");
    instance::merge(&mut manifest, &json!({ "metadata": { "namespace": namespace }, "spec": { "web": { "host": host } } }));
    instance.apply(&manifest).await?;
    if let Some(moment) = moment {
        // The moment is what the story is about.
        tokio::time::sleep(moment).await;
    } else {
        let runs = |seen: &_| instance::condition(seen, "BackupHealthy").is_some_and(|backup| backup.reason == "BackupRunning");
        instance.when("the first backup to run", runs).await?;
    }
    let seen = instance.api.get(&instance.name).await?;
    let was = instance::condition(&seen, "Reconciling").map_or_else(|| "not looked at".to_owned(), |now| now.reason.clone());
    let namespaces: Api<Namespace> = Api::all(story.client.clone());
    let begun = std::time::Instant::now();
    namespaces.delete(namespace, &DeleteParams::default()).await?;
    wait::gone(&namespaces, namespace, GONE).await?;
    story.tell(&format!("gone after {:.0} s, deleted when it was {was}", begun.elapsed().as_secs_f32()));
    Ok(())
}
