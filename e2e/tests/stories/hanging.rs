//! Hanging: a migration waits for a lock that nobody gives back. When `upgrade.timeout` is over, one instance holds, says so, and goes through once the
//! lock is gone; another goes back to the version and the set of before by itself.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use dhis2_e2e::site::data::{self, Data};
use dhis2_e2e::site::door::{Account, Door, Scheme};
use dhis2_e2e::site::instance::{Instance, condition, holds, settled};
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, wait};
use dhis2_operator::api::Dhis2Instance;
use serde_json::json;

/// What is late counts five minutes later; then the set of before is restored.
const LIMIT: Duration = Duration::from_mins(12);
/// The statement of somebody who looks at a table, and goes home.
const LOCKS: &str = "begin; lock table event in access exclusive mode; select pg_sleep(36000)";
const GIVES_BACK: &str = "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep%' and pid <> pg_backend_pid()";

#[test]
#[ignore = "takes long, on a cluster of its own: make e2e-long"]
fn hanging() {
    crate::tell_alone("hanging", |story| async move {
        let [.., older, newest] = story.site.images.versions.as_slice() else { return Err("two versions of DHIS2 are needed".into()) };
        let [older, newest] = [older, newest].map(|version| crate::upgrade::as_told(version));
        Operator::install(&story).await?;
        let hold = Upgrade::ready(&story, "hold", "Hold", &older).await?;
        let back = Upgrade::ready(&story, "back", "Rollback", &older).await?;
        let locked = [hold.hangs(&newest).await?, back.hangs(&newest).await?];
        hold.holds(&newest).await?;
        back.goes_back(&older).await?;
        for mut session in locked {
            let _ = session.kill();
            session.wait()?;
        }
        Ok(())
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
        let upgrade = json!({ "onFailure": on_failure, "timeout": "1m" });
        instance.apply(&story.small_manifest(name, &json!({ "version": older, "upgrade": upgrade }))).await?;
        instance.settled().await?;
        instance.until("BackupHealthy").await?;
        let door = Door::new(&story.site, &instance.host);
        door.opens(Scheme::Http, Duration::from_secs(30)).await?;
        let admin = instance.admin().await?;
        let data = data::put(&door, &admin).await?;
        Ok(Self { story, instance, door, admin, data })
    }

    /// The lock is taken as soon as the set of before is made. Returns the session that has it.
    async fn hangs(&self, newest: &str) -> Outcome<Child> {
        self.instance.change(&json!({ "version": newest })).await?;
        let starting = |seen: &Dhis2Instance| {
            seen.status.as_ref().and_then(|status| status.operation.as_ref()).is_some_and(|operation| operation.phase == "Starting")
        };
        self.until("the new version to be started", starting).await?;
        let mut session = self.story.site.kubectl();
        session.args(["--namespace", &self.story.namespace, "exec", &format!("{}-database-0", self.instance.name), "--"]);
        session.args(["psql", "-U", "postgres", "-d", "dhis2", "-c", LOCKS]);
        Ok(session.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    }

    async fn until(&self, what: &str, holds: impl Fn(&Dhis2Instance) -> bool) -> Outcome<Dhis2Instance> {
        Ok(wait::until(&self.instance.api, &self.instance.name, what, LIMIT, holds).await?)
    }

    async fn stalls(&self, reason: &str) -> Outcome {
        let begun = Instant::now();
        let told = |seen: &Dhis2Instance| condition(seen, "Stalled").is_some_and(|told| told.status == "True" && told.reason == reason);
        let seen = self.until(reason, told).await?;
        let message = condition(&seen, "Stalled").map(|told| told.message.clone()).unwrap_or_default();
        self.story.tell(&format!("{reason} of {} after {:.0} s: {message}", self.instance.name, begun.elapsed().as_secs_f32()));
        Ok(())
    }

    async fn serves(&self, version: &str) -> Outcome {
        let serves = |seen: &Dhis2Instance| {
            let running = seen.status.as_ref().and_then(|status| status.version.as_ref()?.running.as_deref());
            holds(seen, "Ready") && running == Some(version)
        };
        self.until(&format!("{version} to serve"), serves).await?;
        data::is_there(&self.door, &self.admin, &self.data).await
    }

    async fn holds(&self, newest: &str) -> Outcome {
        self.stalls("UpgradeFailed").await?;
        let given = self.story.sql("hold", GIVES_BACK)?;
        assert_eq!(given, "t", "nobody held a lock: the migration did not hang");
        self.serves(newest).await?;
        self.until("nothing to be in the way", settled).await?;
        Ok(())
    }

    async fn goes_back(&self, older: &str) -> Outcome {
        self.stalls("UpgradeRolledBack").await?;
        self.serves(older).await
    }
}
