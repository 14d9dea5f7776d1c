//! A cluster full of what is none of the operator's business: how much of its memory does that take?

use std::collections::BTreeMap;
use std::fmt::Debug;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::Resource;
use kube::api::{Api, PostParams};
use kube::core::NamespaceResourceScope;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::rig::process::Usage;
use crate::scale::contender::mebibytes;
use crate::scale::figure::{Figure, Goal};
use crate::scale::measure::idle;
use crate::scale::spread::Spread;
use crate::scale::stand::Stand;
use crate::site::Outcome;

const SECRETS: usize = 10_000;
/// Of the Secrets, as many are revisions of Helm's.
const REVISIONS: usize = 400;
const SECRET_BYTES: usize = 100_000;
const PODS: usize = 5_000;
const FORGED: usize = 10_000;

const NAMESPACE: &str = "foreign";

/// Requests under way at a time.
const AT_A_TIME: usize = 16;

/// What a start takes beside Secrets and pods of others, and beside objects that only say that they are ours.
///
/// # Errors
/// What the API server says.
pub async fn foreign(stand: &mut Stand) -> Outcome<[Figure; 2]> {
    stand.rig.namespace(NAMESPACE).await?;
    let alone = start(stand).await?;
    fill::<Secret>(stand, SECRETS, &|number| secret(number)).await?;
    fill::<Pod>(stand, PODS, &|number| pod(number)).await?;
    let beside = start(stand).await?;
    fill::<ConfigMap>(stand, FORGED, &|number| forged(number)).await?;
    let deceived = start(stand).await?;
    let added = |name: &str, usage: Usage, before: Usage, most: f64| {
        let added = mebibytes(usage.peak.saturating_sub(before.peak));
        Figure::new(name, 0, "MiB", Spread::one(added)).goal(Goal::AtMost(most))
    };
    Ok([
        added(&format!("{SECRETS} Secrets of 100 kB and {PODS} pods of others: memory added (VmHWM)"), beside, alone, 2.0),
        added(&format!("{FORGED} objects with our label that are not ours: memory added (VmHWM)"), deceived, beside, 16.0),
    ])
}

/// What an operator has used a while after its start.
async fn start(stand: &Stand) -> Outcome<Usage> {
    let mut operator = stand.start()?.start().await?;
    operator.ready("ready: leading").await?;
    tokio::time::sleep(idle::AFTER_A_START).await;
    let usage = operator.usage();
    operator.kill();
    Ok(usage)
}

async fn fill<K>(stand: &Stand, count: usize, make: &(dyn Fn(usize) -> Value + Sync)) -> Outcome
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(stand.rig.client(), NAMESPACE);
    let create = async |number: usize| -> Outcome {
        api.create(&PostParams::default(), &serde_json::from_value(make(number))?).await?;
        Ok(())
    };
    stream::iter(0..count).map(create).buffer_unordered(AT_A_TIME).try_collect().await
}

fn secret(number: usize) -> Value {
    let kind = if number < REVISIONS { "helm.sh/release.v1" } else { "Opaque" };
    json!({ "metadata": { "name": format!("s{number}") }, "type": kind, "stringData": { "release": "x".repeat(SECRET_BYTES) } })
}

fn pod(number: usize) -> Value {
    json!({ "metadata": { "name": format!("p{number}") }, "spec": { "containers": [{ "name": "other", "image": "example.org/other:1" }] } })
}

fn forged(number: usize) -> Value {
    let labels: BTreeMap<_, _> =
        [("app.kubernetes.io/managed-by", "dhis2-operator".to_owned()), ("app.kubernetes.io/instance", format!("none{number}"))].into();
    json!({ "metadata": { "name": format!("f{number}"), "labels": labels }, "data": { "key": "x".repeat(1000) } })
}
