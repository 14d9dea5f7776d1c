//! F13, F14: of two operators the one that leads is killed, stopped and continued, cut off, or has another clock. Nothing is done twice:
//! once another one leads, the old one writes nothing any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::LocalBoxFuture;
use futures::{FutureExt, StreamExt, future, stream};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::replica::Replica;
use super::report::Report;
use super::scene::{LIMIT, Scene};
use super::stage::{Stage, named};
use crate::faults::cast::{LEADS, STANDS_BY};
use crate::faults::weather::{Asked, Fall, Rule, Touch};
use crate::site::Outcome;

/// Term of the Lease: the usual one.
const TERM: &str = "15";

/// So soon after the end of a silent leader the other one leads: a term after its last renewal, and what the start of its watches takes.
const TAKEN: Duration = Duration::from_secs(25);

/// So long the old leader is watched.
const WATCHED: Duration = Duration::from_secs(4);

/// The most requests of one operator in ten seconds: lists and watches of a start, and an instance.
const MOST: usize = 150;

/// Two operators, of which the first leads, at the beginning of a flow.
async fn pair<'s>(stage: &'s Stage, flow: &str, name: &str, skews: [i64; 2]) -> Outcome<Scene<'s>> {
    let mut scene = Box::pin(Scene::bare(stage, &named(flow)?, name)).await?;
    for ((pod, word), skew) in [("operator-0", LEADS), ("operator-1", STANDS_BY)].into_iter().zip(skews) {
        let mut replica = Replica::new(stage, &scene.release, pod).await?.with("LEASE_TTL", TERM);
        if skew != 0 {
            replica.proxy.weather.turn(skewed(skew));
        }
        replica.spawn()?;
        replica.until(word, LIMIT).await?;
        scene.replicas.push(replica);
    }
    scene.given().await?;
    Ok(scene)
}

/// What changes something, but for the election.
fn acts(asked: &Asked) -> bool {
    asked.is_write() && !asked.is_election()
}

/// At the write of this number: does something, and then this befalls it.
fn at_write(number: usize, then: impl Fn() -> Fall + Send + Sync + 'static) -> Rule {
    let count = AtomicUsize::new(0);
    Arc::new(move |asked| {
        let now = acts(asked) && count.fetch_add(1, Ordering::Relaxed) + 1 == number;
        if now { then() } else { Fall::Pass }
    })
}

fn parts<'a>(scene: &'a mut Scene<'_>) -> Outcome<(&'a mut Replica, &'a mut Replica)> {
    match scene.replicas.as_mut_slice() {
        [old, new] => Ok((old, new)),
        _ => Err("two operators are needed".into()),
    }
}

/// The old leader is killed at its third write.
pub fn killed(stage: &Stage) -> LocalBoxFuture<'_, Outcome<Report>> {
    async move {
        let clean = stage.clean(&named("create")?).await?;
        let mut scene = pair(stage, "create", "leader-killed", [0, 0]).await?;
        let (old, _) = parts(&mut scene)?;
        let id = pid(old)?;
        old.proxy.weather.turn(at_write(3, move || {
            signal(id, Signal::SIGKILL);
            Fall::Pass
        }));
        let before = Instant::now();
        scene.acts().await?;
        let (old, new) = parts(&mut scene)?;
        let taken = new.until(LEADS, TAKEN).await;
        old.kill();
        let mut report = Report::default();
        report.wrong.extend(taken.err().map(|error| error.to_string()));
        finish(&mut scene, &clean, &mut report, before).await;
        Ok(report)
    }
    .boxed_local()
}

/// The old leader is stopped with a write under way, for longer than its term, and continued: at each of the first writes of two flows.
pub fn stopped(stage: &Stage) -> LocalBoxFuture<'_, Outcome<Report>> {
    async move {
        // The first write of a change takes over fields: the next one follows without anything in between.
        let places = [("configuration", 1), ("configuration", 2), ("create", 5), ("create", 12)];
        let runs = stream::iter(places).map(async |(flow, number)| (Box::pin(stopped_at(stage, flow, number)).await, flow, number));
        let mut all = Report::default();
        let mut runs = std::pin::pin!(runs.buffer_unordered(2));
        while let Some((report, flow, number)) = runs.next().await {
            let report = report?;
            all.struck += report.struck;
            all.busiest = all.busiest.max(report.busiest);
            all.calm = all.calm.max(report.calm);
            all.wrong.extend(report.wrong.into_iter().map(|wrong| format!("{flow}, write {number}: {wrong}")));
        }
        Ok(all)
    }
    .boxed_local()
}

async fn stopped_at(stage: &Stage, flow: &'static str, number: usize) -> Outcome<Report> {
    let clean = stage.clean(&named(flow)?).await?;
    let mut scene = pair(stage, flow, "leader-stopped", [0, 0]).await?;
    let (old, _) = parts(&mut scene)?;
    let id = pid(old)?;
    old.proxy.weather.turn(at_write(number, move || {
        signal(id, Signal::SIGSTOP);
        // Carried out and answered, which the leader will read when it goes on.
        Fall::Pass
    }));
    let before = Instant::now();
    scene.acts().await?;
    let (old, new) = parts(&mut scene)?;
    let mut report = Report::default();
    report.wrong.extend(new.until(LEADS, TAKEN).await.err().map(|error| error.to_string()));
    let goes_on = Instant::now();
    signal(id, Signal::SIGCONT);
    tokio::time::sleep(WATCHED).await;
    report.wrong.extend(written(old, goes_on));
    finish(&mut scene, &clean, &mut report, before).await;
    Ok(report)
}

