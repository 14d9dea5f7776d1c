//! An upgrade that fails: an image that is not there stops nothing, nor does a volume without room for the migration, nor a version that does not serve on a copy; a migration that the data does
//! not allow gives way to the old version, with the set of before, by itself; when the data is mended the same upgrade is rehearsed and goes through. Analytics
//! tables that the rollback has lost are left to people where the resource says so.

use std::time::{Duration, Instant};

use dhis2_e2e::site::analytics;
use dhis2_e2e::site::data;
use dhis2_e2e::site::door::{Door, Scheme};
use dhis2_e2e::site::instance::{Instance, condition, holds, settled};
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story};
use dhis2_operator::api::Dhis2Instance;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{Api, ResourceExt};
use serde_json::json;

/// DHIS2 2.43 has a migration that an event without a date does not pass (dhis2-core, `V2_43_21__split_event_table`).
pub const UNDATED: &str = "insert into program (programid, uid, name, type) values (1, 'aaaaaaaaaaa', 'p', 'WITHOUT_REGISTRATION');
    insert into event (eventid, uid, programid, status, organisationunitid)
    select 1, 'bbbbbbbbbbb', 1, 'ACTIVE', organisationunitid from organisationunit limit 1";

/// Some 470 MiB of events that are soon written: a row a page.
const LARGE: &str = "alter table event rename to event_kept;
    create unlogged table event (t text) with (fillfactor = 10);
    alter table event alter t set storage plain;
    insert into event select repeat('x', 700) from generate_series(1, 60000)";

#[test]
fn rollback() {
    crate::tell("rollback", |story| async move {
        let [.., older, newest] = story.site.images.versions.as_slice() else {
            story.tell("left out: there is one version of DHIS2 only");
            return Ok(());
        };
        if !story.site.is_stand_in() {
            story.tell("left out: the stand-in's tables are needed");
            return Ok(());
        }
        let [older, newest] = [older, newest].map(|version| crate::upgrade::as_told(version));
        Operator::install(&story).await?;
        let instance = story.instance("play");
        let of = json!({
            "version": older, "upgrade": { "onFailure": "Rollback" }, "analytics": { "generate": "Never" }, "database": { "bundled": { "storage": { "size": "1Gi" } } }
        });
        // The rehearsal takes it a second time, and other stories have theirs.
        instance.apply(&story.small_manifest("play", &of)).await?;
        instance.settled().await?;
        instance.until("BackupHealthy").await?;
        let door = Door::new(&story.site, &instance.host);
        door.opens(Scheme::Http, Duration::from_secs(20)).await?;
        let admin = instance.admin().await?;
        let data = data::put(&door, &admin).await?;
        analytics::generate(&door, &admin).await?;
        story.sql("play", UNDATED)?;
        an_image_that_is_not_there(&story, &instance, &newest).await?;
        a_volume_that_is_too_small(&story, &instance, &newest).await?;
        rehearsed_in_vain(&story, &instance, &newest).await?;
        rolled_back(&story, &instance, &older, &newest).await?;
        data::is_there(&door, &admin, &data).await?;
        let seen = instance.api.get("play").await?;
        assert!(condition(&seen, "AnalyticsFresh").is_none() && analytics::rows(&story, "play")? == 0, "they are people's to generate");
        mended(&story, &instance, &older, &newest).await?;
        data::is_there(&door, &admin, &data).await
    });
}

fn stalled(seen: &Dhis2Instance) -> (&str, &str) {
    condition(seen, "Stalled").filter(|told| told.status == "True").map_or(("", ""), |told| (told.reason.as_str(), told.message.as_str()))
}

fn pods(story: &Story) -> Api<Pod> {
    Api::namespaced(story.client.clone(), &story.namespace)
}

/// Nothing is stopped for it.
async fn an_image_that_is_not_there(story: &Story, instance: &Instance, newest: &str) -> Outcome {
    let before = pods(story).get("play-0").await?.uid();
    let missing = format!("{newest}.99");
    let begun = Instant::now();
    instance.change(&json!({ "version": missing })).await?;
    let seen = instance.when("UpgradeBlocked", |seen| stalled(seen).0 == "UpgradeBlocked").await?;
    story.tell(&format!("an image that is not there was told after {:.1} s: {}", begun.elapsed().as_secs_f32(), stalled(&seen).1));
    assert!(stalled(&seen).1.contains(&missing), "{}", stalled(&seen).1);
    assert!(holds(&seen, "Ready") && pods(story).get("play-0").await?.uid() == before, "the old version goes on");
    Ok(())
}

