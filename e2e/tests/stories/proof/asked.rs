//! A backup and restore tests that a person asks for with an object, by `docs/backup.md` as it is printed: each is told on it, and counts for
//! the instance.

use std::time::Duration;

use dhis2_e2e::site::instance::{self, Instance};
use dhis2_e2e::site::{Outcome, Story, wait};
use dhis2_operator::api::errand::Progress;
use dhis2_operator::api::{Dhis2Backup, Dhis2RestoreTest};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use serde_json::json;

const LIMIT: Duration = Duration::from_mins(4);
/// The name in the example.
const ASKED: &str = "before-import";

/// A set is made and proven because somebody asks for it; a name that no set has is refused, and says nothing of the instance.
pub async fn asked_for(story: &Story, instance: &Instance) -> Outcome {
    let page = "docs/backup.md";
    let soon = ("--timeout=12h", "--timeout=4m");
    let listed = story.types_of(page, "kubectl apply -f examples/backup.yaml", &[soon])?;
    assert!(listed.contains("before-import") && listed.contains("Done"), "{listed}");
    let backups: Api<Dhis2Backup> = Api::namespaced(story.client.clone(), &story.namespace);
    let made = backups.get(ASKED).await?.status.unwrap_or_default();
    assert_eq!(made.progress.phase.as_deref(), Some("Done"), "{:?}", made.progress.message);
    let set = made.set.clone().ok_or("the set is not named")?;
    assert!(made.dhis2.is_some() && made.postgresql.is_some() && made.database_bytes > Some(1 << 20), "{made:?}");
    assert_eq!(made.proven, None);
    let seen = instance.api.get(&instance.name).await?;
    assert_eq!(super::backup(&seen).last.map(|last| last.set), Some(set.clone()), "it counts as a scheduled one");
    let unknown = story.test("no-such-set", "play", &json!({ "set": "no-such-set" })).await?;
    assert_eq!(unknown.progress.phase.as_deref(), Some("Failed"));
    assert_eq!(reason(&unknown.progress), Some("SetUnknown"), "{:?}", unknown.progress.message);
    let listed = story.types_of(page, "kubectl apply -f examples/restore-test.yaml", &[soon])?;
    assert!(listed.contains("is-it-good") && listed.contains("Done"), "{listed}");
    let tests: Api<Dhis2RestoreTest> = Api::namespaced(story.client.clone(), &story.namespace);
    let tested = tests.get("is-it-good").await?.status.unwrap_or_default();
    assert_eq!((tested.progress.phase.as_deref(), tested.set.as_deref()), (Some("Done"), Some(set.as_str())), "{tested:?}");
    let proven = |seen: &Dhis2Backup| seen.status.as_ref().is_some_and(|status| status.proven.is_some());
    wait::until(&backups, ASKED, "the backup to tell that its set is proven", LIMIT, proven).await?;
    let seen = instance.until("RestoreVerified").await?;
    assert_eq!(super::backup(&seen).last_verified.map(|verified| verified.set), Some(set.clone()));
    assert!(instance::holds(&seen, "BackupHealthy"), "{:?}", super::backup(&seen).failure);
    let jobs: Api<Job> = Api::namespaced(story.client.clone(), &story.namespace);
    for job in jobs.list(&ListParams::default()).await?.items.iter().map(ResourceExt::name_any) {
        if ["play-asked-", "play-test-"].iter().any(|ours| job.starts_with(ours)) {
            wait::gone(&jobs, &job, LIMIT).await?;
        }
    }
    backups.delete(ASKED, &DeleteParams::default()).await?;
    let seconds = made.seconds.unwrap_or_default();
    story.tell(&format!("set {set} was asked for and made in {seconds} s, and proven in {:?} s", tested.seconds));
    Ok(())
}

/// Why it came to nothing.
pub fn reason(progress: &Progress) -> Option<&str> {
    progress.conditions.iter().find(|told| told.type_ == "Stalled").map(|told| told.reason.as_str())
}
