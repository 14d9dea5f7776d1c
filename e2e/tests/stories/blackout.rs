//! Blackout: the power goes in each phase of a restore, of an upgrade that is rolled back, and of one that goes through, and while a new
//! instance is built from a set. Each comes to its end with no hand, and what people had is there.

use std::time::Duration;

use dhis2_e2e::site::data::{self, Data};
use dhis2_e2e::site::door::{Account, Door, Scheme};
use dhis2_e2e::site::instance::{Instance, condition, holds, settled};
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, wait};
use dhis2_operator::api::Dhis2Instance;
use dhis2_operator::api::status::OperationStatus;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::json;

use crate::power::{BACK, cut};
use crate::rollback::UNDATED;

/// How long the power is away while a migration runs, in minutes, and how long that may take: less.
const AWAY: Duration = Duration::from_secs(150);
const TIMEOUT: &str = "2m";

#[test]
#[ignore = "takes long, on a cluster of its own: make e2e-long"]
fn blackout() {
    crate::tell_alone("blackout", |story| async move {
        let [.., older, newest] = story.site.images.versions.as_slice() else { return Err("two versions of DHIS2 are needed".into()) };
        let [older, newest] = [older, newest].map(|version| crate::upgrade::as_told(version));
        Operator::install(&story).await?;
        let instance = story.instance("play");
        let upgrade = json!({ "onFailure": "Rollback", "timeout": TIMEOUT });
        instance.apply(&story.small_manifest("play", &json!({ "version": older, "upgrade": upgrade }))).await?;
        instance.settled().await?;
        instance.until("BackupHealthy").await?;
        let door = Door::new(&story.site, &instance.host);
        door.opens(Scheme::Http, BACK).await?;
        let admin = instance.admin().await?;
        let data = data::put(&door, &admin).await?;
        let play = Play { story: &story, instance, door, admin, data };
        play.restores().await?;
        play.rolls_back(&older, &newest).await?;
        play.upgrades(&older, &newest).await?;
        play.begins_again().await
    });
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

struct Play<'a> {
    story: &'a Story,
    instance: Instance,
    door: Door,
    admin: Account,
    data: Data,
}

