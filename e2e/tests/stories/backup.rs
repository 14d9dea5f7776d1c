//! Backup: the CronJob's pod makes a set, its manifest tells the truth, and with plain restic and `pg_restore`, following
//! `docs/backup-by-hand.md` only, the data is back and equal. Killed in the middle, nothing half counts.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use dhis2_e2e::cluster::cache::Cache;
use dhis2_e2e::cluster::programs::Program;
use dhis2_e2e::cluster::{build, run};
use dhis2_e2e::site::data::{self, Data};
use dhis2_e2e::site::door::Door;
use dhis2_e2e::site::instance::Instance;
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, checkout, process, wait};
use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, LogParams, PropagationPolicy};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_mins(5);

#[test]
fn backup() {
    crate::tell("backup", |story| async move {
        Operator::install(&story).await?;
        let instance = story.instance("play");
        instance.apply(&story.manifest("play", &json!({}))).await?;
        instance.settled().await?;
        instance.until("BackupHealthy").await?;
        let door = Door::new(&story.site, &instance.host);
        door.opens(dhis2_e2e::site::door::Scheme::Http, Duration::from_secs(20))
            .await?;
        let data = data::put(&door, &instance.admin().await?).await?;
        let sets = scheduled_backup(&story, &instance, "kept").await?;
        killed_in_the_middle(&story, &instance, sets).await?;
        let again = scheduled_backup(&story, &instance, "next").await?;
        assert_eq!(again, sets + 1, "the set that was broken off counts");
        restored_by_hand(&story, &instance, &data).await
    });
}

/// What the CronJob does at night, now. Returns how many sets there are then.
async fn scheduled_backup(story: &Story, instance: &Instance, name: &str) -> Outcome<i64> {
    let begun = Instant::now();
    start(story, name)?;
    let is_told = |seen: &dhis2_operator::api::Dhis2Instance| {
        let last = seen
            .status
            .as_ref()
            .and_then(|status| status.backup.as_ref())
            .and_then(|backup| backup.last.as_ref());
        last.is_some_and(|last| last.set == name)
    };
    let seen = instance
        .when(&format!("set {name} in the status"), is_told)
        .await?;
    let backup = seen
        .status
        .and_then(|status| status.backup)
        .unwrap_or_default();
    story.tell(&format!(
        "set {name}: {:.1} s with its pod's start, {} bytes added",
        begun.elapsed().as_secs_f32(),
        backup.last.and_then(|last| last.added_bytes).unwrap_or(-1)
    ));
    assert_eq!(backup.failure, None);
    Ok(backup.sets.unwrap_or_default())
}

fn start(story: &Story, name: &str) -> Outcome {
    run::output(story.site.kubectl().args([
        "--namespace",
        &story.namespace,
        "create",
        "job",
        "--from=cronjob/play-backup",
        name,
    ]))?;
    Ok(())
}

/// A backup is killed while it writes, and its Job deleted, so that nobody finishes it.
async fn killed_in_the_middle(story: &Story, instance: &Instance, sets: i64) -> Outcome {
    start(story, "killed")?;
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    let pod = wait::ask("the pod of the backup to write", LIMIT, async || {
        writing(&pods).await
    })
    .await?;
    if story.site.own.is_some() {
        let killed = process::kill(
            pod.metadata.uid.as_deref().unwrap_or_default(),
            "dhis2-agent",
        )?;
        assert!(killed, "the backup had ended before it could be killed");
    } else {
        pods.delete(
            &pod.name_any(),
            &DeleteParams {
                grace_period_seconds: Some(0),
                ..DeleteParams::default()
            },
        )
        .await?;
    }
    let jobs: Api<Job> = Api::namespaced(story.client.clone(), &story.namespace);
    let job = jobs.get("killed").await?;
    let done = job
        .status
        .as_ref()
        .and_then(|status| status.succeeded)
        .unwrap_or_default();
    assert_eq!(done, 0, "the backup had succeeded before it was killed");
    jobs.delete(
        "killed",
        &DeleteParams {
            propagation_policy: Some(PropagationPolicy::Foreground),
            ..DeleteParams::default()
        },
    )
    .await?;
    wait::gone(&jobs, "killed", LIMIT).await?;
    let status = instance
        .api
        .get(&instance.name)
        .await?
        .status
        .and_then(|status| status.backup)
        .unwrap_or_default();
    assert_eq!(
        (status.last.map(|last| last.set).as_deref(), status.sets),
        (Some("kept"), Some(sets)),
        "a half set counts"
    );
    Ok(())
}

