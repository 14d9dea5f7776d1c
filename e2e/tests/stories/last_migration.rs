//! The last migration of an upgrade fails, when the work of another one before it is done. DHIS2 does all of them in one transaction (Flyway, `group`), so that none
//! counts. One instance holds, and goes through once the data is mended; another goes back to the version and the set of before by itself.

use std::time::Duration;

use dhis2_e2e::site::data::{self, Data};
use dhis2_e2e::site::door::{Account, Door, Scheme};
use dhis2_e2e::site::instance::{Instance, condition, holds, settled};
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story};
use dhis2_operator::api::Dhis2Instance;
use serde_json::json;

/// What DHIS2 2.43's `V2_43_46__Add_iso_to_period` adds, after `V2_43_21__split_event_table`. Somebody has it already.
const IN_THE_WAY: &str = "alter table period add column iso text";
const OUT_OF_THE_WAY: &str = "alter table period drop column iso";
/// The migrations to 2.43 that went through.
const WENT_THROUGH: &str = "select count(*) from flyway_schema_history where success and version like '2.43%'";

#[test]
fn last_migration() {
    crate::tell("last-migration", |story| async move {
        let [.., older, newest] = story.site.images.versions.as_slice() else {
            story.tell("left out: there is one version of DHIS2 only");
            return Ok(());
        };
        if !story.site.is_stand_in() {
            story.tell("left out: the stand-in's migrations are needed");
            return Ok(());
        }
        let [older, newest] = [older, newest].map(|version| crate::upgrade::as_told(version));
        Operator::install(&story).await?;
        let (hold, back) =
            futures::try_join!(Upgrade::ready(&story, "hold", "Hold", &older), Upgrade::ready(&story, "back", "Rollback", &older))?;
        for upgrade in [&hold, &back] {
            story.sql(&upgrade.instance.name, IN_THE_WAY)?;
            upgrade.instance.change(&json!({ "version": newest })).await?;
        }
        hold.holds(&newest).await?;
        back.goes_back(&older).await?;
        hold.goes_through(&newest).await
    });
}

/// An instance that is upgraded.
struct Upgrade<'a> {
    story: &'a Story,
    instance: Instance,
    door: Door,
    admin: Account,
    data: Data,
}

impl<'a> Upgrade<'a> {
    async fn ready(story: &'a Story, name: &str, on_failure: &str, older: &str) -> Outcome<Self> {
        let instance = story.instance(name);
        instance.apply(&story.small_manifest(name, &json!({ "version": older, "upgrade": { "onFailure": on_failure } }))).await?;
        instance.settled().await?;
        instance.until("BackupHealthy").await?;
        let door = Door::new(&story.site, &instance.host);
        door.opens(Scheme::Http, Duration::from_secs(30)).await?;
        let admin = instance.admin().await?;
        let data = data::put(&door, &admin).await?;
        Ok(Self { story, instance, door, admin, data })
    }

    fn went_through(&self) -> Outcome<String> {
        self.story.sql(&self.instance.name, WENT_THROUGH)
    }

    async fn holds(&self, newest: &str) -> Outcome {
        let seen = self.stalls("UpgradeFailed").await?;
        let message = condition(&seen, "Stalled").map(|told| told.message.clone()).unwrap_or_default();
        self.story.tell(&message);
        assert!(message.contains(newest) && !holds(&seen, "Ready"), "{message}");
        assert_eq!(self.went_through()?, "0", "all or nothing");
        Ok(())
    }

    async fn goes_through(&self, newest: &str) -> Outcome {
        self.story.sql(&self.instance.name, OUT_OF_THE_WAY)?;
        self.serves(newest).await?;
        assert_eq!(self.went_through()?, "2");
        Ok(())
    }

    async fn goes_back(&self, older: &str) -> Outcome {
        self.stalls("UpgradeRolledBack").await?;
        let serves = |seen: &Dhis2Instance| holds(seen, "Ready") && running(seen) == Some(older);
        self.instance.when(&format!("{older} to serve"), serves).await?;
        assert_eq!(self.went_through()?, "0");
        data::is_there(&self.door, &self.admin, &self.data).await
    }

    async fn stalls(&self, reason: &str) -> Outcome<Dhis2Instance> {
        let told = |seen: &Dhis2Instance| condition(seen, "Stalled").is_some_and(|told| told.status == "True" && told.reason == reason);
        self.instance.when(reason, told).await
    }

    async fn serves(&self, version: &str) -> Outcome {
        let serves = |seen: &Dhis2Instance| running(seen) == Some(version) && settled(seen);
        self.instance.when(&format!("{version} to serve"), serves).await?;
        data::is_there(&self.door, &self.admin, &self.data).await
    }
}

fn running(seen: &Dhis2Instance) -> Option<&str> {
    seen.status.as_ref()?.version.as_ref()?.running.as_deref()
}
