//! Proof: a set is restored on scratch space while the instance serves, and what is proven is told; a loss of data is noticed although
//! the backup is whole; damage to the repository is found before the set is needed, no upgrade is tried on it, and what the runbook says
//! leads back to a proven set.

mod asked;
mod capacity;
mod started;

use std::time::{Duration, Instant};

use dhis2_e2e::cluster::run;
use dhis2_e2e::site::data;
use dhis2_e2e::site::door::{Account, Door, Scheme};
use dhis2_e2e::site::instance::{self, Instance, SOME_DAY};
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, wait};
use dhis2_operator::api::Dhis2Instance;
use dhis2_operator::api::status::BackupStatus;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use serde_json::json;

const LIMIT: Duration = Duration::from_mins(3);
/// More than a tenth of a small instance.
const MANY: usize = 20;
/// Rows whose files are gone.
const ORPHANS: &str =
    "INSERT INTO fileresource (fileresourceid, uid, name, contenttype, contentlength, contentmd5, storagekey, domain, isassigned)
    SELECT nextval('hibernate_sequence'), 'LostFile' || 100 + i, 'lost', 'text/plain', 1, '', 'document/lost-' || i, 'DOCUMENT', true
    FROM generate_series(1, 12) i";
/// Other than the size of any volume by default.
const SCRATCH: &str = "700Mi";

#[test]
fn proof() {
    crate::tell("proof", |story| async move {
        Operator::install(&story).await?;
        let instance = story.instance("play");
        instance
            .apply(&story.small_manifest(
                "play",
                &json!({
                    "backup": { "verify": { "storage": { "size": SCRATCH } } },
                    "database": { "bundled": capacity::small() },
                }),
            ))
            .await?;
        instance.settled().await?;
        instance.until("BackupHealthy").await?;
        let door = Door::new(&story.site, &instance.host);
        door.opens(Scheme::Http, Duration::from_secs(20)).await?;
        let (admin, first) = (instance.admin().await?, served(&story).await?);
        data::put(&door, &admin).await?;
        nothing_is_proven_yet(&story, &instance).await?;
        Box::pin(asked::asked_for(&story, &instance)).await?;
        backed_up(&story, &instance, "kept").await?;
        is_proven(&story, &instance, "kept", "test-1").await?;
        scratch_goes(&story, "test-1").await?;
        Box::pin(capacity::shortage_is_told(&story, &instance)).await?;
        Box::pin(started::dhis2_starts_on_a_set(&story, &instance)).await?;
        loss_is_noticed(&story, &instance, &door, &admin).await?;
        damage_is_found(&story, &instance).await?;
        no_upgrade_is_tried_on_it(&story, &instance).await?;
        begun_anew(&story, &instance).await?;
        tests_are_switched_off(&story, &instance).await?;
        all_is_told_in_events(&story).await?;
        assert_eq!(served(&story).await?, first, "the servers were started again");
        Ok(())
    });
}

/// The uids of the servers' pods.
async fn served(story: &Story) -> Outcome<Vec<Option<String>>> {
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    Ok(vec![pods.get("play-0").await?.metadata.uid, pods.get("play-database-0").await?.metadata.uid])
}

fn backup(seen: &Dhis2Instance) -> BackupStatus {
    seen.status.as_ref().and_then(|status| status.backup.clone()).unwrap_or_default()
}

async fn backed_up(story: &Story, instance: &Instance, name: &str) -> Outcome {
    story.start("play-backup", name)?;
    let told = |seen: &Dhis2Instance| backup(seen).last.is_some_and(|last| last.set == name);
    instance.when(&format!("set {name} in the status"), told).await?;
    Ok(())
}

async fn nothing_is_proven_yet(story: &Story, instance: &Instance) -> Outcome {
    let seen = instance.api.get(&instance.name).await?;
    let told = instance::condition(&seen, "RestoreVerified").ok_or("RestoreVerified is not told")?;
    assert_eq!((told.status.as_str(), told.reason.as_str()), ("False", "NotVerifiedYet"));
    let schedules: Api<CronJob> = Api::namespaced(story.client.clone(), &story.namespace);
    let schedule = schedules.get("play-verify").await?.spec.unwrap_or_default();
    assert_eq!(schedule.schedule, SOME_DAY);
    let told = backup(&seen).verify_schedule.map(|schedule| schedule.cron);
    assert_eq!(told.as_deref(), Some(SOME_DAY), "the schedule in the status");
    Ok(())
}