/// The pod of the Job `killed`, once its log says that it is in the middle of the set.
async fn writing(pods: &Api<Pod>) -> Result<Pod, String> {
    let found = pods
        .list(&ListParams::default().labels("batch.kubernetes.io/job-name=killed"))
        .await
        .map_err(|error| error.to_string())?;
    let pod = found.items.into_iter().next().ok_or("there is no pod")?;
    let follow = LogParams {
        container: Some("backup".to_owned()),
        follow: true,
        ..LogParams::default()
    };
    let log = pods
        .log_stream(&pod.name_any(), &follow)
        .await
        .map_err(|error| error.to_string())?;
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

/// The documentation, as it is printed, run in an empty folder.
async fn restored_by_hand(story: &Story, instance: &Instance, data: &Data) -> Outcome {
    let folder = tempfile::tempdir()?;
    let text = std::fs::read_to_string(checkout("docs/backup-by-hand.md"))?;
    let mut blocks = blocks(&text);
    assert!(
        blocks.len() > 6 && blocks.remove(0).starts_with("NAMESPACE="),
        "docs/backup-by-hand.md begins with saying which instance"
    );
    let farewell = blocks.pop().unwrap_or_default();
    let begun = Instant::now();
    let said = shell(story, folder.path(), &blocks.concat())?;
    story.tell(&format!(
        "restored by hand in {:.1} s",
        begun.elapsed().as_secs_f32()
    ));
    // Two comparisons and the heading of none.
    assert_eq!(
        said.matches("(0 rows)").count(),
        2,
        "what is restored is not what was backed up: {said}"
    );
    let tables = number_after(&said, "tables compared");
    assert!(
        tables.is_some_and(|tables| tables > 10),
        "hardly any table was compared: {said}"
    );
    let (in_set, restored) = (
        number_after(&said, "files in the set:"),
        number_after(&said, "files restored:"),
    );
    assert!(
        in_set == restored && in_set.is_some_and(|files| files > 0),
        "files in the set and restored: {in_set:?}, {restored:?}: {said}"
    );
    manifest_tells(story, instance, folder.path()).await?;
    data_is_there(story, folder.path(), data)?;
    half_set_has_no_manifest(story, folder.path())?;
    shell(story, folder.path(), &farewell)?;
    Ok(())
}

fn blocks(text: &str) -> Vec<String> {
    let parts = text.split("\n```sh\n").skip(1);
    parts
        .filter_map(|part| part.split_once("```").map(|(block, _)| block.to_owned()))
        .collect()
}

/// Runs commands of the documentation, with kubectl and restic on the search path.
fn shell(story: &Story, folder: &Path, script: &str) -> Outcome<String> {
    let programs = [
        story
            .site
            .kubectl
            .parent()
            .unwrap_or(Path::new("/usr/bin"))
            .to_owned(),
        restic()?,
    ];
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(
        programs
            .into_iter()
            .chain(std::env::split_paths(&inherited)),
    )?;
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", script])
        .current_dir(folder)
        .env("PATH", path)
        .env("KUBECONFIG", &story.site.kubeconfig);
    Ok(run::output(
        bash.env("NAMESPACE", &story.namespace)
            .env("INSTANCE", "play"),
    )?)
}

/// The folder of restic, plain as its makers publish it.
fn restic() -> Outcome<std::path::PathBuf> {
    let program = Program::named("restic").ok_or("no module builds restic")?;
    Ok(build::program(&Cache::locate()?, program)?)
}

/// The first number that follows these words.
fn number_after(text: &str, words: &str) -> Option<u64> {
    let (_, rest) = text.split_once(words)?;
    let digits: String = rest
        .chars()
        .skip_while(|c| !c.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().ok()
}

/// Rows, files, versions, digest of the key.
async fn manifest_tells(story: &Story, instance: &Instance, folder: &Path) -> Outcome {
    let manifest: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("manifest.json"))?)?;
    let at = |pointer: &str| manifest.pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(at("/set"), "next");
    assert_eq!(at("/name"), json!(format!("{}/play", story.namespace)));
    assert!(
        at("/dhis2/version")
            .as_str()
            .is_some_and(|version| story.site.version().starts_with(version)),
        "{}",
        at("/dhis2")
    );
    assert!(
        at("/postgresql/version")
            .as_str()
            .is_some_and(|version| version.starts_with("17")),
        "{}",
        at("/postgresql")
    );
    assert!(
        at("/contents/rows/public.organisationunit")
            .as_u64()
            .is_some_and(|rows| rows > 0),
        "{}",
        at("/contents/rows")
    );
    assert!(
        at("/files/count").as_u64().is_some_and(|files| files > 0),
        "{}",
        at("/files")
    );
    assert_eq!(
        (at("/files/referencesWithoutFile"), at("/files/complete")),
        (json!(0), json!(true))
    );
    assert_eq!(at("/encryptionKey/inSecrets"), true);
    let key = instance
        .secret("encryption")
        .await?
        .data
        .and_then(|mut data| data.remove("password"))
        .ok_or("Secret play-encryption lacks password")?;
    let salt = at("/encryptionKey/salt")
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert_eq!(
        at("/encryptionKey/digest"),
        data::digest(&salt, &key.0),
        "the digest of the key"
    );
    assert_eq!(
        at("/secrets/encryption~1password"),
        String::from_utf8(key.0)?,
        "the key itself"
    );
    assert_eq!(at("/resource/spec/web/host"), json!(instance.host));
    Ok(())
}

