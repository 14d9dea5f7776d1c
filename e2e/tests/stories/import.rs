//! Import: the dump and the files of another server, brought on a claim, become an instance with the same accounts and data; a wrong path
//! is told with what is there instead, and mended by the right one; and a copy begins with a set of the old one, from its volume.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dhis2_e2e::site::analytics;
use dhis2_e2e::site::data::{self, Data};
use dhis2_e2e::site::door::{Account, Door, Scheme};
use dhis2_e2e::site::instance::{Instance, condition, holds};
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, checkout, inside, wait};
use dhis2_operator::api::Dhis2Instance;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

const TOLD: Duration = Duration::from_mins(1);

#[test]
fn import() {
    crate::tell("import", |story| async move {
        Operator::install(&story).await?;
        let (admin, data) = old_server(&story).await?;
        let instance = story.instance("play");
        let bootstrap = |path: &str| {
            json!({ "bootstrap": { "fromDump": { "volumeClaim": "brought", "path": path, "filesPath": "files" } },
                "encryption": { "secretName": "old-encryption" } })
        };
        instance.apply(&story.small_manifest("play", &bootstrap("dhis2.sql"))).await?;
        let took = instance.unready("ImportFailed", "the claim has no dhis2.sql: there is dhis2.sql.gz, files", TOLD).await?;
        story.tell(&format!("a wrong path was told after {:.1} s", took.as_secs_f32()));
        let begun = Instant::now();
        instance.change(&bootstrap("dhis2.sql.gz")).await?;
        let loaded = instance.when("the dump to be loaded", |seen| holds(seen, "DataLoaded")).await?;
        is_told(&story, &loaded)?;
        instance.settled().await?;
        story.tell(&format!("served from the dump after {:.1} s", begun.elapsed().as_secs_f32()));
        let door = Door::new(&story.site, &instance.host);
        door.opens(Scheme::Http, Duration::from_secs(30)).await?;
        is_the_same(&door, &admin, &data).await?;
        analytics::told(&instance, "True", "after the start with other data: analytics tables have never been generated").await?;
        stays(&story, &instance).await?;
        Box::pin(beside_the_old_one(&story, &admin, &data)).await
    });
}

/// Another server with data, the dump of which somebody brings as `docs/import.md` says; it is gone afterwards but for its key.
async fn old_server(story: &Story) -> Outcome<(Account, Data)> {
    let old = story.instance("old");
    old.apply(&story.small_manifest("old", &json!({}))).await?;
    old.settled().await?;
    let door = Door::new(&story.site, &old.host);
    door.opens(Scheme::Http, Duration::from_secs(20)).await?;
    let admin = old.admin().await?;
    let data = data::put(&door, &admin).await?;
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    for object in as_documented(story)? {
        if object["kind"] == "Pod" {
            pods.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        } else {
            let claims: Api<PersistentVolumeClaim> = Api::namespaced(story.client.clone(), &story.namespace);
            claims.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        }
    }
    story.shell(&story.namespace, "reader", &["sleep", "infinity"], &["old-files"]).await?;
    let runs = |pod: &Pod| inside::container(pod, "carrier").is_some_and(|carrier| carrier.ready);
    wait::until(&pods, "carrier", "the pod that carries the dump", TOLD, runs).await?;
    carry(story)?;
    for pod in ["carrier", "reader"] {
        pods.delete(pod, &DeleteParams::default()).await?;
    }
    Ok((admin, data))
}

/// The claim and the pod of `docs/import.md`.
fn as_documented(story: &Story) -> Outcome<Vec<Value>> {
    let document = std::fs::read_to_string(checkout("docs/import.md"))?;
    let block = document.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).ok_or("docs/import.md shows no YAML")?;
    let mut objects = Vec::new();
    for part in block.split("---\n") {
        let mut object: Value = serde_yaml::from_str(part)?;
        if object["kind"] == "Pod" {
            object["spec"]["containers"][0]["image"] = json!(story.site.images.postgres);
        } else {
            object["spec"]["resources"]["requests"]["storage"] = json!("1Gi");
            object["spec"]["storageClassName"] = json!(story.site.storage_class);
        }
        objects.push(object);
    }
    Ok(objects)
}

fn carry(story: &Story) -> Outcome {
    let exec = |pod: &str, more: &[&str], script: &str| {
        let mut command: Command = story.site.kubectl();
        command.args(["--namespace", &story.namespace, "exec"]).args(more).args([pod, "--", "sh", "-c", script]);
        command
    };
    let carried = |from: &str, read: &str, write: &str| -> Outcome {
        let mut reading = exec(from, &[], read).stdout(Stdio::piped()).spawn()?;
        let stdin = reading.stdout.take().map_or_else(Stdio::null, Stdio::from);
        let written = exec("carrier", &["--stdin"], write).stdin(stdin).status()?;
        if written.success() && reading.wait()?.success() { Ok(()) } else { Err(format!("{read} did not come").into()) }
    };
    carried("old-database-0", "pg_dump --username postgres --no-password dhis2 | gzip", "cat > /brought/dhis2.sql.gz")?;
    // What is in the directory, not the directory: that changes while the old one looks whether it can write to it.
    let read = "cd /old-files && tar --create --exclude lost+found --transform s,^,files/, *";
    carried("reader", read, "tar --extract --directory /brought")
}

