//! F15: the definition is missing, goes, or is an older one; the API server is restarted; etcd is full.

use std::time::{Duration, Instant};

use dhis2_operator::api::Dhis2Instance;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::play;
use super::report::Report;
use super::scene::{LIMIT, Scene};
use super::stage::{Stage, named};
use super::told::{SOON, Told};
use crate::faults::cast::LEADS;
use crate::faults::flow::{Act, Goal};
use crate::faults::invariants::Seen;
use crate::faults::person::NAME;
use crate::rig;
use crate::site::{Outcome, wait};

/// The most requests in ten seconds.
const MOST: usize = 200;

const DEFINITION: &str = "dhis2instances.dhis2.hosting";

async fn undefine(stage: &Stage) -> Outcome {
    let definitions: Api<CustomResourceDefinition> = Api::all(stage.ground.rig.client());
    definitions.delete(DEFINITION, &DeleteParams::default()).await?;
    Ok(wait::gone(&definitions, DEFINITION, LIMIT).await?)
}

async fn define(stage: &Stage) -> Outcome {
    rig::define(&stage.ground.rig.client(), &rig::definitions()?).await
}

async fn end(scene: &mut Scene<'_>, clean: &Seen, begun: Instant, mut report: Report) -> Report {
    match scene.until_calm(Some(clean), Duration::from_mins(1)).await {
        Ok(calm) => report.calm = calm,
        Err(error) => report.wrong.push(error.to_string()),
    }
    report.struck += 1;
    report.count(&scene.replicas, begun, MOST);
    report.wrong.extend(scene.violations(clean).await);
    report
}

/// Waits until it is told, for as long as it may take.
async fn told(scene: &Scene<'_>, what: Told, report: &mut Report) {
    let begun = Instant::now();
    loop {
        match what.lacks(scene).await {
            None => {
                report.told = Some(begun.elapsed());
                return;
            }
            Some(lacks) if begun.elapsed() > SOON => {
                report.wrong.push(format!("{what:?} is not told within {} s: {lacks}", SOON.as_secs()));
                return;
            }
            Some(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// The operator starts where there is no definition, and goes on when it comes.
pub fn missing(stage: &Stage) -> LocalBoxFuture<'_, Outcome<Report>> {
    async move {
        let (clean, mut scene) = play::scene(stage, &named("create")?, "definition-missing").await?;
        let (mut report, begun) = (Report::default(), Instant::now());
        undefine(stage).await?;
        scene.first()?.kill();
        scene.first()?.spawn()?;
        told(&scene, Told::Readyz("waiting for CustomResourceDefinition"), &mut report).await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        define(stage).await?;
        report.wrong.extend(scene.first()?.until(LEADS, Duration::from_secs(20)).await.err().map(|error| error.to_string()));
        scene.acts().await?;
        Ok(end(&mut scene, &clean, begun, report).await)
    }
    .boxed_local()
}

/// The definition is deleted, and every instance with it; it comes back, and somebody takes the data back.
pub fn deleted(stage: &Stage) -> LocalBoxFuture<'_, Outcome<Report>> {
    async move {
        let (clean, mut scene) = play::scene(stage, &named("adopt")?, "definition-deleted").await?;
        // As it is given; and once more, to be deleted in another way.
        scene.acts().await?;
        scene.until_calm(Some(&clean), LIMIT).await?;
        let (mut report, begun) = (Report::default(), Instant::now());
        undefine(stage).await?;
        told(&scene, Told::Readyz("waiting for CustomResourceDefinition"), &mut report).await;
        scene.act(&[Act::Until(Goal::Gone)]).await?;
        tokio::time::sleep(Duration::from_secs(6)).await;
        define(stage).await?;
        report.wrong.extend(scene.first()?.until(LEADS, LIMIT).await.err().map(|error| error.to_string()));
        scene.begin();
        scene.acts().await?;
        Ok(end(&mut scene, &clean, begun, report).await)
    }
    .boxed_local()
}

/// The definition is replaced by one that knows less of the status, and comes back.
pub fn older(stage: &Stage) -> LocalBoxFuture<'_, Outcome<Report>> {
    async move {
        let (clean, mut scene) = play::scene(stage, &named("configuration")?, "definition-older").await?;
        let (mut report, begun) = (Report::default(), Instant::now());
        let older = rig::definitions()?.into_iter().map(less).collect::<Result<Vec<_>, _>>()?;
        rig::define(&stage.ground.rig.client(), &older).await?;
        scene.acts().await?;
        tokio::time::sleep(Duration::from_secs(15)).await;
        scene.rest().await.map_err(|error| format!("with an older definition {error}"))?;
        report.wrong.extend(scene.first()?.ended());
        define(stage).await?;
        // The API server takes a while to go by it.
        tokio::time::sleep(Duration::from_secs(4)).await;
        // Nothing tells that the definition is another one: what it did not take is told with the next thing that happens, or within a day.
        let instances: Api<Dhis2Instance> = Api::namespaced(stage.ground.rig.client(), &scene.namespace);
        for touched in [json!("yes"), Value::Null] {
            let patch = Patch::Merge(json!({ "metadata": { "annotations": { "example.org/touched": touched } } }));
            instances.patch(NAME, &PatchParams::default(), &patch).await?;
        }
        let mut report = end(&mut scene, &clean, begun, report).await;
        // What the older definition leaves out of a status is not told by the operator.
        report.wrong.retain(|wrong| !wrong.starts_with("Ready is told of the newest generation"));
        Ok(report)
    }
    .boxed_local()
}

/// Without some fields of the status.
fn less(definition: CustomResourceDefinition) -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut value = serde_json::to_value(definition)?;
    let versions = value.pointer_mut("/spec/versions").and_then(Value::as_array_mut);
    for version in versions.into_iter().flatten() {
        let status = version.pointer_mut("/schema/openAPIV3Schema/properties/status/properties").and_then(Value::as_object_mut);
        if let Some(status) = status {
            status.remove("version");
            status.remove("url");
        }
        if let Some(columns) = version.get_mut("additionalPrinterColumns").and_then(Value::as_array_mut) {
            columns.retain(|column| !column["jsonPath"].as_str().unwrap_or_default().starts_with(".status.url"));
        }
    }
    serde_json::from_value(value)
}

