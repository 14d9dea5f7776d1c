//! F11: what is asked about one instance is never answered; the others are looked after as if nothing were.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dhis2_operator::api::Dhis2Instance;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use super::report::Report;
use super::scene::{LIMIT, Scene};
use super::stage::{Stage, named};
use crate::faults::weather::Fall;
use crate::site::{Outcome, wait};

/// The most requests in ten seconds.
const MOST: usize = 150;

/// So soon the other one is done, though the machine is busy.
const DONE: Duration = Duration::from_secs(15);

/// Ready as it is asked for in this generation.
fn is_ready(instance: &Dhis2Instance, generation: i64) -> bool {
    let status = instance.status.as_ref();
    let ready =
        status.is_some_and(|status| status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"));
    ready && status.and_then(|status| status.observed_generation) == Some(generation)
}

/// The change of one hangs, that of another one goes through.
pub fn silent(stage: &Stage) -> LocalBoxFuture<'_, Outcome<Report>> {
    async move {
        let mut scene = Box::pin(Scene::open(stage, &named("configuration")?, "silent-one")).await?;
        let instances: Api<Dhis2Instance> = Api::namespaced(stage.ground.rig.client(), &scene.namespace);
        let other = json!({ "version": "2.42.4.1", "web": { "host": "beside.example.org" }, "backup": { "schedule": "17 2 * * *", "verify": { "schedule": "30 7 * * 6" } } });
        instances.create(&PostParams::default(), &Dhis2Instance::new("beside", serde_json::from_value(other)?)).await?;
        wait::until(&instances, "beside", "the other instance to be ready", LIMIT, |instance| is_ready(instance, 1)).await?;
        scene.begin();
        let (begun, mut report) = (scene.begun, Report::default());
        let about_play = |object: &str| object.split('/').nth(1).is_some_and(|name| name.starts_with("play"));
        scene.first()?.proxy.weather.turn(Arc::new(move |asked| if about_play(asked.object()) { Fall::Silence } else { Fall::Pass }));
        scene.acts().await?;
        let patch = Patch::Merge(json!({ "spec": { "config": { "max.sessions.per_user": "5" } } }));
        instances.patch("beside", &PatchParams::default(), &patch).await?;
        let changed = Instant::now();
        let done = wait::until(&instances, "beside", "the change of the other instance", DONE, |instance| is_ready(instance, 2)).await;
        report.told = done.is_ok().then(|| changed.elapsed());
        report.wrong.extend(done.err().map(|error| error.to_string()));
        scene.first()?.proxy.weather.clear();
        let calm = wait::until(&instances, "play", "the change that hung", Duration::from_secs(80), |instance| is_ready(instance, 2));
        let cleared = Instant::now();
        report.wrong.extend(calm.await.err().map(|error| error.to_string()));
        report.calm = cleared.elapsed();
        report.count(&scene.replicas, begun, MOST);
        report.wrong.extend(scene.first()?.ended());
        Ok(report)
    }
    .boxed_local()
}
