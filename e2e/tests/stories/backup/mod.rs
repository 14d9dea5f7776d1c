//! Backup: the CronJob's pod makes a set, its manifest tells the truth, and with plain restic and `pg_restore`, following
//! `docs/backup-by-hand.md` only, the data is back and equal, and after a disaster back in the instance. Killed in the middle,
//! nothing half counts.

mod by_hand;
mod disaster;

use std::time::{Duration, Instant};

use dhis2_e2e::cluster::run;
use dhis2_e2e::site::data;
use dhis2_e2e::site::door::{Door, Scheme};
use dhis2_e2e::site::instance::Instance;
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, process, wait};
use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, LogParams, PropagationPolicy};
use kube::{Api, ResourceExt};
use nix::sys::signal::Signal;
use serde_json::json;

const LIMIT: Duration = Duration::from_mins(5);

#[test]
fn backup() {
    crate::tell("backup", |story| async move {
        Operator::install(&story).await?;
        let instance = story.instance("play");
        instance.apply(&story.small_manifest("play", &json!({}))).await?;
        instance.settled().await?;
        instance.until("BackupHealthy").await?;
        let door = Door::new(&story.site, &instance.host);
        door.opens(Scheme::Http, Duration::from_secs(20)).await?;
        let data = data::put(&door, &instance.admin().await?).await?;
        let sets = scheduled_backup(&story, &instance, "kept").await?;
        killed_in_the_middle(&story, &instance, sets).await?;
        let again = scheduled_backup(&story, &instance, "next").await?;
        assert_eq!(again, sets + 1, "the set that was broken off counts");
        by_hand::restore(&story, &instance, &door, &data).await
    });
}

/// What the CronJob does at night, now. Returns how many sets there are then.
async fn scheduled_backup(story: &Story, instance: &Instance, name: &str) -> Outcome<i64> {
    let begun = Instant::now();
    start(story, name)?;
    let is_told = |seen: &dhis2_operator::api::Dhis2Instance| {
        let last = seen.status.as_ref().and_then(|status| status.backup.as_ref()).and_then(|backup| backup.last.as_ref());
        last.is_some_and(|last| last.set == name)
    };
    let seen = instance.when(&format!("set {name} in the status"), is_told).await?;
    let backup = seen.status.and_then(|status| status.backup).unwrap_or_default();
    story.tell(&format!(
        "set {name}: {:.1} s with its pod's start, {} bytes added",
        begun.elapsed().as_secs_f32(),
        backup.last.and_then(|last| last.added_bytes).unwrap_or(-1)
    ));
    assert_eq!(backup.failure, None);
    let schedules: Api<CronJob> = Api::namespaced(story.client.clone(), &story.namespace);
    let schedule = schedules.get("play-backup").await?.spec.unwrap_or_default();
    let told = backup.schedule.unwrap_or_default();
    assert_eq!((told.cron, told.time_zone), (schedule.schedule, schedule.time_zone), "the schedule in the status");
    Ok(backup.sets.unwrap_or_default())
}

fn start(story: &Story, name: &str) -> Outcome {
    run::output(story.site.kubectl().args(["--namespace", &story.namespace, "create", "job", "--from=cronjob/play-backup", name]))?;
    Ok(())
}

/// A backup is killed while it writes, and its Job deleted, so that nobody finishes it.
async fn killed_in_the_middle(story: &Story, instance: &Instance, sets: i64) -> Outcome {
    start(story, "killed")?;
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    let pod = wait::ask("the pod of the backup to write", LIMIT, async || writing(&pods).await).await?;
    if story.site.own.is_some() {
        let killed = process::signal(pod.metadata.uid.as_deref().unwrap_or_default(), "dhis2-agent", Signal::SIGKILL)?;
        assert!(killed, "the backup had ended before it could be killed");
    } else {
        pods.delete(&pod.name_any(), &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() }).await?;
    }
    let jobs: Api<Job> = Api::namespaced(story.client.clone(), &story.namespace);
    let job = jobs.get("killed").await?;
    let done = job.status.as_ref().and_then(|status| status.succeeded).unwrap_or_default();
    assert_eq!(done, 0, "the backup had succeeded before it was killed");
    jobs.delete("killed", &DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() }).await?;
    wait::gone(&jobs, "killed", LIMIT).await?;
    let status = instance.api.get(&instance.name).await?.status.and_then(|status| status.backup).unwrap_or_default();
    assert_eq!((status.last.map(|last| last.set).as_deref(), status.sets), (Some("kept"), Some(sets)), "a half set counts");
    Ok(())
}

/// The pod of the Job `killed`, once its log says that it is in the middle of the set.
async fn writing(pods: &Api<Pod>) -> Result<Pod, String> {
    let found = pods.list(&ListParams::default().labels("batch.kubernetes.io/job-name=killed")).await.map_err(|error| error.to_string())?;
    let pod = found.items.into_iter().next().ok_or("there is no pod")?;
    let follow = LogParams { container: Some("backup".to_owned()), follow: true, ..LogParams::default() };
    let log = pods.log_stream(&pod.name_any(), &follow).await.map_err(|error| error.to_string())?;
    let mut lines = log.lines();
    let mut last = String::new();
    while let Some(line) = lines.try_next().await.map_err(|error| error.to_string())? {
        if line.contains("dump: begun") {
            return Ok(pod);
        }
        last = line;
    }
    Err(format!("its log ends with {last:?}"))
}
