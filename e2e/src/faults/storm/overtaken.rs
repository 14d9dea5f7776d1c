//! F2: the answer to a repair comes so late that its object has been changed again, and the watch has told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use hyper::Method;
use serde_json::{Value, json};

use super::play;
use super::report::Report;
use super::scene::{LIMIT, Scene};
use super::stage::{Stage, named};
use crate::faults::flow::Act;
use crate::faults::weather::{Asked, Fall};
use crate::site::Outcome;
use crate::site::instance::merge;

/// So much later the answers to repairs come.
const LATE: Duration = Duration::from_secs(2);

/// The most requests in ten seconds.
const MOST: usize = 150;

/// Somebody changes objects, and again as soon as they are repaired.
pub fn by_somebody(stage: &Stage) -> LocalBoxFuture<'_, Outcome<Report>> {
    async move {
        let (clean, mut scene) = play::scene(stage, &named("drift")?, "overtaken").await?;
        scene.begin();
        let begun = scene.begun;
        let repairs = |asked: &Asked| asked.method == Method::PATCH && !asked.object().ends_with("/status");
        let weather = scene.first()?.proxy.weather.clone();
        weather.turn(Arc::new(move |asked| if repairs(asked) { Fall::Late(LATE) } else { Fall::Pass }));
        let mut report = Report::default();
        for edit in scene.flow.acts.clone() {
            if let Act::Edit(kind, name, patch) = &edit {
                scene.act(std::slice::from_ref(&edit)).await?;
                let repaired = repaired(&scene, kind, name, patch).await?;
                scene.act(std::slice::from_ref(&edit)).await?;
                if repaired.elapsed() > LATE {
                    report.wrong.push(format!("the answer may have come before the second change of {kind} {name}"));
                }
            }
        }
        tokio::time::sleep(LATE).await;
        weather.clear();
        match scene.until_calm(Some(&clean), Duration::from_secs(45)).await {
            Ok(calm) => report.calm = calm,
            Err(error) => report.wrong.push(error.to_string()),
        }
        report.count(&scene.replicas, begun, MOST);
        report.wrong.extend(scene.violations(&clean).await);
        Ok(report)
    }
    .boxed_local()
}

/// Waits until an object that was edited is not as the edit left it any more. Says since when.
async fn repaired(scene: &Scene<'_>, kind: &'static str, name: &str, edit: &Value) -> Outcome<Instant> {
    let begun = Instant::now();
    loop {
        let there: Value = scene.object(kind, name).map_or(Value::Null, |object| json!(object.as_ref()));
        let mut edited = there.clone();
        merge(&mut edited, edit);
        match scene.changes(kind, name)[..] {
            [_, .., last] if edited != there => return Ok(last),
            _ if begun.elapsed() > LIMIT => return Err(format!("{kind} {name} is not repaired").into()),
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}