/// A copy that begins with a set of the old server, which is an instance itself and goes on.
async fn beside_the_old_one(story: &Story, admin: &Account, data: &Data) -> Outcome {
    let old = story.instance("old");
    story.back_up(&old, "whole").await?;
    let copy = story.instance("copy");
    let spec = |name: &str| {
        let backup = json!({ "instance": name, "before": "2099-01-01T00:00:00Z" });
        json!({ "bootstrap": { "fromBackup": backup }, "encryption": { "secretName": "old-encryption" } })
    };
    copy.apply(&story.small_manifest("copy", &spec("odl"))).await?;
    let stalled = |seen: &Dhis2Instance| {
        condition(seen, "Stalled").is_some_and(|told| told.status == "True" && told.message.contains("there is no Dhis2Instance odl"))
    };
    copy.when("the wrong name to be told", stalled).await?;
    copy.change(&json!({ "bootstrap": { "fromBackup": { "instance": "old" } } })).await?;
    let seen = copy.settled().await?;
    let set = seen.status.as_ref().and_then(|status| status.bootstrap.as_ref()?.set.clone());
    assert_eq!((holds(&seen, "DataLoaded"), set.as_deref()), (true, Some("whole")));
    let door = Door::new(&story.site, &copy.host);
    door.opens(Scheme::Http, Duration::from_secs(30)).await?;
    is_the_same(&door, admin, data).await?;
    old.settled().await?;
    as_the_old_one_is_now(story, &copy).await
}

/// The copy, some time later, is to be as the old one is then.
async fn as_the_old_one_is_now(story: &Story, copy: &Instance) -> Outcome {
    data::enter_later(story, "old")?;
    story.back_up(&story.instance("old"), "later").await?;
    let from = |key: &str| json!({ "from": { "repository": { "volumeClaim": "old-backups" }, "passwordSecretName": key } });
    let told = story.ask_for_restore("without-key", "copy", &from("nobody")).await?.comes_to("Failed").await?;
    assert!(told.message.clone().unwrap_or_default().contains("the Secret of spec.from.passwordSecretName does not exist"), "{told:?}");
    let told = story.ask_for_restore("nobodys", "copy", &json!({ "from": { "instance": "odl" } })).await?.comes_to("Failed").await?;
    assert!(told.message.clone().unwrap_or_default().contains("there is no Dhis2Instance odl"), "{told:?}");
    let told = story.ask_for_restore("refresh", "copy", &json!({ "from": { "instance": "old" } })).await?.comes_to("Done").await?;
    assert_eq!(told.set.as_deref(), Some("later"));
    copy.settled().await?;
    assert!(data::has_later(story, "copy")?, "what was entered in the old one is not there");
    Ok(())
}

fn is_told(story: &Story, seen: &Dhis2Instance) -> Outcome {
    let told = condition(seen, "DataLoaded").ok_or("DataLoaded is not told")?;
    let status = seen.status.as_ref().and_then(|status| status.bootstrap.clone()).ok_or("status.bootstrap is empty")?;
    assert_eq!((status.dump.as_deref(), status.missing_files), (Some("dhis2.sql.gz"), 0), "{status:?}");
    assert!(status.files > 0 && status.references > 0, "{status:?}");
    story.tell(&format!("loaded: {}", told.message));
    Ok(())
}

/// Whoever had an account has it, with the data.
async fn is_the_same(door: &Door, admin: &Account, data: &Data) -> Outcome {
    let (door, admin, data) = (door.clone(), admin.clone(), data.clone());
    tokio::task::spawn_blocking(move || data::check(&door, &admin, &data)).await??;
    Ok(())
}

/// The claim was only read, and what is said of it afterwards changes nothing.
async fn stays(story: &Story, instance: &Instance) -> Outcome {
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    let uids = async || -> Outcome<[Option<String>; 2]> { Ok([pods.get("play-0").await?.uid(), pods.get("play-database-0").await?.uid()]) };
    let before = uids().await?;
    instance.change(&json!({ "bootstrap": Value::Null })).await?;
    let seen = instance.settled().await?;
    assert!(holds(&seen, "DataLoaded"), "what the instance began with is forgotten");
    assert_eq!(uids().await?, before, "a server was started again");
    let owner = story.shell(&story.namespace, "looker", &["sleep", "infinity"], &["brought"]).await.map(drop);
    owner?;
    assert_eq!(story.inside("looker", "stat --format %u:%g /brought/dhis2.sql.gz")?.trim(), "65534:65534", "its owner was changed");
    instance.until("BackupHealthy").await?;
    Ok(())
}
