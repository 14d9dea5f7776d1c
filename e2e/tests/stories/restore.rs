//! Restore: new volumes are built from a set while DHIS2 serves, the switch to them is a stop and a start, and it can be taken back; what
//! can't be restored changes nothing; lost volumes come back; what was replaced goes when a later set is proven.

use std::time::{Duration, Instant};

use dhis2_e2e::site::data;
use dhis2_e2e::site::door::{Account, Door, Scheme};
use dhis2_e2e::site::instance::{Instance, condition, holds};
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::restores::Request;
use dhis2_e2e::site::{Outcome, Story, wait};
use dhis2_operator::api::{CLAIM, Dhis2InstanceStatus, REPLACED};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::DeleteParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

/// A volume is let go, or told to be lost.
const LIMIT: Duration = Duration::from_mins(2);
/// An organisation unit of after the backup.
const LATER: &str = "Of after the backup";
/// What its page prints is typed.
const PAGE: &str = "docs/restore.md";

#[test]
fn restore() {
    crate::tell("restore", |story| async move {
        Operator::install(&story).await?;
        let instance = story.instance("play");
        instance.apply(&story.small_manifest("play", &json!({}))).await?;
        instance.settled().await?;
        instance.until("BackupHealthy").await?;
        let door = Door::new(&story.site, &instance.host);
        door.opens(Scheme::Http, Duration::from_secs(20)).await?;
        let play = Play { story: &story, instance, admin: story.instance("play").admin().await?, door };
        let data = data::put(&play.door, &play.admin).await?;
        play.backed_up("kept").await?;
        play.unit(LATER).await?;
        play.what_is_not_there_changes_nothing().await?;
        play.what_is_taken_back_in_time_changes_nothing().await?;
        play.back_to_the_set(&data).await?;
        play.there_again(&data).await?;
        play.lost_volumes_come_back(&data).await?;
        play.what_was_replaced_goes().await?;
        play.without_an_unreadable_file(&data).await
    });
}

/// The instance of the story, and how it is looked at.
struct Play<'a> {
    story: &'a Story,
    instance: Instance,
    admin: Account,
    door: Door,
}

