//! Sets in a bucket: while its server is away, that is told with the field; then sets are made, proven and restored from it, and its pods
//! reach it and nothing else; and when nothing of the instance is left, they and the key bring it back, with every row and every file, and
//! another one beside it under another name.

use std::time::Duration;

use dhis2_e2e::cluster::run;
use dhis2_e2e::site::bucket::Bucket;
use dhis2_e2e::site::door::{Account, Door, Scheme};
use dhis2_e2e::site::drill;
use dhis2_e2e::site::instance::{Instance, condition, holds};
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::own::Own;
use dhis2_e2e::site::{Outcome, Story, data, wait, whole};
use dhis2_operator::api::status::BackupStatus;
use dhis2_operator::api::{Dhis2Backup, Dhis2Instance};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

#[test]
fn s3() {
    crate::tell("s3", |story| async move {
        let Some(own) = story.site.own.clone() else {
            story.tell("left out: the S3 server runs on the node of our own cluster");
            return Ok(());
        };
        let mut bucket = Bucket::new(19443)?;
        Operator::install(&story).await?;
        let instance = story.instance("play");
        // Nothing of the rules is left but that no set is ever removed.
        let rules = json!({ "last": 1, "daily": 0, "weekly": 0, "monthly": 0 });
        let repository = json!({ "backup": { "repository": { "s3": bucket.spec() }, "retention": rules, "appendOnly": true } });
        instance.apply(&story.small_manifest("play", &repository)).await?;
        instance.settled().await?;
        is_told(&instance, "SecretMissing", "spec.backup.repository.s3.credentials.secretName").await?;
        bucket.secrets(&story).await?;
        story.start("play-backup", "away")?;
        is_told(&instance, "RepositoryUnreachable", "spec.backup.repository.s3.endpoint").await?;

        let jobs: Api<Job> = Api::namespaced(story.client.clone(), &story.namespace);
        jobs.delete("away", &DeleteParams::background()).await?;
        bucket.serve(&own).await?;
        let door = Door::new(&story.site, &instance.host);
        door.opens(Scheme::Http, Duration::from_secs(20)).await?;
        let admin = instance.admin().await?;
        let kept = data::put(&door, &admin).await?;
        backed_up(&story, &instance, "kept").await?;
        assert!(bucket.size()? > 100_000, "{} bytes in the bucket", bucket.size()?);
        has_no_volume(&story).await?;
        is_proven(&story, &instance).await?;
        reaches_the_bucket_only(&story, &own, &bucket).await?;
        restored(&story, &instance).await?;
        data::is_there(&door, &admin, &kept).await?;

        let safe = drill::Safe::of(&story, &bucket, "REPOSITORY", "secret/play-backup secret/s3-ca")?;
        safe.is_told(&story, &instance).await?;
        is_held_against_what_was_asked(&story, &instance).await?;
        let whole = whole::of(&story, "play").await?;
        drill::everything_is_lost(&story).await?;
        drill::the_sheet_brings_it_back(&story, &safe, &instance).await?;
        data::is_there(&door, &admin, &kept).await?;
        whole.is_found(&story, "play").await?;
        has_the_password(&instance, &admin).await?;
        drill::backups_go_on(&story, &instance).await?;
        a_set_goes(&story, &bucket, &instance, "last").await?;
        another_beside_it(&story, &bucket, &instance, &admin).await
    });
}

/// Out of the bucket, once the rules allow it.
async fn a_set_goes(story: &Story, bucket: &Bucket, instance: &Instance, set: &str) -> Outcome {
    instance.change(&json!({ "backup": { "appendOnly": false } })).await?;
    instance.settled().await?;
    let sets: Api<Dhis2Backup> = Api::namespaced(story.client.clone(), &story.namespace);
    let is_of = |object: &Dhis2Backup| object.status.as_ref().is_some_and(|status| status.set.as_deref() == Some(set));
    let object = sets.list(&ListParams::default()).await?.into_iter().find(is_of).ok_or("it has no object")?.name_any();
    let snapshots = || bucket.names(&format!("{}/play/snapshots", story.namespace));
    let before = snapshots()?;
    let put = [("NAME", object.as_str()), ("kubectl delete", "kubectl delete --timeout=3m")];
    story.types_of("docs/backup.md", "kubectl patch d2b NAME", &put)?;
    let after = snapshots()?;
    assert!(after.len() + 3 <= before.len() && after.iter().all(|kept| before.contains(kept)), "{} of {}", after.len(), before.len());
    Ok(())
}

