//! A drill: nothing of the instance is left in the cluster, its namespace neither, and whoever has its recovery sheet has it back as it
//! was.

use std::fs;
use std::time::{Duration, Instant};

use dhis2_operator::api::status::BackupStatus;
use dhis2_operator::api::{Dhis2Instance, KEY_EXPORTED};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::bucket::Bucket;
use super::instance::{Instance, condition, holds};
use super::operator::{Operator, RELEASE};
use super::typed::printed;
use super::{Outcome, Story, checkout, wait};

const LIMIT: Duration = Duration::from_mins(3);

/// What is in the safe: the sheet, and a way to the server of the sets.
pub struct Safe {
    sheet: String,
    /// The heading of the sheet under which these sets are described.
    place: &'static str,
    folder: TempDir,
}

impl Safe {
    /// The sheet as the documents say that it is printed, in a pod of the operator, from these Secrets.
    ///
    /// # Errors
    /// When a command fails.
    pub fn of(story: &Story, bucket: &Bucket, place: &'static str, secrets: &str) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let printed = format!(
            "kubectl get dhis2/play {secrets} --namespace {} --output json > instance.json
             kubectl exec -i deploy/{RELEASE} --namespace {} -- /usr/local/bin/dhis2-agent recovery-sheet < instance.json",
            story.namespace,
            story.operator_namespace()
        );
        let sheet = story.types(folder.path(), &[], &printed)?;
        fs::remove_file(folder.path().join("instance.json"))?;
        for (name, content) in bucket.access() {
            fs::write(folder.path().join(name), content)?;
        }
        Ok(Self { sheet, place, folder })
    }

    /// The resource tells whether it can be brought back, and remembers who has said so.
    ///
    /// # Errors
    /// When it does not.
    pub async fn is_told(&self, story: &Story, instance: &Instance) -> Outcome {
        let patch = json!({ "metadata": { "annotations": { (KEY_EXPORTED): "0123456789abcdef" } } });
        instance.api.patch(&instance.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        let told =
            |reason: &'static str| move |seen: &Dhis2Instance| condition(seen, "Recoverable").is_some_and(|told| told.reason == reason);
        instance.when("KeyNotExported", told("KeyNotExported")).await?;
        story.types(self.folder.path(), &[], &self.commands("TELL THE INSTANCE"))?;
        instance.when("that it is Recoverable", told("Done")).await?;
        Ok(())
    }

    /// The commands below a heading of the sheet.
    fn commands(&self, heading: &str) -> String {
        let part = self.sheet.split_once(heading).map(|(_, rest)| rest).unwrap_or_default();
        let is_heading = |line: &&str| !line.is_empty() && line.chars().all(|c| c.is_ascii_uppercase() || c == ' ');
        let lines = part.lines().skip(1).take_while(|line| !is_heading(line));
        lines.filter(|line| line.starts_with("    ")).collect::<Vec<_>>().join("\n")
    }

    /// What the sheet says of the place.
    fn described(&self) -> &str {
        self.sheet.split_once(&format!("\n{}\n\n", self.place)).map(|(_, rest)| rest).unwrap_or_default()
    }

    /// A value of the place that the sheet names.
    fn value(&self, label: &str) -> Option<&str> {
        self.described().lines().find_map(|line| Some(line.strip_prefix(label)?.trim())).filter(|value| !value.is_empty())
    }
}

/// Nothing of it is left but the bucket: its namespace is gone, with all volumes, Secrets and the operator's rights in it.
///
/// # Errors
/// When something stays.
pub async fn everything_is_lost(story: &Story) -> Outcome {
    let namespaces: Api<Namespace> = Api::all(story.client.clone());
    let volumes: Api<PersistentVolume> = Api::all(story.client.clone());
    namespaces.delete(&story.namespace, &DeleteParams::default()).await?;
    wait::gone(&namespaces, &story.namespace, LIMIT).await?;
    let left = async || -> Result<(), String> {
        let volumes = volumes.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let ours = |volume: &PersistentVolume| {
            let claim = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()?.namespace.as_deref());
            claim == Some(story.namespace.as_str())
        };
        if volumes.iter().any(ours) { Err("volumes are left".to_owned()) } else { Ok(()) }
    };
    wait::ask("its volumes to go", LIMIT, left).await?;
    story.make_namespace(&story.namespace).await
}

