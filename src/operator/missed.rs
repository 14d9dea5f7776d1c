//! Did the watches tell everything? All objects are listed, by their names and versions only, and held against what is known.

use std::{collections::HashMap, time::Duration};

use kube::{Client, ResourceExt, api::ApiResource, runtime::reflector::ObjectRef};
use tokio::time::sleep;

use super::{
    brief,
    fleet::Resources,
    kind::Kind,
    watch::{Arrival, OURS},
    world::{Key, Known},
};
use crate::api::Dhis2Instance;

/// So long after a list a watch may still be about to tell of what is in it.
const LAG: Duration = Duration::from_secs(5);

/// Was anything of this kind not told, that was there or gone when the list was made?
///
/// # Errors
/// What the API server says.
pub async fn children(client: &Client, kind: Kind, namespace: Option<&str>, arrival: &Arrival) -> Result<bool, kube::Error> {
    let mut gone = arrival.world.known(kind, namespace);
    let mut untold = Vec::new();
    let show = |object: &brief::Brief| {
        let Some(key) = object.instance() else { return };
        let known = Known { key, name: object.name().to_owned(), uid: object.uid().into() };
        gone.remove(&known);
        // What belongs to no instance is not kept.
        let belongs = arrival.resources.get(&ObjectRef::new(&known.key.name).within(&known.key.namespace)).is_some();
        if belongs && !arrival.world.knows(&known.key, kind, &known.name, &known.uid, object.version()) {
            untold.push((known, object.version()));
        }
    };
    brief::each(client, &kind.resource(), namespace, Some(OURS), show).await?;
    if gone.is_empty() && untold.is_empty() {
        return Ok(false);
    }
    sleep(LAG).await;
    let knows = |known: &Known, version| arrival.world.knows(&known.key, kind, &known.name, &known.uid, version);
    Ok(gone.iter().any(|known| knows(known, 0)) || untold.iter().any(|(known, version)| !knows(known, *version)))
}

/// Was anything of the resources not told?
///
/// # Errors
/// What the API server says.
pub async fn resources(client: &Client, namespace: Option<&str>, store: &Resources) -> Result<bool, kube::Error> {
    let mut gone: HashMap<Key, String> = HashMap::new();
    for resource in store.state() {
        let key = Key { namespace: resource.namespace().unwrap_or_default(), name: resource.name_any() };
        gone.insert(key, resource.uid().unwrap_or_default());
    }
    let known = |key: &Key| store.get(&ObjectRef::new(&key.name).within(&key.namespace));
    let knows = |key: &Key, uid: &str, version: u64| {
        let version_of = |text: String| text.parse::<u64>().unwrap_or_default();
        known(key).is_some_and(|known| known.uid().as_deref() == Some(uid) && known.resource_version().map(version_of) >= Some(version))
    };
    let mut untold = Vec::new();
    let show = |object: &brief::Brief| {
        let key = object.itself();
        if gone.get(&key).is_some_and(|uid| uid == object.uid()) {
            gone.remove(&key);
        }
        if !knows(&key, object.uid(), object.version()) {
            untold.push((key, object.uid().to_owned(), object.version()));
        }
    };
    brief::each(client, &ApiResource::erase::<Dhis2Instance>(&()), namespace, None, show).await?;
    if gone.is_empty() && untold.is_empty() {
        return Ok(false);
    }
    sleep(LAG).await;
    Ok(gone.iter().any(|(key, uid)| knows(key, uid, 0)) || untold.iter().any(|(key, uid, version)| !knows(key, uid, *version)))
}
