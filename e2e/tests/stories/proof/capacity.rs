//! A volume that fills up is told before it is full, with what to write, and a larger one ends that.

use std::time::Duration;

use dhis2_e2e::site::instance::{self, Instance};
use dhis2_e2e::site::{Outcome, Story, wait};
use dhis2_operator::layout;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use serde_json::{Value, json};

use super::backed_up;

const LIMIT: Duration = Duration::from_mins(2);

/// A database whose volume a story can fill, nearly.
pub fn small() -> Value {
    json!({ "storage": { "size": "1Gi" }, "parameters": { "max_wal_size": "64MB", "min_wal_size": "32MB" } })
}

/// A table that no dump holds, of a page a row.
const GROWTH: &str = "CREATE TABLE analytics_growth (value text) WITH (fillfactor = 10);
    INSERT INTO analytics_growth SELECT repeat(md5(i::text), 50) FROM generate_series(1, 13000) i";

/// A database that came to its size within three days.
pub async fn shortage_is_told(story: &Story, instance: &Instance) -> Outcome {
    let seen = instance.until("CapacitySufficient").await?;
    let known = seen.status.and_then(|status| status.capacity).unwrap_or_default();
    for volume in [&known.database, &known.files, &known.repository] {
        let volume = volume.as_ref().ok_or("a volume is not told")?;
        assert!(volume.used > 0 && volume.free > Some(0) && volume.size >= Some(1 << 30) && volume.per_day.is_none(), "{volume:?}");
    }
    in_a_backup_pod(story, "older", &older_set()).await?;
    story.sql(&instance.name, GROWTH)?;
    backed_up(story, instance, "grown").await?;
    let is_short = |seen: &_| instance::condition(seen, "CapacitySufficient").is_some_and(|told| told.reason == "CapacityShort");
    let seen = instance.when("CapacityShort", is_short).await?;
    let told = instance::condition(&seen, "CapacitySufficient").map(|told| told.message.clone()).unwrap_or_default();
    assert!(told.starts_with("The volume of the database has"), "{told}");
    story.tell(&format!("a volume that fills up was told as: {told}"));
    assert!(instance::holds(&seen, "Ready"));
    let (_, size) = told.split_once("Set spec.database.bundled.storage.size to ").ok_or(told.as_str())?;
    let size = size.split_once("Gi.").ok_or(told.as_str())?.0;
    instance.change(&json!({ "database": { "bundled": { "storage": { "size": format!("{size}Gi") } } } })).await?;
    instance.until("CapacitySufficient").await?;
    story.sql(&instance.name, "DROP TABLE analytics_growth")?;
    Ok(())
}

/// The manifest of `kept`, as if it were of three days ago, when the database was empty.
fn older_set() -> String {
    let restic = format!("{} -r {} -p {} --no-cache", layout::RESTIC, layout::REPOSITORY, layout::BACKUP_PASSWORD);
    format!(
        r#"set -e
        created=$(date -u -d '73 hours ago' +%Y-%m-%dT%H:%M:%SZ)
        {restic} dump --tag set=kept,part=manifest latest /manifest.json > /tmp/manifest.json
        sed -i -e "s/\"created\": \"[^\"]*\"/\"created\": \"$created\"/" -e 's/"set": "kept"/"set": "older"/' \
            -e '/"postgresql"/,/"bytes"/ s/"bytes": [0-9]*/"bytes": 1/' /tmp/manifest.json
        {restic} backup --host "$HOST" --time "$(date -u -d '73 hours ago' '+%Y-%m-%d %H:%M:%S')" \
            --tag set=older --tag part=manifest --stdin --stdin-filename manifest.json < /tmp/manifest.json"#
    )
}

/// Runs a script in a pod that has what a backup has.
async fn in_a_backup_pod(story: &Story, name: &str, script: &str) -> Outcome {
    let schedules: Api<CronJob> = Api::namespaced(story.client.clone(), &story.namespace);
    let mut spec = schedules.get("play-backup").await?.spec.and_then(|spec| spec.job_template.spec).ok_or("a CronJob without Jobs")?;
    let pod = spec.template.spec.as_mut().and_then(|pod| pod.containers.first_mut()).ok_or("a Job without containers")?;
    let script = format!("HOST={}/play\n{script}", story.namespace);
    (pod.command, pod.args) = (Some(["sh", "-c", &script].map(str::to_owned).to_vec()), None);
    let jobs: Api<Job> = Api::namespaced(story.client.clone(), &story.namespace);
    let job = Job { metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }, spec: Some(spec), ..Job::default() };
    jobs.create(&PostParams::default(), &job).await?;
    let done = |job: &Job| job.status.as_ref().is_some_and(|status| status.succeeded == Some(1));
    wait::until(&jobs, name, "its end", LIMIT, done).await?;
    Ok(())
}
