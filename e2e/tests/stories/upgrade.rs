//! Upgrade: what was before another version is in a set before anything is stopped; the way back is that set and the old version; a
//! backup that fails holds the upgrade, and the old version goes on. What analytics tables are lost by is made good.

use std::time::{Duration, Instant};

use dhis2_e2e::site::analytics;
use dhis2_e2e::site::data;
use dhis2_e2e::site::door::{Door, Scheme};
use dhis2_e2e::site::instance::{Instance, condition, holds};
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::typed::printed;
use dhis2_e2e::site::{Outcome, Story, wait};
use dhis2_operator::api::Dhis2Instance;
use dhis2_operator::dhis2::version::Version;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

/// A restore, with the starts of its pods.
const LIMIT: Duration = Duration::from_mins(6);
/// What its page prints is typed.
const PAGE: &str = "docs/upgrade.md";
/// How long something is watched not to happen.
const LONG_ENOUGH: Duration = Duration::from_secs(10);

#[test]
fn upgrade() {
    crate::tell("upgrade", |story| async move {
        let versions: Vec<String> = story.site.images.versions.iter().map(|version| as_told(version)).collect();
        let [.., older, newest] = versions.as_slice() else {
            story.tell("left out: there is one version of DHIS2 only");
            return Ok(());
        };
        Operator::install(&story).await?;
        let instance = story.instance("play");
        instance.apply(&story.small_manifest("play", &json!({ "version": older }))).await?;
        instance.settled().await?;
        instance.until("BackupHealthy").await?;
        let door = Door::new(&story.site, &instance.host);
        door.opens(Scheme::Http, Duration::from_secs(20)).await?;
        let admin = instance.admin().await?;
        let data = data::put(&door, &admin).await?;
        analytics::generate(&door, &admin).await?;
        let set = backed_up_and_upgraded(&story, &instance, newest).await?;
        data::is_there(&door, &admin, &data).await?;
        analytics::told(&instance, "True", "after an upgrade to another line, in").await?;
        back_to_the_old_version(&story, &instance, older, &set).await?;
        data::is_there(&door, &admin, &data).await?;
        let told = analytics::told(&instance, "True", "after a restore, in").await?;
        story.tell(&told);
        assert_eq!(analytics::rows(&story, "play")?, 1, "the set has none, and DHIS2 has generated them");
        Box::pin(blocked_without_a_backup(&story, &instance, newest)).await
    });
}

/// As the operator writes it: a hotfix of none is left out.
pub fn as_told(version: &str) -> String {
    version.parse::<Version>().map_or_else(|_| version.to_owned(), |version| version.to_string())
}

/// By more than a hotfix.
pub fn is_later(version: &str, than: &str) -> bool {
    let [version, than] = [version, than].map(str::parse::<Version>);
    version.is_ok_and(|version| than.is_ok_and(|than| version > than && !version.is_hotfix_of(than)))
}

fn running(seen: &Dhis2Instance) -> Option<&str> {
    seen.status.as_ref()?.version.as_ref()?.running.as_deref()
}

fn pods(story: &Story) -> Api<Pod> {
    Api::namespaced(story.client.clone(), &story.namespace)
}

/// The set is there before the pod of the old version goes. Returns its name.
async fn backed_up_and_upgraded(story: &Story, instance: &Instance, to: &str) -> Outcome<String> {
    let before = pods(story).get("play-0").await?.uid();
    let begun = Instant::now();
    story.types_of(PAGE, "kubectl patch dhis2 play", &[("2.42.5", to)])?;
    let asked = instance.api.get("play").await?;
    let set = format!("play-before-upgrade-{}", asked.metadata.generation.unwrap_or_default());
    let upgrading = |seen: &Dhis2Instance| condition(seen, "Reconciling").is_some_and(|told| told.reason == "Upgrading");
    instance.when("Upgrading", upgrading).await?;
    let other = |pod: &Pod| pod.uid() != before;
    wait::until(&pods(story), "play-0", "the pod of the new version", LIMIT, other).await?;
    let history = instance.api.get("play").await?.status.and_then(|status| status.backup).unwrap_or_default().history;
    assert!(history.iter().any(|known| known.set == set), "it was stopped before {set} was made: {history:?}");
    let backed_up = begun.elapsed();
    let seen = instance.when(to, |seen| running(seen) == Some(to) && dhis2_e2e::site::instance::settled(seen)).await?;
    story.tell(&format!(
        "upgraded in {:.1} s, of which the backup took {:.1} s while the old version served",
        begun.elapsed().as_secs_f32(),
        backed_up.as_secs_f32()
    ));
    assert!(seen.status.is_some_and(|status| status.operation.is_none()), "it is over");
    Ok(set)
}

