//! Change: what has to restart restarts once and drained, what has not does not; volumes grow in use and never shrink.

mod uids;
mod visitor;

use std::time::{Duration, Instant};

use dhis2_e2e::site::data::{self, Data};
use dhis2_e2e::site::door::{Account, Door, Scheme};
use dhis2_e2e::site::instance::Instance;
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, wait};
use dhis2_operator::operator::quantity;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use kube::Api;
use serde_json::json;
use uids::Uids;
use visitor::Visitor;

const NOTICED: Duration = Duration::from_secs(20);
const GROWN: Duration = Duration::from_mins(3);
/// How long an instance of one replica may be away for a restart: DHIS2's own start, and what an operator adds.
const AWAY: Duration = Duration::from_secs(90);

#[test]
fn change() {
    crate::tell("change", |story| async move {
        Operator::install(&story).await?;
        let instance = story.instance("play");
        // Sizes are about volumes here: DHIS2's memory is set by itself, so that two machines of 24 GiB can hold it.
        let spec =
            json!({ "resources": { "memory": "1Gi", "cpu": "100m" }, "database": { "bundled": { "resources": { "cpu": "100m" } } } });
        instance.apply(&story.manifest("play", &spec)).await?;
        instance.settled().await?;
        instance.until("BackupHealthy").await?;
        let door = Door::new(&story.site, &instance.host);
        door.opens(Scheme::Http, NOTICED).await?;
        let admin = instance.admin().await?;
        let data = data::put(&door, &admin).await?;
        let parts = Parts::of(&story);
        labels_restart_nothing(&instance, &parts).await?;
        a_key_restarts_once(&story, &instance, &parts, &door).await?;
        medium_grows(&story, &instance, &parts).await?;
        memory_follows(&instance, &parts).await?;
        small_shrinks_nothing(&story, &instance, &parts).await?;
        everything_is_there(&door, &admin, &data).await
    });
}

/// The parts of the instance, by the API of their kinds.
struct Parts {
    pods: Api<Pod>,
    sets: Api<StatefulSet>,
    claims: Api<PersistentVolumeClaim>,
    configuration: Api<ConfigMap>,
}

impl Parts {
    fn of(story: &Story) -> Self {
        let client = || story.client.clone();
        Self {
            pods: Api::namespaced(client(), &story.namespace),
            sets: Api::namespaced(client(), &story.namespace),
            claims: Api::namespaced(client(), &story.namespace),
            configuration: Api::namespaced(client(), &story.namespace),
        }
    }

    /// The uids of both servers' pods, DHIS2's first.
    async fn running(&self) -> Outcome<[String; 2]> {
        let uid = async |name: &str| Ok::<_, kube::Error>(self.pods.get(name).await?.metadata.uid.unwrap_or_default());
        Ok([uid("play-0").await?, uid("play-database-0").await?])
    }

    /// What a claim asks for and what it has, in bytes.
    async fn claim(&self, name: &str) -> Outcome<(u64, u64)> {
        let claim = self.claims.get(name).await?;
        let bytes = |text: Option<&str>| text.and_then(quantity::bytes).unwrap_or_default();
        let asked = claim
            .spec
            .as_ref()
            .and_then(|spec| spec.resources.as_ref()?.requests.as_ref()?.get("storage"))
            .map(|quantity| quantity.0.as_str());
        Ok((bytes(asked).try_into()?, bytes(has(&claim)).try_into()?))
    }
}

fn has(claim: &PersistentVolumeClaim) -> Option<&str> {
    Some(claim.status.as_ref()?.capacity.as_ref()?.get("storage")?.0.as_str())
}

async fn labels_restart_nothing(instance: &Instance, parts: &Parts) -> Outcome {
    let before = parts.running().await?;
    instance.change(&json!({ "pod": { "labels": { "team": "health" } } })).await?;
    instance.settled().await?;
    let labelled = |set: &StatefulSet| {
        let labels = set.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref()?.labels.as_ref());
        labels.is_some_and(|labels| labels.get("team").is_some_and(|team| team == "health"))
    };
    for set in ["play", "play-database"] {
        wait::until(&parts.sets, set, "the label in the template", NOTICED, labelled).await?;
    }
    assert_eq!(parts.running().await?, before, "labels restarted a pod");
    Ok(())
}

/// A key of dhis.conf: one restart, of DHIS2 only, and no request is cut off.
async fn a_key_restarts_once(story: &Story, instance: &Instance, parts: &Parts, door: &Door) -> Outcome {
    let [dhis2, database] = parts.running().await?;
    let visitor = Visitor::begin(door);
    let pods = Uids::watch(&parts.pods);
    instance.change(&json!({ "config": { "max.sessions.per_user": "5" } })).await?;
    let fresh = |pod: &Pod| pod.metadata.uid.as_ref() != Some(&dhis2);
    wait::until(&parts.pods, "play-0", "another pod of DHIS2", story.site.patience(), fresh).await?;
    instance.settled().await?;
    door.opens(Scheme::Http, NOTICED).await?;
    let visits = visitor.end()?;
    let seen = pods.end().await;
    assert_eq!(seen.get("play-0").map(Vec::len), Some(2), "restarts of DHIS2: {seen:?}");
    assert_eq!(parts.running().await?[1], database, "the database was restarted for a key of dhis.conf");
    let configuration = parts.configuration.get("play").await?.data.unwrap_or_default();
    assert!(configuration.get("dhis.conf").is_some_and(|text| text.contains("max.sessions.per_user")), "the key is not in dhis.conf");
    story.tell(&format!(
        "a restart for a key of dhis.conf: {:.1} s away, answers meanwhile: {:?}",
        visits.away.as_secs_f32(),
        visits.answers
    ));
    assert!(visits.cut.is_empty(), "requests were cut off: {:?}", visits.cut);
    assert!(visits.away < AWAY || !story.site.is_stand_in(), "DHIS2 was away for {:?}", visits.away);
    Ok(())
}