impl Play<'_> {
    /// Waits for each of these phases of an operation, and cuts the power in it, for so long. A phase that was over before it was seen is told.
    async fn dark(&self, kind: &str, phases: &[&str], away: Duration) -> Outcome {
        let mut cuts = 0;
        for (place, phase) in phases.iter().enumerate() {
            let later = phases.get(place + 1..).unwrap_or_default();
            let of = |seen: &Dhis2Instance| -> Option<OperationStatus> { Some(*seen.status.as_ref()?.operation.clone()?) };
            let reached = |seen: &Dhis2Instance| {
                let now = of(seen).filter(|operation| operation.kind == kind).map(|operation| operation.phase).unwrap_or_default();
                now == *phase || later.contains(&now.as_str()) || (cuts > 0 && now.is_empty())
            };
            let what = format!("{kind} to be {phase}");
            let seen = wait::until(&self.instance.api, &self.instance.name, &what, BACK, reached).await?;
            if of(&seen).is_some_and(|operation| operation.phase == *phase) {
                cuts += 1;
                cut(self.story, &format!("{phase} of {kind}"), away).await?;
            } else {
                self.story.tell(&format!("{phase} of {kind} was over too soon"));
            }
        }
        if cuts < phases.len() { Err(format!("{kind}: {cuts} cuts only").into()) } else { Ok(()) }
    }

    async fn until(&self, what: &str, holds: impl Fn(&Dhis2Instance) -> bool) -> Outcome<Dhis2Instance> {
        Ok(wait::until(&self.instance.api, &self.instance.name, what, 2 * BACK, holds).await?)
    }

    /// What people had is there; what came after the set is there or not.
    async fn is_there(&self, later: bool) -> Outcome {
        self.door.opens(Scheme::Http, BACK).await?;
        data::is_there(&self.door, &self.admin, &self.data).await?;
        assert_eq!(data::has_later(self.story, "play")?, later, "what was entered after the set");
        Ok(())
    }

    async fn restores(&self) -> Outcome {
        self.story.back_up(&self.instance, "kept").await?;
        data::enter_later(self.story, "play")?;
        let request = self.story.ask_for_restore("dark", "play", &json!({ "set": "kept" })).await?;
        self.dark("Restore", &["Building", "BackingUp", "Stopping", "Starting"], Duration::ZERO).await?;
        request.comes_to("Done").await?;
        self.until("it to be settled", settled).await?;
        self.is_there(false).await
    }

    async fn rolls_back(&self, older: &str, newest: &str) -> Outcome {
        self.story.sql("play", UNDATED)?;
        self.instance.change(&json!({ "version": newest })).await?;
        self.dark("Upgrade", &["Checking", "BackingUp", "Starting"], Duration::ZERO).await?;
        self.dark("Rollback", &["Building", "Stopping", "Starting"], Duration::ZERO).await?;
        let back = |seen: &Dhis2Instance| {
            condition(seen, "Stalled").is_some_and(|told| told.reason == "UpgradeRolledBack") && holds(seen, "Ready")
        };
        let seen = self.until("the old version to serve", back).await?;
        let running = seen.status.and_then(|status| status.version?.running);
        assert_eq!(running.as_deref(), Some(older));
        self.is_there(false).await
    }

    /// The power is away for longer than the new version may take: it has that time anew.
    async fn upgrades(&self, older: &str, newest: &str) -> Outcome {
        self.story.sql("play", "delete from event")?;
        self.story.back_up(&self.instance, "mended").await?;
        self.instance.change(&json!({ "version": older, "upgrade": { "rehearse": true } })).await?;
        let free = |seen: &Dhis2Instance| condition(seen, "Stalled").is_some_and(|told| told.status == "False") && settled(seen);
        self.until("nothing to be in the way", free).await?;
        self.instance.change(&json!({ "version": newest })).await?;
        self.dark("Upgrade", &["Checking", "Proving", "Rehearsing", "BackingUp"], Duration::ZERO).await?;
        self.dark("Upgrade", &["Starting"], AWAY).await?;
        let running = |seen: &Dhis2Instance| seen.status.as_ref()?.version.as_ref()?.running.clone();
        self.until(newest, |seen| running(seen).as_deref() == Some(newest) && settled(seen)).await?;
        self.is_there(false).await
    }

    /// A new instance is built from the set of the old one.
    async fn begins_again(&self) -> Outcome {
        let copy = self.story.instance("copy");
        let backup = json!({ "repository": { "volumeClaim": "play-backups" }, "passwordSecretName": "play-backup", "set": "mended" });
        let version = self.instance.api.get("play").await?.spec.version;
        let spec = json!({ "version": version, "bootstrap": { "fromBackup": backup }, "encryption": { "secretName": "play-encryption" } });
        copy.apply(&self.story.small_manifest("copy", &spec)).await?;
        let jobs: Api<Job> = Api::namespaced(self.story.client.clone(), &self.story.namespace);
        let works = |job: &Job| job.status.as_ref().is_some_and(|status| status.active == Some(1));
        wait::until(&jobs, "copy-database-build", "the build to begin", BACK, works).await?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        cut(self.story, "the build of a new instance", Duration::ZERO).await?;
        let pods: Api<Pod> = Api::namespaced(self.story.client.clone(), &self.story.namespace);
        for pod in ["copy-database-0", "copy-0"] {
            wait::until(&pods, pod, "it to start", BACK, |seen| phase(seen) == Some("Running")).await?;
            cut(self.story, &format!("the start of {pod}"), Duration::ZERO).await?;
        }
        wait::until(&copy.api, "copy", "the copy to be settled", 2 * BACK, settled).await?;
        let door = Door::new(&self.story.site, &copy.host);
        door.opens(Scheme::Http, BACK).await?;
        data::is_there(&door, &self.admin, &self.data).await
    }
}