/// What the CronJob does at the weekend, now.
async fn is_proven(story: &Story, instance: &Instance, set: &str, job: &str) -> Outcome {
    let begun = Instant::now();
    story.start("play-verify", job)?;
    let proven = |seen: &Dhis2Instance| {
        instance::holds(seen, "RestoreVerified") && backup(seen).last_verified.is_some_and(|verified| verified.set == set)
    };
    let seen = instance.when(&format!("set {set} proven"), proven).await?;
    let verified = backup(&seen).last_verified.unwrap_or_default();
    assert!(verified.bytes.is_some_and(|bytes| bytes > 10_000), "{verified:?}");
    let took = begun.elapsed().as_secs_f32();
    story.tell(&format!("set {set} was proven in {took:.1} s with its pod's start; restored and compared in {:?} s", verified.seconds));
    Ok(())
}

/// The volume of the test is gone with its Job.
async fn scratch_goes(story: &Story, job: &str) -> Outcome {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(story.client.clone(), &story.namespace);
    let of_test = |claim: &PersistentVolumeClaim| claim.name_any().starts_with(job);
    let scratch = claims.list(&ListParams::default()).await?.items.into_iter().find(of_test).ok_or("the test had no volume")?;
    let asked = scratch.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage"));
    assert_eq!(asked.map(|size| size.0.as_str()), Some(SCRATCH));
    let jobs: Api<Job> = Api::namespaced(story.client.clone(), &story.namespace);
    assert!(jobs.get(job).await?.spec.is_some_and(|spec| spec.ttl_seconds_after_finished.is_some()), "nobody would take it away");
    jobs.delete(job, &DeleteParams::background()).await?;
    wait::gone(&claims, &scratch.name_any(), LIMIT).await?;
    Ok(())
}

/// Somebody deletes much: the backup is whole, and says so; nothing older goes until it is accepted.
async fn loss_is_noticed(story: &Story, instance: &Instance, door: &Door, admin: &Account) -> Outcome {
    let (door, admin) = (door.clone(), admin.clone());
    let units = move || -> Result<(), String> {
        for number in 0..MANY {
            let unit = json!({ "name": format!("Lost {number}"), "shortName": format!("Lost {number}"), "openingDate": "2020-01-01" });
            let answer = door.send("POST", Scheme::Http, "/api/organisationUnits", Some(&admin), Some(&unit));
            answer.map_err(|error| error.to_string()).and_then(|answer| if answer.status < 300 { Ok(()) } else { Err(answer.body) })?;
        }
        Ok(())
    };
    tokio::task::spawn_blocking(units).await??;
    backed_up(story, instance, "before-loss").await?;
    story.sql("play", "DELETE FROM organisationunit WHERE name LIKE 'Lost %'")?;
    story.sql("play", ORPHANS)?;
    backed_up(story, instance, "after-loss").await?;
    let seen = instance.when("ContentShrunk", |seen| reason(seen, "ContentSane").as_deref() == Some("ContentShrunk")).await?;
    let told = instance::condition(&seen, "ContentSane").map(|told| told.message.clone()).unwrap_or_default();
    assert!(told.contains("organisation units of") && told.contains("in set before-loss"), "{told}");
    assert!(told.contains("12 file resources without their file instead of 0 in set before-loss"), "{told}");
    story.tell(&format!("a loss was told as: {told}"));
    assert!(instance::holds(&seen, "BackupHealthy"), "the backup itself is whole");
    // As the message says.
    let accepted = "dhis2.hosting/accepted-set=after-loss";
    run::output(story.site.kubectl().args(["--namespace", &story.namespace, "annotate", "dhis2", "play", accepted, "--overwrite"]))?;
    instance.until("ContentSane").await?;
    backed_up(story, instance, "accepted").await?;
    let seen = instance.api.get(&instance.name).await?;
    assert!(instance::holds(&seen, "ContentSane") && backup(&seen).shrunk.is_none(), "{:?}", backup(&seen).shrunk);
    Ok(())
}

