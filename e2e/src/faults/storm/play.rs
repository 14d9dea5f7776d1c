//! How a storm of requests goes: the instance and the operator are there, it breaks out, somebody does what the flow says, it is over.

use std::time::{Duration, Instant};

use super::report::Report;
use super::scene::{LIMIT, Scene};
use super::stage::{Stage, named};
use super::told::{SOON, Told};
use crate::faults::cast::LEADS;
use crate::faults::flow::Flow;
use crate::faults::weather::Rule;
use crate::site::Outcome;

/// A storm of requests.
#[derive(Clone)]
pub struct Sky {
    /// What happens meanwhile, by name.
    pub flow: &'static str,
    /// What befalls requests. Made when the storm begins.
    pub rule: fn() -> Rule,
    /// Is the operator started anew when it begins?
    pub restart: bool,
    /// Are watches broken, how often? They are broken at its beginning and at its end anyway.
    pub gusts: Option<Duration>,
    /// How long it is.
    pub lasts: Duration,
    /// How long after it all is as if it had not been.
    pub calm: Duration,
    /// Does it go on until all is so all the same?
    pub through: bool,
    /// The most requests within ten seconds.
    pub requests: usize,
    /// What is told of it.
    pub told: Option<Told>,
    /// The term of the Lease.
    pub term: &'static str,
    /// How often everything is listed anew.
    pub relist: &'static str,
}

impl Sky {
    /// A storm over this flow, as most are.
    pub const fn over(flow: &'static str, rule: fn() -> Rule) -> Self {
        Self {
            flow,
            rule,
            restart: false,
            gusts: None,
            lasts: Duration::from_secs(10),
            calm: Duration::from_secs(45),
            through: false,
            requests: 150,
            told: None,
            term: super::replica::ALONE,
            relist: "3600",
        }
    }
}

/// Plays it.
///
/// # Errors
/// When it could not be played.
pub async fn play(stage: &Stage, name: &str, sky: &Sky) -> Outcome<Report> {
    let flow = named(sky.flow)?;
    let clean = stage.clean(&flow).await?;
    let with = [("RELIST", sky.relist), ("LEASE_TTL", sky.term)];
    let mut scene = Box::pin(Scene::open_with(stage, &flow, name, &with)).await?;
    let mut report = Report::default();
    break_out(&mut scene, sky)?;
    let begun = scene.begun;
    scene.acts().await?;
    endure(&mut scene, sky, &mut report).await;
    if !sky.through {
        clear(&scene);
    }
    match scene.until_calm(Some(&clean), sky.calm).await {
        Ok(calm) => report.calm = calm,
        Err(error) => report.wrong.push(error.to_string()),
    }
    report.count(&scene.replicas, begun, sky.requests);
    clear(&scene);
    report.wrong.extend(scene.violations(&clean).await);
    Ok(report)
}

fn clear(scene: &Scene<'_>) {
    for replica in &scene.replicas {
        replica.proxy.weather.clear();
        replica.proxy.weather.cut();
    }
}

fn break_out(scene: &mut Scene<'_>, sky: &Sky) -> Outcome {
    let rule = (sky.rule)();
    scene.begin();
    if sky.restart {
        scene.first()?.kill();
    }
    for replica in &scene.replicas {
        replica.proxy.weather.turn(rule.clone());
        replica.proxy.weather.cut();
    }
    if sky.restart {
        scene.first()?.spawn()?;
    }
    Ok(())
}

/// What must hold while it lasts.
async fn endure(scene: &mut Scene<'_>, sky: &Sky, report: &mut Report) {
    let begun = Instant::now();
    let mut gust = begun;
    let mut lacks = None;
    while begun.elapsed() < sky.lasts {
        if let Some(told) = sky.told.filter(|_| report.told.is_none()) {
            lacks = told.lacks(scene).await;
            if lacks.is_none() {
                report.told = Some(begun.elapsed());
            }
        }
        if let Some(every) = sky.gusts.filter(|every| gust.elapsed() >= *every) {
            gust += every;
            scene.replicas.iter().for_each(|replica| replica.proxy.weather.cut());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    match (sky.told, report.told) {
        (Some(told), None) => report.wrong.push(format!("{told:?} is not told: {}", lacks.unwrap_or_default())),
        (Some(told), Some(after)) if after > SOON => {
            report.wrong.push(format!("{told:?} is told after {:.1} s only", after.as_secs_f32()));
        }
        _ => {}
    }
}

/// Starts an operator in whatever weather there is, and waits until it leads.
///
/// # Errors
/// When it does not.
pub async fn lead(scene: &mut Scene<'_>) -> Outcome<Duration> {
    let replica = scene.first()?;
    replica.spawn()?;
    replica.until(LEADS, LIMIT).await
}

/// The clean run of a flow, and a scene of it.
///
/// # Errors
/// When one does not get to where it begins.
pub async fn scene<'s>(stage: &'s Stage, flow: &Flow, name: &str) -> Outcome<(std::sync::Arc<crate::faults::invariants::Seen>, Scene<'s>)> {
    let clean = stage.clean(flow).await?;
    Ok((clean, Box::pin(Scene::open(stage, flow, name)).await?))
}
