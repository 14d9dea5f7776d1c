//! Restore tests that start DHIS2: a set that is whole and right, and that no DHIS2 starts on, is found by them alone.

use dhis2_e2e::site::instance::{self, Instance};
use dhis2_e2e::site::{Outcome, Story};
use serde_json::json;

use super::{asked, backed_up, backup, is_proven, reason};

/// As a migration leaves it that broke off: what runs goes on, and no start is let through (Flyway's validation).
const BROKEN: &str =
    "UPDATE flyway_schema_history SET success = false WHERE installed_rank = (SELECT max(installed_rank) FROM flyway_schema_history)";
const MENDED: &str = "UPDATE flyway_schema_history SET success = true";

/// The schedule's tests start DHIS2 where that is asked for, and so do those that a person asks for.
pub async fn dhis2_starts_on_a_set(story: &Story, instance: &Instance) -> Outcome {
    instance.change(&json!({ "backup": { "verify": { "level": "Application" } } })).await?;
    instance.settled().await?;
    story.sql("play", BROKEN)?;
    backed_up(story, instance, "broken").await?;
    let compared = story.test("compared", "play", &json!({ "set": "broken", "level": "Data" })).await?;
    assert_eq!((compared.progress.phase.as_deref(), compared.start_seconds), (Some("Done"), None), "{:?}", compared.progress.message);
    let started = story.test("started", "play", &json!({ "set": "broken" })).await?;
    let message = started.progress.message.clone().unwrap_or_default();
    assert_eq!(asked::reason(&started.progress), Some("ApplicationTestFailed"), "{message}");
    assert!(message.contains("Validate failed"), "{message}");
    story.tell(&format!("a set that DHIS2 does not start on was told as: {message}"));
    let failed = |seen: &_| reason(seen, "RestoreVerified").as_deref() == Some("ApplicationTestFailed");
    let seen = instance.when("ApplicationTestFailed", failed).await?;
    assert!(instance::holds(&seen, "Ready"), "the instance serves all the same");

    story.sql("play", MENDED)?;
    backed_up(story, instance, "mended").await?;
    is_proven(story, instance, "mended", "start-1").await?;
    let verified = backup(&instance.api.get(&instance.name).await?).last_verified.unwrap_or_default();
    let seconds = verified.start_seconds.ok_or("it is not told how long DHIS2 took")?;
    story.tell(&format!("DHIS2 served on what was restored after {seconds} s"));
    instance.change(&json!({ "backup": { "verify": { "level": "Data" } } })).await?;
    instance.settled().await.map(drop)
}