/// Under another name, with all that the first one has, and in a repository of its own.
async fn another_beside_it(story: &Story, bucket: &Bucket, instance: &Instance, admin: &Account) -> Outcome {
    // So that nothing writes to the repository meanwhile but what should not.
    instance.change(&json!({ "backup": { "suspend": true } })).await?;
    instance.settled().await?;
    let whole = whole::of(story, "play").await?;
    let again = story.instance("again");
    drill::another_one_begins(story, bucket, instance, &again).await?;
    Door::new(&story.site, &again.host).opens(Scheme::Http, Duration::from_secs(20)).await?;
    whole.is_found(story, "again").await?;
    has_the_password(&again, admin).await
}

async fn has_the_password(instance: &Instance, admin: &Account) -> Outcome {
    assert_eq!(instance.admin().await?.basic(), admin.basic(), "another password is told");
    Ok(())
}

/// How old the newest set may get is measured; the next set makes it good.
async fn is_held_against_what_was_asked(story: &Story, instance: &Instance) -> Outcome {
    let objectives = |value: Value| json!({ "backup": { "objectives": value } });
    instance.change(&objectives(json!({ "dataLoss": "2m" }))).await?;
    let told = |reason: &'static str, words: &'static str| {
        move |seen: &Dhis2Instance| condition(seen, "Recoverable").is_some_and(|told| told.reason == reason && told.message.contains(words))
    };
    instance.when("ObjectiveMissed", told("ObjectiveMissed", "spec.backup.objectives.dataLoss, 2m")).await?;
    backed_up(story, instance, "last").await?;
    instance.when("that it is Recoverable again", told("Done", "")).await?;
    instance.change(&objectives(Value::Null)).await?;
    Ok(())
}

fn backup(seen: &Dhis2Instance) -> BackupStatus {
    seen.status.as_ref().and_then(|status| status.backup.clone()).unwrap_or_default()
}

/// Is it told for this reason that there is no backup, in words that name the field?
async fn is_told(instance: &Instance, reason: &str, field: &str) -> Outcome {
    let told = |seen: &Dhis2Instance| {
        condition(seen, "BackupHealthy").is_some_and(|told| told.status == "False" && told.reason == reason && told.message.contains(field))
    };
    instance.when(&format!("{reason} with {field}"), told).await?;
    Ok(())
}

async fn backed_up(story: &Story, instance: &Instance, name: &str) -> Outcome {
    story.back_up(instance, name).await?;
    let seen = instance.until("BackupHealthy").await?;
    let capacity = seen.status.and_then(|status| status.capacity?.repository).ok_or("nothing is told of the repository")?;
    assert!(capacity.used > 100_000 && capacity.free.is_none() && capacity.size.is_none(), "{capacity:?}");
    Ok(())
}

async fn has_no_volume(story: &Story) -> Outcome {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(story.client.clone(), &story.namespace);
    assert!(claims.get_opt("play-backups").await?.is_none(), "a volume of backups was made");
    Ok(())
}

async fn is_proven(story: &Story, instance: &Instance) -> Outcome {
    story.start("play-verify", "test-1")?;
    let proven = |seen: &Dhis2Instance| holds(seen, "RestoreVerified") && backup(seen).last_verified.is_some();
    let seen = instance.when("the newest set proven", proven).await?;
    story.tell(&format!("proven from the bucket in {:?} s", backup(&seen).last_verified.and_then(|verified| verified.seconds)));
    Ok(())
}

/// Tried from a pod with the labels of one that works with the bucket.
async fn reaches_the_bucket_only(story: &Story, own: &Own, bucket: &Bucket) -> Outcome {
    let (address, port) = bucket.address();
    let (_neighbour, other) = Bucket::neighbour(own)?;
    story.shell(&story.namespace, "like-verify", &["sleep", "infinity"], &[]).await?;
    let knock = |port: u16| {
        let command = format!("timeout 2 bash -c 'exec 3<>/dev/tcp/{address}/{port}'");
        story.inside("like-verify", &command).is_ok()
    };
    for port in [port, other] {
        assert!(knock(port), "a pod of nobody does not reach {address}:{port}");
    }
    let labels = ["app.kubernetes.io/instance=play", "app.kubernetes.io/managed-by=dhis2-operator", "app.kubernetes.io/component=verify"];
    run::output(story.site.kubectl().args(["--namespace", &story.namespace, "label", "pod", "like-verify"]).args(labels))?;
    let closed = async || if knock(other) { Err("open") } else { Ok(()) };
    wait::ask("another port of the node to be closed", Duration::from_secs(20), closed).await?;
    assert!(knock(port), "the policy keeps the pods from the bucket");
    Ok(())
}

async fn restored(story: &Story, instance: &Instance) -> Outcome {
    story.ask_for_restore("back", "play", &json!({ "set": "kept" })).await?.comes_to("Done").await?;
    instance.settled().await?;
    Ok(())
}