const GI: u64 = 1 << 30;

async fn medium_grows(story: &Story, instance: &Instance, parts: &Parts) -> Outcome {
    let before = parameter(story, "shared_buffers")?;
    let begun = Instant::now();
    instance.change(&json!({ "size": "medium" })).await?;
    for (claim, gib) in [("play-database", 100), ("play-files", 50), ("play-backups", 150)] {
        let grown = |seen: &PersistentVolumeClaim| {
            let there = has(seen).and_then(quantity::bytes).and_then(|bytes| u64::try_from(bytes).ok());
            there.is_some_and(|there| there >= gib * GI)
        };
        wait::until(&parts.claims, claim, "the volume to grow", GROWN, grown).await?;
    }
    story.tell(&format!("volumes grew in {:.1} s", begun.elapsed().as_secs_f32()));
    instance.settled().await?;
    let size = story.inside("play-database-0", "df --block-size=1 --output=size /data | tail -1")?;
    assert!(size.trim().parse::<u64>()? > 95 * GI, "the file system of the database has {size} bytes");
    let pod = parts.pods.get("play-database-0").await?;
    let limits =
        pod.spec.and_then(|spec| spec.containers.into_iter().next()).and_then(|container| container.resources?.limits).unwrap_or_default();
    assert_eq!(limits.get("memory").and_then(|memory| quantity::bytes(&memory.0)), quantity::bytes("8Gi"), "memory of the database");
    let after = parameter(story, "shared_buffers")?;
    assert_eq!((before.as_str(), after.as_str()), ("256MB", "2GB"), "shared_buffers");
    assert_eq!(parameter(story, "max_connections")?, "100", "pool of 80 and 20 more");
    Ok(())
}

/// DHIS2's own memory: limit and heap.
async fn memory_follows(instance: &Instance, parts: &Parts) -> Outcome {
    instance.change(&json!({ "resources": { "memory": "2Gi" } })).await?;
    let bigger = |pod: &Pod| {
        let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
        let limit = container.and_then(|container| container.resources.as_ref()?.limits.as_ref()?.get("memory").cloned());
        let heap = container
            .into_iter()
            .flat_map(|container| container.env.iter().flatten())
            .find(|variable| variable.name == "JAVA_TOOL_OPTIONS");
        limit.and_then(|limit| quantity::bytes(&limit.0)) == quantity::bytes("2Gi")
            && heap.and_then(|heap| heap.value.as_deref()).is_some_and(|heap| heap.contains("-Xmx1331m"))
    };
    wait::until(&parts.pods, "play-0", "DHIS2 to run with more memory", Duration::from_mins(3), bigger).await?;
    instance.settled().await?;
    Ok(())
}

async fn small_shrinks_nothing(story: &Story, instance: &Instance, parts: &Parts) -> Outcome {
    let claims = ["play-database", "play-files", "play-backups"];
    let mut before = Vec::new();
    for claim in claims {
        before.push(parts.claim(claim).await?);
    }
    let old = parts.running().await?[1].clone();
    instance.change(&json!({ "size": "small" })).await?;
    let fresh = |pod: &Pod| pod.metadata.uid.as_ref() != Some(&old);
    wait::until(&parts.pods, "play-database-0", "the database to run with less memory", Duration::from_mins(3), fresh).await?;
    instance.settled().await?;
    assert_eq!(parameter(story, "shared_buffers")?, "256MB");
    for (claim, before) in claims.into_iter().zip(before) {
        assert_eq!(parts.claim(claim).await?, before, "{claim} shrank");
    }
    // Asked for by itself it is refused at once, with the field's name.
    instance.change(&json!({ "files": { "volume": { "size": "60Gi" } } })).await?;
    let refused = instance.change(&json!({ "files": { "volume": { "size": "55Gi" } } })).await;
    let said = refused.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(said.contains("spec.files.volume.size") && said.contains("never shrink"), "a smaller volume was not refused: {said:?}");
    Ok(())
}

async fn everything_is_there(door: &Door, admin: &Account, data: &Data) -> Outcome {
    Ok(wait::ask("the data to be there", NOTICED, async || data::check(door, admin, data)).await?)
}

/// A parameter of the running PostgreSQL.
fn parameter(story: &Story, name: &str) -> Outcome<String> {
    story.sql("play", &format!("SHOW {name}"))
}
