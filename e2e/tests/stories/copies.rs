//! Sets on a volume, and copies of them in a bucket: what is missing is told with its field, a copy is made on demand and told, sets are
//! restored from there, when somebody asks for it and by the clock, to see whether they can be, and an instance counts as recoverable by its
//! copy. The repository is lost, and the instance goes back to a set of the copy; then the whole namespace is, and the recovery sheet brings
//! it back from the copy. A copy that is asked for no more leaves no schedule.

use std::fs;
use std::path::Path;
use std::time::Duration;

use dhis2_e2e::cluster::run;
use dhis2_e2e::site::bucket::Bucket;
use dhis2_e2e::site::data;
use dhis2_e2e::site::door::Door;
use dhis2_e2e::site::drill;
use dhis2_e2e::site::instance::{Instance, SOME_DAY, condition, holds};
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, wait, whole};
use dhis2_operator::api::Dhis2Instance;
use dhis2_operator::api::errand::Dhis2RestoreTestStatus;
use dhis2_operator::api::status::{BackupStatus, CopyStatus};
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

#[test]
fn copies() {
    crate::tell("copies", |story| async move {
        let Some(own) = story.site.own.clone() else {
            story.tell("left out: the S3 server runs on the node of our own cluster");
            return Ok(());
        };
        let mut bucket = Bucket::new(19444)?;
        bucket.serve(&own).await?;
        Operator::install(&story).await?;
        let instance = story.instance("play");
        let copy = json!({ "name": "away", "passwordSecretName": "away-key", "s3": bucket.spec(), "verify": { "schedule": SOME_DAY } });
        instance.apply(&story.small_manifest("play", &json!({ "backup": { "copies": [copy] } }))).await?;
        instance.settled().await?;
        is_told(&instance, "BackupCopied", "SecretMissing", "spec.backup.copies[away].passwordSecretName").await?;
        bucket.secrets(&story).await?;
        let secrets: Api<Secret> = Api::namespaced(story.client.clone(), &story.namespace);
        let key = json!({ "metadata": { "name": "away-key" }, "stringData": { "password": "story-key-of-the-copy" } });
        secrets.create(&PostParams::default(), &serde_json::from_value(key)?).await?;

        instance.when("the first set", |seen| backup(seen).last.is_some()).await?;
        story.start("play-copy-away", "now")?;
        let copied = |seen: &Dhis2Instance| holds(seen, "BackupCopied") && away(seen).set.is_some();
        let seen = instance.when("the newest set copied", copied).await?;
        let (told, last) = (away(&seen), backup(&seen).last.unwrap_or_default());
        assert_eq!((told.set.as_ref(), told.behind, told.missing), (Some(&last.set), Some(0), Some(0)), "{told:?}");
        assert!(bucket.size()? > 10_000, "{} bytes in the bucket", bucket.size()?);
        story.tell(&format!("copied in {:?} s, {:?} bytes", told.seconds, told.bytes));

        is_told(&instance, "Recoverable", "KeyNotExported", "away-key").await?;
        let exported = format!("dhis2.hosting/key-exported=0000000000000000,{}", told.key.unwrap_or_default());
        run::output(story.site.kubectl().args(["--namespace", &story.namespace, "annotate", "dhis2", "play", &exported]))?;
        is_told(&instance, "Recoverable", "NotVerifiedYet", "").await?;

        is_read_back(&story, &instance, &bucket, &last.set).await?;
        let door = Door::new(&story.site, &instance.host);
        let admin = instance.admin().await?;
        back_by_the_copy(&story, &instance, &last.set).await?;
        let kept = data::put(&door, &admin).await?;
        goes_on_behind_another_repository(&story, &instance, "after-loss").await?;

        let safe = drill::Safe::of(&story, &bucket, "COPY AWAY", "secret/play-backup secret/away-key secret/s3-ca")?;
        let whole = whole::of(&story, "play").await?;
        drill::everything_is_lost(&story).await?;
        drill::the_sheet_brings_it_back(&story, &safe, &instance).await?;
        data::is_there(&door, &admin, &kept).await?;
        whole.is_found(&story, "play").await?;
        goes_on_behind_another_repository(&story, &instance, "after-drill").await?;

        instance.change(&json!({ "backup": { "copies": null } })).await?;
        let schedules: Api<CronJob> = Api::namespaced(story.client.clone(), &story.namespace);
        for schedule in ["play-copy-away", "play-test-away"] {
            wait::gone(&schedules, schedule, Duration::from_secs(30)).await?;
        }
        let silent = |seen: &Dhis2Instance| condition(seen, "BackupCopied").is_none() && backup(seen).copies.is_empty();
        instance.when("no word about copies", silent).await?;
        Ok(())
    });
}

