//! Full: a volume without room, or that is read-only, is told by its own reason, nothing that was acknowledged is lost, and a larger size heals it by itself.

use std::time::Duration;

use dhis2_e2e::cluster::run;
use dhis2_e2e::site::disk::Disk;
use dhis2_e2e::site::door::{Account, Door, Scheme};
use dhis2_e2e::site::inside::container;
use dhis2_e2e::site::instance::{self, Instance};
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::writer::{self, Writer};
use dhis2_e2e::site::{Outcome, Story, data, wait};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::{Value, json};

/// From the moment that there is no room.
const TOLD: Duration = Duration::from_secs(30);
/// The ingress controller hears of it.
const SOON: Duration = Duration::from_secs(20);
const LIMIT: Duration = Duration::from_mins(2);

#[test]
fn full() {
    crate::tell("full", |story| async move {
        if story.site.own.is_none() {
            story.tell("left out: where volumes have no size of their own it would fill the node's disk");
            return Ok(());
        }
        let operator = Operator::install(&story).await?;
        let instance = story.instance("play");
        let mut sizes = json!({});
        for of in ["database", "files", "backups"] {
            instance::merge(&mut sizes, &size(of, "400Mi"));
        }
        instance.apply(&story.small_manifest("play", &sizes)).await?;
        instance.settled().await?;
        instance.until("BackupHealthy").await?;
        let (door, admin) = (Door::new(&story.site, &instance.host), instance.admin().await?);
        door.opens(Scheme::Http, LIMIT).await?;
        let before = data::put(&door, &admin).await?;
        story.shell(&story.namespace, "filler", &["sleep", "infinity"], &["play-files", "play-backups"]).await?;
        let writer = Writer::begin(&door, &admin);
        full_files(&story, &instance, &door, &admin).await?;
        read_only_files(&story, &instance).await?;
        full_database(&story, &instance, &operator).await?;
        door.opens(Scheme::Http, LIMIT).await?;
        let acknowledged = writer.end()?;
        full_repository(&story, &instance).await?;
        story.tell(&format!("{} rows were acknowledged meanwhile", acknowledged.len()));
        let check = move || -> Outcome {
            writer::kept(&door, &admin, &acknowledged)?;
            Ok(data::check(&door, &admin, &before)?)
        };
        tokio::task::spawn_blocking(check).await?
    });
}

/// The part of a spec that says how large a volume is.
fn size(of: &str, size: &str) -> Value {
    let volume = json!({ "size": size });
    match of {
        "database" => json!({ "database": { "bundled": { "storage": volume } } }),
        "files" => json!({ "files": { "volume": volume } }),
        _ => json!({ "backup": { "repository": { "volume": volume } } }),
    }
}

/// Writes until there is no room.
fn fill(story: &Story, pod: &str, folder: &str) -> Outcome {
    // It fails, that is the aim.
    let said = story.inside(pod, &format!("dd if=/dev/zero of={folder}/fill bs=64k 2>&1 || true; sync"))?;
    assert!(said.contains("No space left"), "{said}");
    Ok(())
}

/// DHIS2 would answer 202 to an upload and lose it: so nobody is let in.
async fn full_files(story: &Story, instance: &Instance, door: &Door, admin: &Account) -> Outcome {
    fill(story, "filler", "/play-files")?;
    let after = instance.unready("FilesNotWritable", "No space left", TOLD).await?;
    story.tell(&format!("a full file volume was told after {:.1} s", after.as_secs_f32()));
    let (closed, account) = (door.clone(), admin.clone());
    let refused = async || {
        let (door, account) = (closed.clone(), account.clone());
        let send =
            move || door.upload(Scheme::Http, "/api/fileResources?domain=DOCUMENT", &account, "a.pdf", "application/pdf", &[0; 9000]);
        match tokio::task::spawn_blocking(send).await.map_err(|error| error.to_string())? {
            Ok(answer) if answer.status < 300 => Err(format!("an upload was answered with {}", answer.status)),
            _ => Ok(()),
        }
    };
    wait::ask("uploads to be refused", SOON, refused).await?;
    instance.change(&size("files", "800Mi")).await?;
    instance.settled().await?;
    let now = data::put(door, admin).await?;
    data::is_there(door, admin, &now).await
}

/// As after an error of the disk below it.
async fn read_only_files(story: &Story, instance: &Instance) -> Outcome {
    let fault = Disk::of(story, "play-files").await?.is_read_only().await?;
    let after = instance.unready("FilesNotWritable", "Read-only file system", TOLD).await?;
    story.tell(&format!("a read-only file volume was told after {:.1} s", after.as_secs_f32()));
    drop(fault);
    instance.settled().await?;
    Ok(())
}

/// PostgreSQL serves as long as it can, gives up when its log needs room, and is there again as soon as there is some.
async fn full_database(story: &Story, instance: &Instance, operator: &Operator) -> Outcome {
    fill(story, "play-database-0", "/data")?;
    let after = instance.unready("DiskFull", "spec.database.bundled.storage.size", TOLD).await?;
    story.tell(&format!("a full database volume was told after {:.1} s", after.as_secs_f32()));
    let leader = operator.leads("").await?;
    // The gauge is counted from what the watch has told, which may come after whoever wrote it is told.
    wait::ask("the metrics to count it", TOLD, async || {
        let counted = operator.metrics(story, &leader).await.map_err(|error| error.to_string())?;
        if counted.contains(r#"dhis2_operator_instances{ready="False",reason="DiskFull"} 1"#) { Ok(()) } else { Err(counted) }
    })
    .await?;
    // Segment after segment of the write-ahead log, until none can be made.
    let switch = "SELECT pg_logical_emit_message(false, 'story', 'x'); SELECT pg_switch_wal();";
    for _ in 0..64 {
        if story.sql("play", switch).is_err() {
            break;
        }
    }
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    let gave_up = |pod: &Pod| container(pod, "database").is_some_and(|container| container.restart_count > 0);
    wait::until(&pods, "play-database-0", "PostgreSQL to give up", TOLD, gave_up).await?;
    let still = instance.api.get(&instance.name).await?;
    assert_eq!(instance::condition(&still, "DatabaseReady").map(|database| database.reason.as_str()), Some("DiskFull"));
    instance.change(&size("database", "800Mi")).await?;
    instance.settled().await?;
    Ok(())
}

/// The backup fails and says so; the next one, with more room, is good.
async fn full_repository(story: &Story, instance: &Instance) -> Outcome {
    fill(story, "filler", "/play-backups")?;
    let start = |name: &str| {
        run::output(story.site.kubectl().args(["--namespace", &story.namespace, "create", "job", "--from=cronjob/play-backup", name]))
    };
    start("without-room")?;
    let healthy =
        |reason: &'static str| move |seen: &_| instance::condition(seen, "BackupHealthy").is_some_and(|backup| backup.reason == reason);
    instance.when("RepositoryFull", healthy("RepositoryFull")).await?;
    instance.change(&size("backups", "800Mi")).await?;
    let claims: Api<k8s_openapi::api::core::v1::PersistentVolumeClaim> = Api::namespaced(story.client.clone(), &story.namespace);
    let grown = |claim: &k8s_openapi::api::core::v1::PersistentVolumeClaim| {
        let capacity = claim.status.as_ref().and_then(|status| status.capacity.as_ref()?.get("storage"));
        capacity.is_some_and(|capacity| capacity.0 == "800Mi")
    };
    wait::until(&claims, "play-backups", "the repository to grow", LIMIT, grown).await?;
    start("with-room")?;
    instance.until("BackupHealthy").await?;
    Ok(())
}