/// With what is in the safe, typed as it is printed there.
///
/// # Errors
/// When a command fails, or it does not come back.
pub async fn the_sheet_brings_it_back(story: &Story, safe: &Safe, instance: &Instance) -> Outcome {
    let begun = Instant::now();
    Operator::install(story).await?;
    let folder = safe.folder.path();
    fs::write(folder.join("key"), safe.value("key  ").ok_or("the sheet has no key")?)?;
    let certificate = safe.described().split_once("-----BEGIN").and_then(|(_, rest)| rest.split_once("\n\n"));
    fs::write(folder.join("ca.crt"), format!("-----BEGIN{}", certificate.ok_or("the sheet has no certificate")?.0))?;
    fs::create_dir(folder.join("examples"))?;
    fs::write(folder.join("examples/recover.yaml"), serde_yaml::to_string(&example(story)?)?)?;
    story.types(folder, &[], &safe.commands(&format!("FROM: {}", safe.place)))?;
    instance.settled().await?;
    story.tell(&format!("all of it was back by the recovery sheet after {:.1} s", begun.elapsed().as_secs_f32()));
    let seen = instance.api.get("play").await?;
    if holds(&seen, "DataLoaded") { Ok(()) } else { Err(format!("{:?}", seen.status.and_then(|status| status.bootstrap)).into()) }
}

/// The example, with the images of the story.
fn example(story: &Story) -> Outcome<Value> {
    let mut pod: Value = serde_yaml::from_str(&std::fs::read_to_string(checkout("examples/recover.yaml"))?)?;
    let images = &story.site.images;
    for (place, image) in [("/spec/initContainers/0/image", &images.operator), ("/spec/containers/0/image", &images.postgres)] {
        *pod.pointer_mut(place).ok_or("the example has other containers")? = json!(image);
    }
    Ok(pod)
}

fn backup(seen: &Dhis2Instance) -> BackupStatus {
    seen.status.as_ref().and_then(|status| status.backup.clone()).unwrap_or_default()
}

/// A second one beside it, by `docs/recover.md` as it is printed but for names and addresses, and for the host, at which people are to look.
/// The repository of the first is not written to.
///
/// # Errors
/// When a command fails, or the second one does not come.
pub async fn another_one_begins(story: &Story, bucket: &Bucket, instance: &Instance, again: &Instance) -> Outcome {
    let prefix = |name: &str| format!("{}/{name}", story.namespace);
    let before = bucket.names(&prefix(&instance.name))?;
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("examples"))?;
    fs::write(folder.path().join("examples/recover.yaml"), serde_yaml::to_string(&example(story)?)?)?;
    let address = bucket.url(&prefix(&instance.name));
    let rename = format!("recover --rename {} --read-only", again.name);
    let put = [("s3:https://s3.example.org/dhis2-sets/hmis/play", address.as_str()), ("recover --read-only", &rename)];
    let commands = printed("docs/recover.md", "kubectl apply -f examples/recover.yaml", &put)?;
    let apply =
        printed("docs/recover.md", "kubectl apply -f recovered.yaml", &[("kubectl logs job/play-database-build -c restore -f", "#")])?;
    let host = format!("sed -i 's/{}/{}/' recovered.yaml", instance.host, again.host);
    story.types(
        folder.path(),
        &[],
        &[commands, host, apply].join(
            "
",
        ),
    )?;
    again.settled().await?;
    again.until("BackupHealthy").await?;
    if bucket.names(&prefix(&again.name))?.is_empty() {
        return Err("its sets are elsewhere".into());
    }
    let written = bucket.names(&prefix(&instance.name))? != before;
    if written { Err("the repository of the first one was written to".into()) } else { Ok(()) }
}

/// The repository is the instance's again: its sets go on in it.
///
/// # Errors
/// When none is made, or it is alone.
pub async fn backups_go_on(story: &Story, instance: &Instance) -> Outcome {
    story.start("play-backup", "afterwards")?;
    let made = |set: &str| set == "afterwards";
    let seen = instance.when("a set of afterwards", |seen| backup(seen).last.is_some_and(|last| made(&last.set))).await?;
    let backup = backup(&seen);
    if backup.sets.is_some_and(|sets| sets > 2) { Ok(()) } else { Err(format!("it is alone in the repository: {backup:?}").into()) }
}