/// The old leader is cut off at its third write: nothing that it sends arrives, and nothing is answered. Then it is connected again.
pub fn cut_off(stage: &Stage) -> LocalBoxFuture<'_, Outcome<Report>> {
    async move {
        let clean = stage.clean(&named("create")?).await?;
        let mut scene = pair(stage, "create", "leader-cut-off", [0, 0]).await?;
        let (old, _) = parts(&mut scene)?;
        let count = AtomicUsize::new(0);
        old.proxy.weather.turn(Arc::new(move |asked| {
            let seen = if acts(asked) { count.fetch_add(1, Ordering::Relaxed) } else { count.load(Ordering::Relaxed) };
            if seen >= 2 { Fall::Silence } else { Fall::Pass }
        }));
        let before = Instant::now();
        scene.acts().await?;
        let (old, new) = parts(&mut scene)?;
        let mut report = Report::default();
        report.wrong.extend(new.until(LEADS, TAKEN).await.err().map(|error| error.to_string()));
        let connected = Instant::now();
        report.struck += old.proxy.weather.struck_since(before);
        old.proxy.weather.clear();
        tokio::time::sleep(WATCHED).await;
        report.wrong.extend(written(old, connected));
        finish(&mut scene, &clean, &mut report, before).await;
        Ok(report)
    }
    .boxed_local()
}

/// Clocks of two operators are ten minutes apart, either way: who leads goes on to lead; when it is killed the other one takes over as
/// soon as otherwise. All that a clock of one tells another one is in the Lease, and is moved on the way there and back.
pub fn clocks(stage: &Stage) -> LocalBoxFuture<'_, Outcome<Report>> {
    async move {
        let runs = [[600, 0], [-600, 0]].map(|skews| Box::pin(apart(stage, skews)));
        let [ahead, behind] = future::join_all(runs).await.try_into().map_err(|_| "two runs are wanted")?;
        let (mut all, behind): (Report, Report) = (ahead?, behind?);
        all.struck += behind.struck;
        all.busiest = all.busiest.max(behind.busiest);
        all.calm = all.calm.max(behind.calm);
        all.wrong.extend(behind.wrong);
        Ok(all)
    }
    .boxed_local()
}

async fn apart(stage: &Stage, skews: [i64; 2]) -> Outcome<Report> {
    let clean = stage.clean(&named("create")?).await?;
    let before = Instant::now();
    let mut scene = pair(stage, "create", "clocks", skews).await?;
    let mut report = Report::default();
    // Longer than a term: who went by the clocks would have taken over, or lost its own.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let (old, new) = parts(&mut scene)?;
    let (leads, stands) = (old.says().await, new.says().await);
    if !leads.starts_with(LEADS) || !stands.starts_with(STANDS_BY) {
        report.wrong.push(format!("with clocks {skews:?} s off: the first says {leads:?}, the second {stands:?}"));
    }
    old.kill();
    report.wrong.extend(new.until(LEADS, TAKEN).await.err().map(|error| format!("with clocks {skews:?} s off: {error}")));
    old.spawn()?;
    report.wrong.extend(old.until(STANDS_BY, LIMIT).await.err().map(|error| format!("with clocks {skews:?} s off: {error}")));
    scene.acts().await?;
    finish(&mut scene, &clean, &mut report, before).await;
    Ok(report)
}

async fn finish(scene: &mut Scene<'_>, clean: &crate::faults::invariants::Seen, report: &mut Report, since: Instant) {
    match scene.until_calm(Some(clean), Duration::from_secs(45)).await {
        Ok(calm) => report.calm = calm,
        Err(error) => report.wrong.push(error.to_string()),
    }
    report.struck += 1;
    report.count(&scene.replicas, since, MOST);
    // An old leader that lost its Lease ends, and is started anew as a standby: that is how it is made.
    scene.replicas.retain_mut(|replica| replica.ended().is_none() && replica.operator().is_some());
    report.wrong.extend(scene.violations(clean).await);
}

/// What an operator wrote since then.
fn written(replica: &Replica, since: Instant) -> Option<String> {
    let writes: Vec<String> = replica
        .proxy
        .weather
        .since(since)
        .iter()
        .filter(|asked| acts(asked))
        .map(|asked| format!("{} {}", asked.method, asked.object()))
        .collect();
    (!writes.is_empty()).then(|| format!("the old leader wrote when another one led: {}", writes.join(", ")))
}

fn pid(replica: &mut Replica) -> Outcome<Pid> {
    Ok(Pid::from_raw(replica.id().ok_or("it does not run")?.cast_signed()))
}

fn signal(id: Pid, signal: Signal) {
    // It lives as long as its replica does, which is longer than this rule.
    let _ = kill(id, signal);
}

/// What an operator sends and gets of a Lease, if its clock is so many seconds ahead.
fn skewed(seconds: i64) -> Rule {
    Arc::new(move |asked| if asked.is_election() { Fall::Touched(moved(seconds), moved(-seconds)) } else { Fall::Pass })
}

fn moved(seconds: i64) -> Touch {
    Arc::new(move |lease| {
        for place in ["/spec/renewTime", "/spec/acquireTime"] {
            if let Some(time) = lease.pointer_mut(place) {
                *time = later(time, seconds).unwrap_or(Value::Null);
            }
        }
    })
}

fn later(time: &Value, seconds: i64) -> Option<Value> {
    let moved = time.as_str()?.parse::<Timestamp>().ok()? + SignedDuration::from_secs(seconds);
    Some(json!(format!("{moved:.6}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_lease_are_moved_there_and_back() {
        let lease = json!({ "spec": { "renewTime": "2026-01-01T00:00:00.250000Z", "holderIdentity": "a" } });
        let mut moving = lease.clone();
        moved(600)(&mut moving);
        assert_eq!(moving["spec"]["renewTime"], "2026-01-01T00:10:00.250000Z");
        moved(-600)(&mut moving);
        assert_eq!(moving, lease);
    }
}