/// What the story had put into DHIS2.
fn data_is_there(story: &Story, folder: &Path, data: &Data) -> Outcome {
    let query = format!(
        "kubectl -n $NAMESPACE exec by-hand -- psql -Atd dhis2 -c \"SELECT name FROM organisationunit WHERE uid = '{}'\"",
        data.unit
    );
    assert_eq!(
        shell(story, folder, &query)?.trim(),
        data::UNIT,
        "the organisation unit is not in the restored database"
    );
    let mut archive = tar::Archive::new(std::fs::File::open(folder.join("files.tar"))?);
    let mut contents = BTreeMap::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes)?;
        contents.insert(entry.path()?.into_owned(), bytes);
    }
    assert!(
        contents.values().any(|bytes| *bytes == data.file),
        "the uploaded file is not among {:?}",
        contents.keys()
    );
    Ok(())
}

/// The set that was broken off left parts behind, so it was in the middle, and no manifest.
fn half_set_has_no_manifest(story: &Story, folder: &Path) -> Outcome {
    let list = "kubectl -n $NAMESPACE exec by-hand -- /work/restic --no-lock snapshots --json --tag set=killed";
    let snapshots: Vec<Value> = serde_json::from_str(&shell(story, folder, list)?)?;
    assert!(
        !snapshots.is_empty(),
        "the backup was killed before it wrote anything"
    );
    let tagged = |snapshot: &Value, tag: &str| {
        snapshot["tags"]
            .as_array()
            .is_some_and(|tags| tags.contains(&json!(tag)))
    };
    assert!(
        !snapshots
            .iter()
            .any(|snapshot| tagged(snapshot, "part=manifest")),
        "{snapshots:?}"
    );
    Ok(())
}