/// A set is restored from the copy alone when somebody asks for it. What lies there damaged is told, until a set was restored after that.
async fn is_read_back(story: &Story, instance: &Instance, bucket: &Bucket, set: &str) -> Outcome {
    let waits = |told: &Dhis2RestoreTestStatus| told.progress.message.as_ref().is_some_and(|message| message.contains("has no copy"));
    story.test_until("nowhere", ("play", &json!({ "copy": "nowhere" })), waits).await?;
    let from = json!({ "copy": "away" });
    let told = story.test("whole", "play", &from).await?;
    assert_eq!((told.progress.phase.as_deref(), told.set.as_deref()), (Some("Done"), Some(set)), "{told:?}");
    let proven = |seen: &Dhis2Instance| away(seen).last_verified.is_some_and(|proof| proof.set == set);
    let seen = instance.when("the proof of the copy", proven).await?;
    assert!(holds(&seen, "BackupCopied") && backup(&seen).last_verified.is_none(), "that says nothing of the repository");

    let pack = bucket.largest_pack()?;
    flip(&pack)?;
    let told = story.test("damaged", "play", &from).await?;
    assert_eq!(told.progress.phase.as_deref(), Some("Failed"), "{told:?}");
    is_told(instance, "BackupCopied", "RepositoryDamaged", "A restore test from copy away").await?;
    flip(&pack)?;
    // As the clock does it.
    story.start("play-test-away", "mended")?;
    let seen = instance.when("the copy counted again", |seen| holds(seen, "BackupCopied")).await?;
    let schedule = away(&seen).verify_schedule.ok_or("no schedule of tests is told")?;
    assert_eq!(schedule.cron, SOME_DAY);
    Ok(())
}

fn flip(file: &Path) -> Outcome {
    let mut bytes = fs::read(file)?;
    let middle = bytes.len() / 2;
    bytes.get_mut(middle).into_iter().for_each(|byte| *byte ^= 1);
    Ok(fs::write(file, bytes)?)
}

/// All that is on the volume of the sets is lost, and what DHIS2 has is damaged: the copy brings it back.
async fn back_by_the_copy(story: &Story, instance: &Instance, set: &str) -> Outcome {
    data::enter_later(story, "play")?;
    story.shell(&story.namespace, "clears", &["sleep", "infinity"], &["play-backups"]).await?;
    story.inside("clears", "rm -r /play-backups/repository")?;
    let request = story.ask_for_restore("none", "play", &json!({ "from": { "copy": "nowhere" } })).await?;
    let told = request.comes_to("Failed").await?;
    assert!(
        told.message.clone().unwrap_or_default().contains("spec.from.copy: the instance has no copy \"nowhere\""),
        "{:?}",
        told.message
    );

    let told = story.ask_for_restore("back", "play", &json!({ "from": { "copy": "away" } })).await?.comes_to("Done").await?;
    assert_eq!(told.set.as_deref(), Some(set));
    instance.settled().await?;
    assert!(!data::has_later(story, "play")?, "what was entered after the set is there");
    Ok(())
}

/// The repository was made anew: its sets are brought to the copy all the same.
async fn goes_on_behind_another_repository(story: &Story, instance: &Instance, set: &str) -> Outcome {
    story.back_up(instance, set).await?;
    story.start("play-copy-away", &format!("copy-{set}"))?;
    instance.when(&format!("set {set} in the copy"), |seen| away(seen).set.as_deref() == Some(set)).await?;
    Ok(())
}

fn backup(seen: &Dhis2Instance) -> BackupStatus {
    seen.status.as_ref().and_then(|status| status.backup.clone()).unwrap_or_default()
}

fn away(seen: &Dhis2Instance) -> CopyStatus {
    backup(seen).copies.into_iter().find(|copy| copy.name == "away").unwrap_or_default()
}

async fn is_told(instance: &Instance, kind: &str, reason: &str, words: &str) -> Outcome {
    let told = |seen: &Dhis2Instance| {
        condition(seen, kind).is_some_and(|told| told.status == "False" && told.reason == reason && told.message.contains(words))
    };
    instance.when(&format!("{kind} for {reason} with {words}"), told).await?;
    Ok(())
}