fn reason(seen: &Dhis2Instance, kind: &str) -> Option<String> {
    instance::condition(seen, kind).map(|told| told.reason.clone())
}

/// Every pack is changed in the middle, as by a disk that loses what it was given.
async fn damage_is_found(story: &Story, instance: &Instance) -> Outcome {
    story.shell(&story.namespace, "hand", &["sleep", "infinity"], &["play-backups"]).await?;
    let damage = "cd /play-backups/repository/data; for pack in */*; do chmod u+w $pack; \
                  dd if=/dev/urandom of=$pack bs=1 count=8 seek=$(($(wc -c < $pack) / 2)) conv=notrunc 2>/dev/null; done";
    story.inside("hand", damage)?;
    story.start("play-verify", "test-2")?;
    let found = |seen: &Dhis2Instance| reason(seen, "RestoreVerified").as_deref() == Some("RepositoryDamaged");
    let seen = instance.when("RepositoryDamaged", found).await?;
    assert!(instance::holds(&seen, "Ready"), "the instance serves all the same");
    let told = instance::condition(&seen, "RestoreVerified").map(|told| told.message.clone()).unwrap_or_default();
    assert!(told.contains("runbooks/RepositoryDamaged.md") || told.contains("RepositoryDamaged"), "{told}");
    let verified = backup(&seen).last_verified.map(|verified| verified.set);
    assert_eq!(verified.as_deref(), Some("mended"), "the last proof is told still");
    story.tell(&format!("damage was told as: {told}"));
    Ok(())
}

/// There would be no way back.
async fn no_upgrade_is_tried_on_it(story: &Story, instance: &Instance) -> Outcome {
    let version = story.site.version();
    let Some(later) = story.site.images.versions.iter().find(|later| crate::upgrade::is_later(later, version)) else {
        story.tell("an upgrade is left out: no later version of DHIS2 is at hand");
        return Ok(());
    };
    instance.change(&json!({ "version": later, "upgrade": { "rehearse": true } })).await?;
    let blocked = |seen: &Dhis2Instance| reason(seen, "Stalled").as_deref() == Some("UpgradeBlocked");
    let seen = instance.when("UpgradeBlocked", blocked).await?;
    let told = instance::condition(&seen, "Stalled").map(|told| told.message.clone()).unwrap_or_default();
    assert!(told.contains("when a restore test finds the newest set whole"), "{told}");
    story.tell(&format!("an upgrade on damaged sets was told as: {told}"));
    instance.change(&json!({ "version": version, "upgrade": { "rehearse": false } })).await?;
    instance.settled().await.map(drop)
}

/// The last step of the runbook.
async fn begun_anew(story: &Story, instance: &Instance) -> Outcome {
    story.inside("hand", "mv /play-backups/repository /play-backups/repository.damaged")?;
    backed_up(story, instance, "anew").await?;
    is_proven(story, instance, "anew", "test-3").await
}

/// The condition says so, no test comes, and backups are told not to wait for one.
async fn tests_are_switched_off(story: &Story, instance: &Instance) -> Outcome {
    instance.change(&json!({ "backup": { "verify": { "suspend": true } } })).await?;
    instance.when("VerifySuspended", |seen| reason(seen, "RestoreVerified").as_deref() == Some("VerifySuspended")).await?;
    instance.settled().await?;
    let schedules: Api<CronJob> = Api::namespaced(story.client.clone(), &story.namespace);
    assert_eq!(schedules.get("play-verify").await?.spec.and_then(|spec| spec.suspend), Some(true));
    backed_up(story, instance, "without-test").await
}

/// Whoever looks at events only has heard of all of it.
async fn all_is_told_in_events(story: &Story) -> Outcome {
    let events: Api<Event> = Api::namespaced(story.client.clone(), &story.namespace);
    let events = events.list(&ListParams::default()).await?.items;
    for reason in ["CapacityShort", "ContentShrunk", "RepositoryDamaged"] {
        let is_told = |event: &Event| event.reason.as_deref() == Some(reason) && event.type_.as_deref() == Some("Warning");
        assert!(events.iter().any(is_told), "no event tells {reason}");
    }
    Ok(())
}
