//! Sets: what is in the repository can be listed, chosen and watched as objects; they come and go with their sets, and one that says so
//! takes its set along when it is deleted.

use std::time::Duration;

use dhis2_e2e::cluster::run;
use dhis2_e2e::site::instance::Instance;
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, wait};
use dhis2_operator::api::errand::Dhis2BackupStatus;
use dhis2_operator::api::{Dhis2Backup, Dhis2Instance, SET_FINALIZER};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

const LIMIT: Duration = Duration::from_mins(3);
/// What its page prints is typed.
const PAGE: &str = "docs/backup.md";
/// Snapshots of a set: files, dump, files again, manifest.
const PARTS: usize = 4;

#[test]
fn sets() {
    crate::tell("sets", |story| async move {
        Operator::install(&story).await?;
        let instance = story.instance("play");
        instance.apply(&story.small_manifest("play", &json!({}))).await?;
        instance.settled().await?;
        instance.until("BackupHealthy").await?;
        story.shell(&story.namespace, "hand", &["sleep", "infinity"], &["play-backups"]).await?;
        let shelf = Shelf { story: &story, instance: &instance, api: Api::namespaced(story.client.clone(), &story.namespace) };
        shelf.every_set_is_listed().await?;
        shelf.one_that_is_deleted_comes_back().await?;
        shelf.one_goes_with_its_object().await?;
        shelf.what_is_needed_stays().await?;
        shelf.one_that_is_removed_by_rule_takes_its_object_along().await?;
        shelf.one_that_waits_goes_with_its_instance().await?;
        shelf.the_instance_goes_and_sets_stay().await
    });
}

struct Shelf<'a> {
    story: &'a Story,
    instance: &'a Instance,
    api: Api<Dhis2Backup>,
}