/// Half of it is one table. It stays blocked until the table or the volume is another one.
async fn a_volume_that_is_too_small(story: &Story, instance: &Instance, newest: &str) -> Outcome {
    let before = pods(story).get("play-0").await?.uid();
    story.sql("play", LARGE)?;
    instance.change(&json!({ "version": newest })).await?;
    let small =
        |seen: &Dhis2Instance| stalled(seen).0 == "UpgradeBlocked" && stalled(seen).1.contains("spec.database.bundled.storage.size");
    let seen = instance.when("UpgradeBlocked by the volume", small).await?;
    story.tell(&format!("a volume that is too small: {}", stalled(&seen).1));
    assert!(stalled(&seen).1.contains("copies the table event") && stalled(&seen).1.contains("to 2Gi"), "{}", stalled(&seen).1);
    assert!(holds(&seen, "Ready") && pods(story).get("play-0").await?.uid() == before, "the old version goes on");
    story.sql("play", "drop table event; alter table event_kept rename to event").map(drop)
}

/// The newest set has the event: a copy shows what would happen.
async fn rehearsed_in_vain(story: &Story, instance: &Instance, newest: &str) -> Outcome {
    story.back_up(instance, "undated").await?;
    let before = pods(story).get("play-0").await?.uid();
    let begun = Instant::now();
    instance.change(&json!({ "version": newest, "upgrade": { "rehearse": true } })).await?;
    let seen = instance.when("RehearsalFailed", |seen| stalled(seen).0 == "RehearsalFailed").await?;
    story.tell(&format!("what would fail was told after {:.1} s: {}", begun.elapsed().as_secs_f32(), stalled(&seen).1));
    assert!(stalled(&seen).1.contains("occurreddate") && stalled(&seen).1.contains(newest), "{}", stalled(&seen).1);
    let proven = seen.status.as_ref().and_then(|status| status.backup.as_ref()?.last_verified.clone()).map(|proof| proof.set);
    assert_eq!(proven.as_deref(), Some("undated"), "what it is tried on is proven before");
    assert!(holds(&seen, "Ready") && pods(story).get("play-0").await?.uid() == before, "the old version goes on");
    Ok(())
}

async fn rolled_back(story: &Story, instance: &Instance, older: &str, newest: &str) -> Outcome {
    let asked = instance.change(&json!({ "version": newest, "upgrade": { "rehearse": false } })).await?;
    let set = format!("play-before-upgrade-{}", asked.metadata.generation.unwrap_or_default());
    instance.when("DHIS2 to be stopped", |seen| !holds(seen, "Ready")).await?;
    let stopped = Instant::now();
    let seen = instance.when("UpgradeRolledBack", |seen| stalled(seen).0 == "UpgradeRolledBack" && holds(seen, "Ready")).await?;
    story.tell(&format!("{newest} failed, and {older} served again {:.1} s after it had stopped", stopped.elapsed().as_secs_f32()));
    let (_, message) = stalled(&seen);
    assert!(message.contains("404") && message.contains(&set) && message.contains(newest), "{message}");
    let status = seen.status.unwrap_or_default();
    assert_eq!(status.version.and_then(|version| version.running).as_deref(), Some(older));
    let kept = status.kept.first().and_then(|kept| kept.database.clone()).map(|made| made.name);
    assert_eq!(kept.as_deref(), Some("play-database"), "what was entered meanwhile is still there");
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(story.client.clone(), &story.namespace);
    assert!(claims.get("play-database").await?.metadata.deletion_timestamp.is_none());
    Ok(())
}

/// The same version again, after the old one: it goes through when nothing is in its way.
async fn mended(story: &Story, instance: &Instance, older: &str, newest: &str) -> Outcome {
    story.sql("play", "delete from event")?;
    story.back_up(instance, "mended").await?;
    let change = json!({ "version": older, "upgrade": { "rehearse": true }, "analytics": { "generate": "WhenMissing" } });
    instance.change(&change).await?;
    instance.when("nothing to be in the way", |seen| stalled(seen).0.is_empty() && settled(seen)).await?;
    instance.change(&json!({ "version": newest })).await?;
    let forecast = |seen: &Dhis2Instance| seen.status.as_ref()?.operation.as_ref()?.forecast_seconds;
    let seen = instance.when("the forecast", |seen| forecast(seen).is_some()).await?;
    story.tell(&format!("on a copy {newest} served after {} s", forecast(&seen).unwrap_or_default()));
    let running = |seen: &Dhis2Instance| seen.status.as_ref()?.version.as_ref()?.running.clone();
    instance.when(newest, |seen| running(seen).as_deref() == Some(newest) && settled(seen)).await?;
    analytics::told(instance, "True", "after an upgrade to another line, in").await.map(drop)
}