impl Play<'_> {
    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.story.client.clone(), &self.story.namespace)
    }

    async fn status(&self) -> Outcome<Dhis2InstanceStatus> {
        Ok(self.instance.api.get("play").await?.status.unwrap_or_default())
    }

    /// The claims that it is served from: database, files.
    async fn served_from(&self) -> Outcome<[String; 2]> {
        let claims = self.status().await?.claims.unwrap_or_default();
        Ok([claims.database, claims.files].map(|made| made.map(|made| made.name).unwrap_or_default()))
    }

    /// The uids of the servers' pods.
    async fn pods(&self) -> Outcome<[Option<String>; 2]> {
        let pods: Api<Pod> = self.api();
        Ok([pods.get("play-0").await?.uid(), pods.get("play-database-0").await?.uid()])
    }

    async fn ask(&self, name: &str, more: &Value) -> Outcome<Request> {
        self.story.ask_for_restore(name, "play", more).await
    }

    async fn backed_up(&self, name: &str) -> Outcome {
        self.story.back_up(&self.instance, name).await?;
        // A claim does not go as long as a pod names it, though it ended long ago.
        self.api::<Job>().delete(name, &DeleteParams::background()).await?;
        Ok(())
    }

    async fn unit(&self, name: &str) -> Outcome {
        let (door, admin) = (self.door.clone(), self.admin.clone());
        let unit = json!({ "name": name, "shortName": name, "openingDate": "2020-01-01" });
        let make =
            move || door.send("POST", Scheme::Http, "/api/organisationUnits", Some(&admin), Some(&unit)).map_err(|error| error.to_string());
        let answer = tokio::task::spawn_blocking(make).await??;
        if answer.status < 300 { Ok(()) } else { Err(format!("{answer:?}").into()) }
    }

    /// Is what was put there as it was, and the unit of after the backup there or not?
    async fn holds(&self, data: &data::Data, later: bool) -> Outcome {
        self.door.opens(Scheme::Http, Duration::from_secs(30)).await?;
        let (door, admin, data) = (self.door.clone(), self.admin.clone(), data.clone());
        let look = move || -> Result<bool, String> {
            data::check(&door, &admin, &data)?;
            let units = door.get(Scheme::Http, "/api/organisationUnits?fields=name&paging=false", Some(&admin));
            Ok(units.map_err(|error| error.to_string())?.body.contains(LATER))
        };
        assert_eq!(tokio::task::spawn_blocking(look).await??, later, "is {LATER:?} there?");
        Ok(())
    }

    /// A set that does not exist, twice: told, and everything is as it was.
    async fn what_is_not_there_changes_nothing(&self) -> Outcome {
        let (pods, claims) = (self.pods().await?, self.served_from().await?);
        let request = self.ask("nothing", &json!({ "set": "nothing" })).await?;
        // Who asks meanwhile waits for it.
        let second = self.ask("second", &json!({ "set": "nothing" })).await?;
        second.waits_for("nothing").await?;
        let told = request.comes_to("Failed").await?;
        assert!(told.message.unwrap_or_default().contains("no set nothing"), "what was wrong is not told");
        second.comes_to("Failed").await?;
        self.instance.settled().await?;
        assert_eq!((self.pods().await?, self.served_from().await?), (pods, claims), "it was touched");
        wait::gone(&self.api::<PersistentVolumeClaim>(), "play-database-2", LIMIT).await?;
        wait::gone(&self.api::<PersistentVolumeClaim>(), "play-files-2", LIMIT).await?;
        Ok(())
    }

    /// Taken back while it builds.
    async fn what_is_taken_back_in_time_changes_nothing(&self) -> Outcome {
        let (pods, claims) = (self.pods().await?, self.served_from().await?);
        let request = self.ask("in-time", &json!({ "before": "2099-01-01T00:00:00Z" })).await?;
        wait::ask("its volumes to be made", LIMIT, async || {
            let claim = self.api::<PersistentVolumeClaim>().get_opt("play-files-2").await.map_err(|error| error.to_string())?;
            claim.map(drop).ok_or_else(|| "there is none".to_owned())
        })
        .await?;
        request.revert().await?;
        request.comes_to("Canceled").await?;
        wait::gone(&self.api::<PersistentVolumeClaim>(), "play-database-2", LIMIT).await?;
        wait::gone(&self.api::<PersistentVolumeClaim>(), "play-files-2", LIMIT).await?;
        self.instance.settled().await?;
        assert_eq!((self.pods().await?, self.served_from().await?), (pods, claims), "it was touched");
        Ok(())
    }

    async fn back_to_the_set(&self, data: &data::Data) -> Outcome {
        let before = self.served_from().await?;
        // A backup that runs meanwhile is in nobody's way.
        self.story.start("play-backup", "beside")?;
        let begun = Instant::now();
        let request = self.ask("back", &json!({ "set": "kept" })).await?;
        let unready = self.instance.when("Restoring", |seen| condition(seen, "Ready").is_some_and(|ready| ready.reason == "Restoring"));
        unready.await?;
        let stopped = Instant::now();
        let told = request.comes_to("Done").await?;
        self.story.tell(&format!(
            "back to a set in {:.1} s, of which it did not serve for {:.1} s",
            begun.elapsed().as_secs_f32(),
            stopped.elapsed().as_secs_f32()
        ));
        assert_eq!(told.set.as_deref(), Some("kept"));
        assert!(told.bytes.is_some_and(|bytes| bytes > 100_000) && told.set_time.is_some(), "{told:?}");
        let safety = told.safety_backup.unwrap_or_default();
        let status = self.status().await?;
        assert!(status.backup.is_some_and(|backup| backup.history.iter().any(|set| set.set == safety)), "no set {safety}");
        self.instance.settled().await?;
        let beside = self.api::<Job>().get("beside").await?.status.unwrap_or_default();
        assert_eq!(beside.succeeded, Some(1), "the backup beside it: {beside:?}");
        self.api::<Job>().delete("beside", &DeleteParams::background()).await?;
        let now = self.served_from().await?;
        assert!(now[0].starts_with("play-database-") && now[1].starts_with("play-files-"), "{now:?}");
        for claim in &before {
            let claim = self.api::<PersistentVolumeClaim>().get(claim).await?;
            assert_eq!(claim.labels().get(CLAIM).map(String::as_str), Some(REPLACED), "{}", claim.name_any());
        }
        for schedule in ["play-backup", "play-verify"] {
            let schedule = self.api::<CronJob>().get(schedule).await?;
            assert_eq!(schedule.spec.and_then(|spec| spec.suspend), Some(false), "schedules go on");
        }
        self.holds(data, false).await
    }

    /// Back to the volumes of before, with what was written since the backup.
    async fn there_again(&self, data: &data::Data) -> Outcome {
        let restored = self.served_from().await?;
        self.story.types_of(PAGE, "kubectl patch d2r back-1", &[("back-1", "back")])?;
        self.story.restore("back").comes_to("Reverted").await?;
        self.instance.settled().await?;
        assert_eq!(self.served_from().await?, ["play-database", "play-files"]);
        let kept = self.status().await?.kept;
        let kept: Vec<_> = kept.iter().filter_map(|kept| Some(kept.database.as_ref()?.name.clone())).collect();
        assert_eq!(kept, restored[..1], "what it was served from meanwhile is kept");
        let told = self.story.types_of(PAGE, "kubectl get dhis2 play -o jsonpath='{.status.kept}'", &[])?;
        assert!(restored.iter().all(|claim| told.matches(claim.as_str()).count() > 1), "{restored:?} in status and list: {told}");
        self.holds(data, true).await
    }

    /// Both volumes are deleted: nothing empty is started in their place, and the newest set brings everything back.
    async fn lost_volumes_come_back(&self, data: &data::Data) -> Outcome {
        self.backed_up("last").await?;
        for claim in ["play-database", "play-files"] {
            self.api::<PersistentVolumeClaim>().delete(claim, &DeleteParams::default()).await?;
        }
        self.api::<Pod>().delete("play-0", &DeleteParams::default()).await?;
        self.api::<Pod>().delete("play-database-0", &DeleteParams::default()).await?;
        for claim in ["play-database", "play-files"] {
            wait::gone(&self.api::<PersistentVolumeClaim>(), claim, LIMIT).await?;
        }
        self.instance.unready("VolumeLost", "play-", LIMIT).await?;
        let begun = Instant::now();
        self.story.types_of(PAGE, "kubectl apply -f examples/restore.yaml", &[])?;
        let told = self.story.restore("back-1").comes_to("Done").await?;
        self.story.tell(&format!("lost volumes were back in {:.1} s", begun.elapsed().as_secs_f32()));
        assert_eq!(told.set.as_deref(), Some("last"));
        assert!(told.safety_backup.unwrap_or_default().starts_with("none"), "of what would it be?");
        self.instance.settled().await?;
        self.holds(data, true).await
    }

    /// A file of the file store can't be read any more: no set that is made then is whole, and one is taken without it where somebody says so.
    async fn without_an_unreadable_file(&self, data: &data::Data) -> Outcome {
        let [_, files] = self.served_from().await?;
        self.story.shell(&self.story.namespace, "spoils", &["sleep", "infinity"], &[&files]).await?;
        // What a restore wrote is not this pod's to change, but it may take its place.
        let spoil = r#"cp "$0" "$0-" && mv -f "$0-" "$0" && chmod 000 "$0""#;
        self.story.inside("spoils", &format!("find /{files} -type f -size +1000k -exec sh -c '{spoil}' {{}} ';'"))?;
        self.api::<Pod>().delete("spoils", &DeleteParams::default()).await?;
        self.backed_up("lacking").await?;
        let told = self.ask("whole-only", &json!({ "set": "lacking" })).await?.comes_to("Failed").await?;
        let message = told.message.unwrap_or_default();
        assert!(message.contains("lacking is not whole") && message.contains("unreadableFiles: LeaveOut"), "{message}");
        let without = json!({ "set": "lacking", "unreadableFiles": "LeaveOut" });
        self.ask("without", &without).await?.comes_to("Done").await?;
        self.instance.settled().await?;
        let there = data::is_there(&self.door, &self.admin, data).await;
        let missing = there.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(!missing.is_empty() && !missing.contains("organisation unit"), "all but the file: {missing}");
        Ok(())
    }

    /// A set of after the restore is proven: nobody needs the volumes of before any more.
    async fn what_was_replaced_goes(&self) -> Outcome {
        let kept = self.status().await?.kept;
        let claims: Vec<String> =
            kept.iter().flat_map(|kept| [&kept.database, &kept.files]).flatten().map(|made| made.name.clone()).collect();
        assert!(!claims.is_empty(), "nothing was kept");
        self.backed_up("of-after").await?;
        self.story.start("play-verify", "proof")?;
        for claim in &claims {
            wait::gone(&self.api::<PersistentVolumeClaim>(), claim, LIMIT).await?;
        }
        self.instance
            .when("no volume of before in the status", |seen| seen.status.as_ref().is_some_and(|status| status.kept.is_empty()))
            .await?;
        assert!(holds(&self.instance.api.get("play").await?, "Ready"));
        Ok(())
    }
}