impl Shelf<'_> {
    async fn every_set_is_listed(&self) -> Outcome {
        self.back_up("one").await?;
        self.back_up("two").await?;
        assert_eq!(self.sets().await?, ["one", "play-backup-first", "two"]);
        for object in self.api.list(&ListParams::default()).await? {
            let status = object.status.clone().unwrap_or_default();
            let told = status.source.as_deref() == Some(&*format!("{}/play", self.story.namespace))
                && status.added_bytes > Some(0)
                && status.database_bytes > Some(1 << 20)
                && status.dhis2.is_some()
                && status.postgresql.is_some()
                && status.set_time.is_some();
            assert!(told, "{status:?}");
        }
        let listed = self.story.types_of(PAGE, "kubectl get d2b ", &[])?;
        for line in listed.lines() {
            self.story.tell(&format!("kubectl get d2b: {line}"));
        }
        let heading = |line: &&str| line.starts_with("NAME ");
        assert_eq!(listed.lines().filter(heading).count(), 2, "{listed}");
        assert!(listed.lines().filter(|line| !heading(line)).all(|line| line.contains(" play ") && line.contains(" Done ")), "{listed}");
        Ok(())
    }

    /// Its set stays, and the next backup brings it back.
    async fn one_that_is_deleted_comes_back(&self) -> Outcome {
        let (name, before) = (self.object_of("one").await?.name_any(), self.snapshots()?);
        self.api.delete(&name, &DeleteParams::default()).await?;
        wait::gone(&self.api, &name, LIMIT).await?;
        self.back_up("three").await?;
        assert_eq!(self.snapshots()?, before + PARTS, "all sets are there, and one more");
        assert_eq!(self.sets().await?, ["one", "play-backup-first", "three", "two"]);
        Ok(())
    }

    async fn one_goes_with_its_object(&self) -> Outcome {
        let (name, before) = (self.object_of("one").await?.name_any(), self.snapshots()?);
        let put = [("NAME", name.as_str()), ("kubectl delete", "kubectl delete --timeout=3m")];
        self.story.types_of(PAGE, "kubectl patch d2b NAME", &put)?;
        wait::gone(&self.api, &name, LIMIT).await?;
        assert_eq!(self.snapshots()?, before - PARTS, "its four snapshots");
        let seen = self.instance.api.get("play").await?;
        assert!(!history(&seen).contains(&"one".to_owned()), "{:?}", history(&seen));
        let jobs: Api<Job> = Api::namespaced(self.story.client.clone(), &self.story.namespace);
        let ended = async || {
            let left = jobs.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let left: Vec<String> = left.iter().map(ResourceExt::name_any).filter(|name| name.contains("-remove-")).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        };
        wait::ask("its Job to go", LIMIT, ended).await?;
        self.back_up("four").await?;
        assert_eq!(self.sets().await?, ["four", "play-backup-first", "three", "two"]);
        Ok(())
    }

    /// The newest set stays, and says why; without the wish the object goes, and as that of the newest set it comes back at once.
    async fn what_is_needed_stays(&self) -> Outcome {
        let (name, before) = (self.holds("four").await?, self.snapshots()?);
        self.kubectl(&["delete", "dhis2backup", &name, "--wait=false"])?;
        let needed = |seen: &Dhis2Backup| stalled(seen) == Some("SetNeeded");
        let seen = wait::until(&self.api, &name, "SetNeeded", LIMIT, needed).await?;
        let (uid, told) = (seen.uid(), seen.status.unwrap_or_default().progress);
        assert_eq!(told.phase.as_deref(), Some("Removing"));
        self.story.tell(&format!("the newest set: {}", told.message.unwrap_or_default()));
        self.kubectl(&["patch", "dhis2backup", &name, "--type=merge", "--patch", r#"{"spec":{"deletionPolicy":"Retain"}}"#])?;
        wait::until(&self.api, &name, "another object", LIMIT, |seen: &Dhis2Backup| seen.uid() != uid).await?;
        assert_eq!(self.snapshots()?, before);
        Ok(())
    }

    async fn one_that_is_removed_by_rule_takes_its_object_along(&self) -> Outcome {
        let few = json!({ "last": 2, "daily": 0, "weekly": 0, "monthly": 0, "yearly": 0 });
        self.instance.change(&json!({ "backup": { "retention": few } })).await?;
        self.instance.settled().await?;
        self.back_up("five").await?;
        let left = async || {
            let sets = self.sets().await.map_err(|error| error.to_string())?;
            if sets == ["five", "four"] { Ok(()) } else { Err(format!("{sets:?}")) }
        };
        wait::ask("the objects of sets that are gone to go", LIMIT, left).await?;
        assert_eq!(self.snapshots()?, 2 * PARTS);
        Ok(())
    }

    /// Of an instance that never serves: nothing of the object changes when the instance goes, in the background as kubectl deletes.
    async fn one_that_waits_goes_with_its_instance(&self) -> Outcome {
        let other = self.story.instance("other");
        let nowhere = json!({ "pod": { "nodeSelector": { "example.org/node": "none" } }, "deletionPolicy": "Delete" });
        other.apply(&self.story.small_manifest("other", &nowhere)).await?;
        let waiting = serde_json::from_value(json!({
            "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Backup",
            "metadata": { "name": "waiting", "finalizers": [SET_FINALIZER] },
            "spec": { "instance": "other", "set": "some", "deletionPolicy": "Delete" },
        }))?;
        self.api.create(&PostParams::default(), &waiting).await?;
        self.api.delete("waiting", &DeleteParams::default()).await?;
        let waits = |seen: &Dhis2Backup| seen.status.as_ref().is_some_and(|status| status.progress.phase.as_deref() == Some("Removing"));
        wait::until(&self.api, "waiting", "it to wait for its instance", LIMIT, waits).await?;
        other.api.delete("other", &DeleteParams::background()).await?;
        wait::gone(&self.api, "waiting", LIMIT).await?;
        Ok(())
    }

    /// Also where it is deleted in the foreground, which waits for what it owns.
    async fn the_instance_goes_and_sets_stay(&self) -> Outcome {
        let name = self.holds("four").await?;
        self.instance.api.delete("play", &DeleteParams::foreground()).await?;
        wait::gone(&self.instance.api, "play", LIMIT).await?;
        wait::gone(&self.api, &name, LIMIT).await?;
        assert_eq!(self.snapshots()?, 2 * PARTS);
        Ok(())
    }

    /// A set of this name, as the schedule makes it.
    async fn back_up(&self, set: &str) -> Outcome {
        self.story.start("play-backup", set)?;
        let told = |seen: &Dhis2Instance| history(seen).first().is_some_and(|last| last == set);
        let seen = self.instance.when(&format!("set {set} in the status"), told).await?;
        let last = seen.status.and_then(|status| status.backup?.last).ok_or("no last set")?;
        let [started, time] = [last.started, last.time].map(|time| time.map(|time| time.0));
        assert!(started.is_some() && started <= time, "by the API server's clock before the dump: {started:?}, {time:?}");
        Ok(())
    }

    async fn sets(&self) -> Outcome<Vec<String>> {
        let there = self.api.list(&ListParams::default()).await?;
        let mut sets: Vec<String> = there.into_iter().filter_map(|object| object.status?.set).collect();
        sets.sort();
        Ok(sets)
    }

    async fn object_of(&self, set: &str) -> Outcome<Dhis2Backup> {
        let is_of = |status: &Dhis2BackupStatus| status.set.as_deref() == Some(set);
        let found = self.api.list(&ListParams::default()).await?.into_iter().find(|object| object.status.as_ref().is_some_and(is_of));
        Ok(found.ok_or_else(|| format!("no object of set {set}"))?)
    }

    /// The set of this object goes with it from now on.
    async fn holds(&self, set: &str) -> Outcome<String> {
        let name = self.object_of(set).await?.name_any();
        let patch = json!({ "spec": { "deletionPolicy": "Delete" } });
        self.api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        let held = format!("--for=jsonpath={{.metadata.finalizers[0]}}={SET_FINALIZER}");
        self.kubectl(&["wait", &held, "--timeout=60s", &format!("dhis2backup/{name}")])?;
        Ok(name)
    }

    fn kubectl(&self, arguments: &[&str]) -> Outcome {
        run::output(self.story.site.kubectl().args(["--namespace", &self.story.namespace]).args(arguments))?;
        Ok(())
    }

    /// Snapshots in the repository.
    fn snapshots(&self) -> Outcome<usize> {
        Ok(self.story.inside("hand", "ls /play-backups/repository/snapshots | wc -l")?.trim().parse()?)
    }
}

fn history(seen: &Dhis2Instance) -> Vec<String> {
    let backup = seen.status.as_ref().and_then(|status| status.backup.clone()).unwrap_or_default();
    backup.history.into_iter().map(|set| set.set).collect()
}

fn stalled(seen: &Dhis2Backup) -> Option<&str> {
    let conditions = &seen.status.as_ref()?.progress.conditions;
    conditions.iter().find(|told| told.type_ == "Stalled" && told.status == "True").map(|told| told.reason.as_str())
}