/// The API server is killed while an instance is made, and is back after five seconds.
pub fn restarted(stage: &Stage) -> LocalBoxFuture<'_, Outcome<Report>> {
    async move {
        let (clean, mut scene) = play::scene(stage, &named("create")?, "server-restarted").await?;
        let begun = Instant::now();
        scene.acts().await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        stage.ground.rig.kill_api_server();
        tokio::time::sleep(Duration::from_secs(5)).await;
        stage.ground.rig.start_api_server().await?;
        Ok(end(&mut scene, &clean, begun, Report::default()).await)
    }
    .boxed_local()
}

/// Etcd has no room left while an instance is made: what is there can be read, and nothing be written. Then there is room again.
pub fn full(stage: &Stage) -> LocalBoxFuture<'_, Outcome<Report>> {
    async move {
        let (clean, mut scene) = play::scene(stage, &named("create")?, "database-full").await?;
        stage.ground.rig.namespace("ballast").await?;
        let ballast: Api<ConfigMap> = Api::namespaced(stage.ground.rig.client(), "ballast");
        // Nearly full: the rest is filled in a moment.
        let begun = Instant::now();
        let mut report = Report::default();
        let filled = fill(&ballast).await?;
        room(stage, &ballast, 3).await?;
        scene.acts().await?;
        fill(&ballast).await?;
        tokio::time::sleep(Duration::from_secs(12)).await;
        report.wrong.extend(scene.first()?.ended());
        room(stage, &ballast, filled).await?;
        Ok(end(&mut scene, &clean, begun, report).await)
    }
    .boxed_local()
}

/// Fills what is left. Returns how many objects there are.
async fn fill(ballast: &Api<ConfigMap>) -> Outcome<usize> {
    const PIECE: usize = 900 << 10;
    const LIMIT: usize = 200;
    for _ in 0..LIMIT {
        let object = json!({ "metadata": { "generateName": "ballast-" }, "data": { "text": "x".repeat(PIECE) } });
        match ballast.create(&PostParams::default(), &serde_json::from_value(object)?).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.message.contains("space exceeded") => {
                return Ok(ballast.list_metadata(&ListParams::default()).await?.items.len());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err("etcd is not full, whatever is put into it".into())
}

/// Takes out so many pieces of ballast, and has etcd take writes again.
async fn room(stage: &Stage, ballast: &Api<ConfigMap>, pieces: usize) -> Outcome {
    for piece in ballast.list_metadata(&ListParams::default()).await?.items.into_iter().take(pieces) {
        ballast.delete(&piece.metadata.name.unwrap_or_default(), &DeleteParams::default()).await?;
    }
    let database = stage.ground.rig.database().to_owned();
    tokio::task::spawn_blocking(move || {
        let ask = |path: &str, what: Value| -> Outcome<Value> {
            Ok(ureq::post(format!("{database}/v3/{path}")).send_json(what)?.body_mut().read_json()?)
        };
        let now = ask("kv/range", json!({ "key": "AA==" }))?;
        let revision = now.pointer("/header/revision").cloned().ok_or("etcd does not say its revision")?;
        ask("kv/compaction", json!({ "revision": revision, "physical": true }))?;
        ask("maintenance/defragment", json!({}))?;
        let alarms = ask("maintenance/alarm", json!({ "action": "GET" }))?;
        for alarm in alarms.get("alarms").and_then(Value::as_array).into_iter().flatten() {
            let member = alarm.get("memberID").cloned().unwrap_or_default();
            ask("maintenance/alarm", json!({ "action": "DEACTIVATE", "memberID": member, "alarm": "NOSPACE" }))?;
        }
        Ok(())
    })
    .await?
}
