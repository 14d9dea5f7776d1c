//! F9: an operator that starts again is shown lists of a time long ago, and for a while nothing that happened since.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use serde_json::json;

use super::play;
use super::report::Report;
use super::scene::Scene;
use super::stage::{Stage, named};
use crate::faults::flow::{Act, Goal};
use crate::faults::weather::{Answer, Asked, Fall, Rule};
use crate::site::Outcome;

/// So long only the past is told.
const LASTS: Duration = Duration::from_secs(6);

/// The lists that an operator makes when it starts, as they are now.
struct Past(HashMap<String, String>);

impl Past {
    async fn of(scene: &Scene<'_>, lists: &[Asked]) -> Outcome<Self> {
        let mut past = HashMap::new();
        for list in lists {
            let request = http::Request::get(format!("{}?{}", list.path, list.query)).body(Vec::new())?;
            past.insert(list.path.clone(), scene.person.client.request_text(request).await?);
        }
        Ok(Self(past))
    }

    /// Lists are as they were; watches tell what has happened since only when it is over.
    fn shown(self) -> Rule {
        let begun = Instant::now();
        Arc::new(move |asked: &Asked| {
            let left = LASTS.saturating_sub(begun.elapsed());
            match self.0.get(&asked.path).filter(|_| !left.is_zero()) {
                // What is asked about one object is answered by etcd, as it is.
                Some(list) if asked.is_list() && !asked.query.contains("fieldSelector") => Fall::Say(Answer::list(list.clone())),
                Some(_) if asked.is_watch() => Fall::Slow(left),
                _ => Fall::Pass,
            }
        })
    }
}

/// The lists that the first operator asked for so far, each once.
fn lists(scene: &Scene<'_>, since: Instant) -> Vec<Asked> {
    let mut lists: Vec<Asked> = scene
        .replicas
        .iter()
        .flat_map(|replica| replica.proxy.weather.since(since))
        .filter(|asked| asked.is_list() && asked.query.contains("limit=50"))
        .collect();
    lists.sort_by(|a, b| a.path.cmp(&b.path));
    lists.dedup_by(|a, b| a.path == b.path);
    lists
}

async fn back(scene: &mut Scene<'_>, past: Past, report: &mut Report) -> Outcome {
    scene.first()?.kill();
    scene.first()?.proxy.weather.turn(past.shown());
    report.wrong.extend(play::lead(scene).await.err().map(|error| error.to_string()));
    tokio::time::sleep(LASTS).await;
    Ok(())
}

/// As before a change of the configuration, which has restarted DHIS2 since.
pub fn before_change(stage: &Stage) -> LocalBoxFuture<'_, Outcome<Report>> {
    async move {
        let flow = named("configuration")?;
        let begun = Instant::now();
        let (clean, mut scene) = play::scene(stage, &flow, "past-change").await?;
        let past = Past::of(&scene, &lists(&scene, begun)).await?;
        scene.acts().await?;
        scene.until_calm(Some(&clean), super::scene::LIMIT).await?;
        end(&mut scene, &clean, past).await
    }
    .boxed_local()
}

/// As when the first step after the database was about to be made, which is long done.
pub fn before_steps(stage: &Stage) -> LocalBoxFuture<'_, Outcome<Report>> {
    async move {
        let flow = named("create")?;
        let begun = Instant::now();
        let (clean, mut scene) = play::scene(stage, &flow, "past-create").await?;
        let lists = lists(&scene, begun);
        let weather = scene.first()?.proxy.weather.clone();
        weather.turn(second_job_is_held());
        scene.acts().await?;
        while weather.struck_since(begun) == 0 {
            if begun.elapsed() > super::scene::LIMIT {
                return Err("no second Job is made".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let past = Past::of(&scene, &lists).await?;
        weather.clear();
        scene.until_calm(Some(&clean), super::scene::LIMIT).await?;
        end(&mut scene, &clean, past).await
    }
    .boxed_local()
}

fn second_job_is_held() -> Rule {
    const HELD: Duration = Duration::from_secs(2);
    let jobs = AtomicUsize::new(0);
    Arc::new(move |asked: &Asked| {
        let held = asked.is_write() && asked.object() == "jobs" && jobs.fetch_add(1, Ordering::Relaxed) == 1;
        if held { Fall::Slow(HELD) } else { Fall::Pass }
    })
}

/// As when an instance of the same name was there that is gone.
pub fn before_delete(stage: &Stage) -> LocalBoxFuture<'_, Outcome<Report>> {
    async move {
        let flow = named("delete")?;
        let begun = Instant::now();
        let (clean, mut scene) = play::scene(stage, &flow, "past-delete").await?;
        scene.act(&[Act::Change(json!({ "deletionPolicy": "Delete" })), Act::Until(Goal::Ready)]).await?;
        scene.rest().await?;
        let past = Past::of(&scene, &lists(&scene, begun)).await?;
        scene.act(&[Act::Delete, Act::Until(Goal::Gone)]).await?;
        scene.until_calm(Some(&clean), super::scene::LIMIT).await?;
        end(&mut scene, &clean, past).await
    }
    .boxed_local()
}

async fn end(scene: &mut Scene<'_>, clean: &crate::faults::invariants::Seen, past: Past) -> Outcome<Report> {
    /// Lists and watches of a start, and what is asked about a stale instance.
    const MOST: usize = 150;
    let mut report = Report::default();
    let begun = Instant::now();
    back(scene, past, &mut report).await?;
    match scene.until_calm(Some(clean), Duration::from_secs(45)).await {
        Ok(calm) => report.calm = calm,
        Err(error) => report.wrong.push(error.to_string()),
    }
    report.count(&scene.replicas, begun, MOST);
    report.wrong.extend(scene.violations(clean).await);
    Ok(report)
}
