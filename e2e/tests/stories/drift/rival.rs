//! A controller that wants another value in a field of the operator's, and writes it each time that it finds ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dhis2_e2e::site::instance::{Instance, condition, holds};
use dhis2_e2e::site::{Outcome, Story, wait};
use futures::StreamExt;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::runtime::watcher::watch_object;
use kube::{Api, ResourceExt};
use serde_json::json;

/// What they fight over.
const LABEL: &str = "app.kubernetes.io/part-of";
const NAME: &str = "rival";
/// From the first write until it is told.
const TOLD: Duration = Duration::from_secs(30);
/// How long they are watched when it was told.
const WATCHED: Duration = Duration::from_secs(8);
/// From the end of the fight until it is told: the wait that was due, and as long again without another change.
const OVER: Duration = Duration::from_secs(100);

/// The rival.
pub struct Rival {
    work: tokio::task::JoinHandle<()>,
    /// How often the operator's value was there again.
    undone: Arc<AtomicUsize>,
}

impl Rival {
    /// Begins to fight.
    pub fn begin(api: Api<DynamicObject>, name: &str) -> Self {
        let undone = Arc::new(AtomicUsize::new(0));
        let (name, count) = (name.to_owned(), Arc::clone(&undone));
        let work = tokio::spawn(async move {
            let mut changes = std::pin::pin!(watch_object(api.clone(), &name));
            while let Some(change) = changes.next().await {
                if !change.is_ok_and(|object| object.is_some_and(|object| object.labels().get(LABEL).is_none_or(|value| value != NAME))) {
                    continue;
                }
                count.fetch_add(1, Ordering::Relaxed);
                let patch = json!({ "metadata": { "labels": { (LABEL): NAME } } });
                let parameters = PatchParams { field_manager: Some(NAME.to_owned()), ..PatchParams::default() };
                // One that is refused is tried again at the next change.
                let _ = api.patch(&name, &parameters, &Patch::Merge(&patch)).await;
            }
        });
        Self { work, undone }
    }

    /// It is told by name while the instance serves, the operator writes a few times a minute only, and it is over by itself
    /// when the rival ends.
    pub async fn told_and_not_raced(self, story: &Story, instance: &Instance) -> Outcome {
        let contested =
            |told: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| told.status == "True" && told.reason == "FieldContested";
        let seen = wait::until(&instance.api, &instance.name, "FieldContested", TOLD, |seen| {
            condition(seen, "Reconciling").as_ref().is_some_and(contested)
        })
        .await?;
        let message = condition(&seen, "Reconciling").map(|told| told.message.clone()).unwrap_or_default();
        assert!(message.contains("Service play-pods") && message.contains(NAME), "it does not say who and what: {message}");
        assert!(holds(&seen, "Ready"), "the instance serves: {:?}", seen.status);
        let before = self.undone.load(Ordering::Relaxed);
        // The time itself is what is measured.
        tokio::time::sleep(WATCHED).await;
        let meanwhile = self.undone.load(Ordering::Relaxed) - before;
        self.work.abort();
        assert!(meanwhile <= 1, "{meanwhile} writes in {} s", WATCHED.as_secs());
        let begun = Instant::now();
        wait::until(&instance.api, &instance.name, "the fight to be over", OVER, |seen| {
            condition(seen, "Reconciling").is_some_and(|told| told.status == "False")
        })
        .await?;
        story.tell(&format!(
            "a rival was undone {before} times until it was told, {meanwhile} times in the next {} s; told as over {:.1} s after its end",
            WATCHED.as_secs(),
            begun.elapsed().as_secs_f32()
        ));
        Ok(())
    }
}
