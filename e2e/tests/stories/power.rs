//! Power: every process of the cluster is killed at once while people write, and in the middle of create, growth, restart and backup.
//! It comes back with no hand, with all that was acknowledged, and nothing is made anew.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dhis2_e2e::site::chance::Chance;
use dhis2_e2e::site::data::{self, Data};
use dhis2_e2e::site::door::{Account, Door, Scheme};
use dhis2_e2e::site::instance::Instance;
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::writer::{self, Writer};
use dhis2_e2e::site::{Outcome, Story, objects, wait};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::json;

/// Power cuts while people write.
const CUTS: usize = 5;
/// People write for so many milliseconds at most before the next one, and at least for two seconds.
const WORK: u64 = 4000;
/// From the return of power until it serves: pods are found dead and started anew, PostgreSQL recovers.
pub const BACK: Duration = Duration::from_mins(5);

#[test]
#[ignore = "takes long, on a cluster of its own: make e2e-long"]
fn power() {
    crate::tell_alone("power", |story| async move {
        Operator::install(&story).await?;
        let instance = story.instance("play");
        instance.apply(&story.manifest("play", &json!({}))).await?;
        instance.when("its claims to be recorded", |seen| seen.status.as_ref().is_some_and(|status| status.claims.is_some())).await?;
        cut(&story, "create", Duration::ZERO).await?;
        instance.settled().await?;
        instance.until("BackupHealthy").await?;
        let door = Door::new(&story.site, &instance.host);
        door.opens(Scheme::Http, BACK).await?;
        let mut people = People { admin: instance.admin().await?, door, rows: Vec::new(), files: Vec::new() };
        let mut chance = Chance::new();
        story.tell(&format!("E2E_SEED={}", chance.seed));
        let before = uids(&story).await?;
        for _ in 0..CUTS {
            people.write_until_cut(&story, chance.moment(WORK)).await?;
            back(&instance, &people).await?;
            assert_eq!(uids(&story).await?, before, "something was made anew");
        }
        growing(&story, &instance, &people).await?;
        restarting(&story, &instance, &people).await?;
        backing_up(&story, &instance, &people).await?;
        story.tell(&format!("{} rows and {} files were acknowledged and are there", people.rows.len(), people.files.len()));
        Ok(())
    });
}

/// Ends everything at once, and starts the cluster again after this time.
pub async fn cut(story: &Story, during: &str, away: Duration) -> Outcome {
    let own = story.site.own.as_ref().ok_or("only our own cluster's power can be cut")?;
    own.cluster.cut_power()?;
    tokio::time::sleep(away).await;
    let begun = Instant::now();
    own.cluster.up(true).await?;
    story.tell(&format!("power was cut during {during}; the cluster was up again after {:.0} s", begun.elapsed().as_secs_f32()));
    Ok(())
}

/// Waits until it serves again, by itself, and has all that was acknowledged.
async fn back(instance: &Instance, people: &People) -> Outcome {
    people.door.opens(Scheme::Http, BACK).await?;
    instance.settled().await?;
    people.find_all().await
}

/// The objects that are made once, by kind and name; finished steps and backups come and go.
async fn uids(story: &Story) -> Outcome<BTreeMap<String, Option<String>>> {
    let mut found: BTreeMap<_, _> =
        objects::list(story, &story.namespace).await?.iter().map(|object| (objects::name(object), object.uid())).collect();
    found.retain(|name, _| !name.starts_with("Job "));
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    for pod in ["play-0", "play-database-0"] {
        found.insert(format!("Pod {pod}"), pods.get(pod).await?.uid());
    }
    Ok(found)
}

/// People at work, and what DHIS2 has told them that it has.
struct People {
    door: Door,
    admin: Account,
    rows: Vec<String>,
    files: Vec<Data>,
}

impl People {
    async fn write_until_cut(&mut self, story: &Story, work: Duration) -> Outcome {
        let writer = Writer::begin(&self.door, &self.admin);
        self.files.push(data::put(&self.door, &self.admin).await?);
        tokio::time::sleep(Duration::from_secs(2) + work).await;
        cut(story, "work", Duration::ZERO).await?;
        self.rows.extend(writer.end()?);
        Ok(())
    }

    async fn find_all(&self) -> Outcome {
        let (door, admin, rows, files) = (self.door.clone(), self.admin.clone(), self.rows.clone(), self.files.clone());
        let find = move || -> Outcome {
            writer::kept(&door, &admin, &rows)?;
            Ok(files.iter().try_for_each(|file| data::check(&door, &admin, file))?)
        };
        tokio::task::spawn_blocking(find).await?
    }
}

async fn growing(story: &Story, instance: &Instance, people: &People) -> Outcome {
    instance
        .change(&json!({ "files": { "volume": { "size": "12Gi" } }, "database": { "bundled": { "storage": { "size": "24Gi" } } } }))
        .await?;
    cut(story, "growth", Duration::ZERO).await?;
    back(instance, people).await?;
    let size = story.inside("play-database-0", "df --block-size=1 --output=size /data | tail -1")?;
    assert!(size.trim().parse::<u64>()? > 22 << 30, "the database volume has {size} bytes");
    Ok(())
}

async fn restarting(story: &Story, instance: &Instance, people: &People) -> Outcome {
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    instance.change(&json!({ "config": { "max.sessions.per_user": "5" } })).await?;
    wait::until(&pods, "play-0", "DHIS2 to be ended", BACK, |pod| pod.metadata.deletion_timestamp.is_some()).await?;
    cut(story, "restart", Duration::ZERO).await?;
    back(instance, people).await
}

/// The set that is cut does not count; the Job makes another, or the next one does.
async fn backing_up(story: &Story, instance: &Instance, people: &People) -> Outcome {
    story.start("play-backup", "cut")?;
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    let works = async || {
        let found =
            pods.list(&ListParams::default().labels("batch.kubernetes.io/job-name=cut")).await.map_err(|error| error.to_string())?;
        let phase = found.items.first().and_then(|pod| pod.status.as_ref()?.phase.clone()).unwrap_or_default();
        if phase == "Running" { Ok(()) } else { Err(phase) }
    };
    wait::ask("the backup to begin", BACK, works).await?;
    cut(story, "backup", Duration::ZERO).await?;
    back(instance, people).await?;
    let jobs: Api<Job> = Api::namespaced(story.client.clone(), &story.namespace);
    let ended = |job: &Job| {
        let mut conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.any(|condition| condition.status == "True" && ["Complete", "Failed"].contains(&condition.type_.as_str()))
    };
    wait::until(&jobs, "cut", "the backup to end", BACK, ended).await?;
    story.start("play-backup", "after")?;
    wait::until(&jobs, "after", "the next backup", BACK, |job| job.status.as_ref().is_some_and(|status| status.succeeded == Some(1)))
        .await?;
    instance.until("BackupHealthy").await?;
    Ok(())
}