/// The old version is refused while the new one serves, and comes with the set of before.
async fn back_to_the_old_version(story: &Story, instance: &Instance, to: &str, set: &str) -> Outcome {
    let before = pods(story).get("play-0").await?.uid();
    let put = [("2.42.4.1", to), ("play-before-upgrade-7", set), ("kubectl apply -f -", "cat > request.yaml")];
    let folder = tempfile::tempdir()?;
    let told = story.types(folder.path(), &[], &printed(PAGE, "kubectl get dhis2 play -o jsonpath='{.status.backup.history}'", &put)?)?;
    assert!(told.contains(set), "{told}");
    let refused = |seen: &Dhis2Instance| condition(seen, "Stalled").is_some_and(|stalled| stalled.reason == "DowngradeRefused");
    let seen = instance.when("DowngradeRefused", refused).await?;
    assert!(holds(&seen, "Ready") && pods(story).get("play-0").await?.uid() == before, "the newer one goes on");
    story.types(folder.path(), &[], "kubectl apply -f request.yaml")?;
    story.restore("back-from-2-43").comes_to("Done").await?;
    let seen = instance.settled().await?;
    assert_eq!(running(&seen), Some(to));
    Ok(())
}

/// The repository can't be opened: the old version goes on, until somebody says that it may go without.
async fn blocked_without_a_backup(story: &Story, instance: &Instance, to: &str) -> Outcome {
    let secrets: Api<Secret> = Api::namespaced(story.client.clone(), &story.namespace);
    let other = Secret { data: Some([("password".to_owned(), ByteString(b"of-another-repository".to_vec()))].into()), ..Secret::default() };
    secrets.patch("play-backup", &PatchParams::default(), &Patch::Merge(&other)).await?;
    let before = pods(story).get("play-0").await?.uid();
    instance.change(&json!({ "version": to })).await?;
    let blocked = |seen: &Dhis2Instance| condition(seen, "Stalled").is_some_and(|told| told.reason == "UpgradeBlocked");
    let seen = instance.when("UpgradeBlocked", blocked).await?;
    let told = condition(&seen, "Stalled").map(|told| told.message.clone()).unwrap_or_default();
    story.tell(&format!("a backup that failed was told as: {told}"));
    assert!(told.contains(to) && told.contains("spec.upgrade.backup: false"), "{told}");
    tokio::time::sleep(LONG_ENOUGH).await;
    assert!(holds(&instance.api.get("play").await?, "Ready"), "the old version goes on");
    assert_eq!(pods(story).get("play-0").await?.uid(), before, "it was stopped all the same");
    if story.site.is_stand_in() {
        // DHIS2 drops what is a table, and finds a view.
        story.sql("play", "drop table analytics cascade; create view analytics as select 1")?;
    }
    instance.change(&json!({ "upgrade": { "backup": false } })).await?;
    instance.when(to, |seen| running(seen) == Some(to) && dhis2_e2e::site::instance::settled(seen)).await?;
    if story.site.is_stand_in() {
        let told = analytics::told(instance, "False", "dashboards are empty: Populating").await?;
        story.tell(&format!("a run that failed was told as: {told}"));
    }
    Ok(())
}
