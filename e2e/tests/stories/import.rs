//! Import: the dump and the files of another server, brought on a claim, become an instance with the same accounts and data; a wrong path
//! is told with what is there instead, and mended by the right one.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dhis2_e2e::site::data::{self, Data};
use dhis2_e2e::site::door::{Account, Door, Scheme};
use dhis2_e2e::site::instance::{Instance, condition, holds};
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story};
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
        instance.apply(&story.manifest("play", &bootstrap("dhis2.sql"))).await?;
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
        stays(&story, &instance).await
    });
}

/// Another server with data, the dump of which somebody brings as `docs/import.md` says; it is gone afterwards but for its key.
async fn old_server(story: &Story) -> Outcome<(Account, Data)> {
    let old = story.instance("old");
    old.apply(&story.manifest("old", &json!({}))).await?;
    old.settled().await?;
    let door = Door::new(&story.site, &old.host);
    door.opens(Scheme::Http, Duration::from_secs(20)).await?;
    let admin = old.admin().await?;
    let data = data::put(&door, &admin).await?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(story.client.clone(), &story.namespace);
    let mut claim: PersistentVolumeClaim = serde_json::from_value(json!({
        "metadata": { "name": "brought" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    }))?;
    claim.spec.get_or_insert_default().storage_class_name.clone_from(&story.site.storage_class);
    claims.create(&PostParams::default(), &claim).await?;
    story.shell(&story.namespace, "carrier", &["sleep", "infinity"], &["brought", "old-files"]).await?;
    carry(story)?;
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    pods.delete("carrier", &DeleteParams::default()).await?;
    Ok((admin, data))
}

fn carry(story: &Story) -> Outcome {
    let exec = |pod: &str, more: &[&str], script: &str| {
        let mut command: Command = story.site.kubectl();
        command.args(["--namespace", &story.namespace, "exec"]).args(more).args([pod, "--", "sh", "-c", script]);
        command
    };
    let dump = "pg_dump --username postgres --no-password dhis2 | gzip";
    let mut dumping = exec("old-database-0", &[], dump).stdout(Stdio::piped()).spawn()?;
    let stdin = dumping.stdout.take().map_or_else(Stdio::null, Stdio::from);
    let written = exec("carrier", &["--stdin"], "cat > /brought/dhis2.sql.gz").stdin(stdin).status()?;
    assert!(written.success() && dumping.wait()?.success(), "the dump did not come");
    story.inside("carrier", "cp -a /old-files /brought/files")?;
    Ok(())
}

fn is_told(story: &Story, seen: &Dhis2Instance) -> Outcome {
    let told = condition(seen, "DataLoaded").ok_or("DataLoaded is not told")?;
    let status = seen.status.as_ref().and_then(|status| status.bootstrap.clone()).ok_or("status.bootstrap is empty")?;
    assert_eq!((status.dump.as_str(), status.missing_files), ("dhis2.sql.gz", 0), "{status:?}");
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
