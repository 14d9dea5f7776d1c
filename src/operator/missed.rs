//! Did the watches tell everything? All objects are listed, by their names and versions only, and held against what is known.

use std::{collections::HashMap, time::Duration};

use kube::{Client, ResourceExt, api::ApiResource, runtime::reflector::ObjectRef};
use tokio::time::sleep;

use super::{
    brief,
    fleet::Resources,
    kind::Kind,
    watch::{Arrival, selector},
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
    // What people make names its instance where a list of names does not show it; but all of it is kept.
    let of_people = gone.iter().filter(|_| kind.of_people());
    let place = |known: &Known| Key { namespace: known.key.namespace.clone(), name: known.name.clone() };
    let instances: HashMap<Key, Key> = of_people.map(|known| (place(known), known.key.clone())).collect();
    let whose = |object: Key| instances.get(&object).cloned().unwrap_or_else(|| arrival.world.whose(kind, &object));
    let mut untold = Vec::new();
    let show = |object: &brief::Brief| {
        let key = if kind.of_people() { Some(whose(object.itself())) } else { object.instance() };
        let Some(key) = key else { return };
        let known = Known { key, name: object.name().to_owned(), uid: object.uid().into() };
        gone.remove(&known);
        // What belongs to no instance is not kept.
        let belongs = kind.of_people() || arrival.resources.get(&ObjectRef::new(&known.key.name).within(&known.key.namespace)).is_some();
        if belongs && !arrival.world.knows(&known.key, kind, &known.name, &known.uid, object.version()) {
            untold.push((known, object.version()));
        }
    };
    brief::each(client, &kind.resource(), namespace, selector(kind), show).await?;
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
    let there = |key: &Key| store.get(&ObjectRef::new(&key.name).within(&key.namespace));
    let knows = |key: &Key, uid: &str, version: u64| {
        let version_of = |text: String| text.parse::<u64>().unwrap_or_default();
        there(key).is_some_and(|there| there.uid().as_deref() == Some(uid) && there.resource_version().map(version_of) >= Some(version))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kube::runtime::{reflector, watcher};
    use serde_json::{Value, json};

    use super::*;
    use crate::operator::{
        settings::Settings,
        slot::{Facts, Slot, fixture},
        world::World,
    };

    fn slot(uid: &str, version: u64) -> Slot {
        Slot { version, ..fixture::slot(uid, Facts::Plain) }
    }

    fn instance(version: &str) -> Value {
        json!({
            "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance",
            "metadata": { "name": "play", "namespace": "ns", "uid": "uid-1", "resourceVersion": version },
            "spec": { "version": "2.42.4", "web": { "host": "play.example.org" } }
        })
    }

    /// An API server that lists these objects.
    fn server(items: &[Value]) -> Client {
        let page = json!({ "metadata": {}, "items": items }).to_string();
        let answers = tower::service_fn(move |_: axum::http::Request<kube::client::Body>| {
            let answer = axum::http::Response::new(axum::body::Body::from(page.clone()));
            async { Ok::<_, std::convert::Infallible>(answer) }
        });
        Client::new(answers, "ns")
    }

    fn item(name: &str, uid: &str, version: &str, instance: &str) -> Value {
        json!({ "metadata": { "namespace": "ns", "name": name, "uid": uid, "resourceVersion": version, "labels": { "app.kubernetes.io/instance": instance } } })
    }

    /// One instance, and a CronJob of it that is known at version 5.
    fn arrival() -> Arrival {
        let (resources, mut writer) = reflector::store();
        writer.apply_watcher_event(&watcher::Event::Apply(serde_json::from_value(instance("7")).unwrap()));
        let world = Arc::new(World::default());
        world.put(&Key { namespace: "ns".into(), name: "play".into() }, Kind::CronJob, "play-backup", slot("1", 5));
        Arrival { world, resources, settings: Arc::new(Settings::default()) }
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_watch_told_is_missed() {
        let missed = async |items: &[Value]| children(&server(items), Kind::CronJob, Some("ns"), &arrival()).await.unwrap();
        assert!(!missed(&[item("play-backup", "1", "5", "play")]).await);
        assert!(!missed(&[item("play-backup", "1", "4", "play")]).await, "a later version is known already");
        assert!(missed(&[]).await, "it is gone");
        assert!(missed(&[item("play-backup", "1", "6", "play")]).await, "it has changed");
        assert!(missed(&[item("play-backup", "2", "6", "play")]).await, "it is another one");
        let beside = [item("play-backup", "1", "5", "play"), item("other", "3", "6", "play")];
        assert!(missed(&beside).await, "it is new");
        let foreign = [item("play-backup", "1", "5", "play"), item("other", "3", "6", "nobody")];
        assert!(!missed(&foreign).await, "what belongs to no instance is not kept");
    }

    /// They have no label that says whose they are.
    #[tokio::test(start_paused = true)]
    async fn what_people_made_is_held_against_what_is_known_as_well() {
        let mine = |name: &str, uid: &str, version: &str| json!({ "metadata": { "namespace": "ns", "name": name, "uid": uid, "resourceVersion": version } });
        let missed = async |items: &[Value]| {
            let arrival = arrival();
            for (instance, name) in [("play", "one"), ("other", "two")] {
                arrival.world.put(&Key { namespace: "ns".into(), name: instance.into() }, Kind::Dhis2Backup, name, slot(name, 5));
            }
            children(&server(items), Kind::Dhis2Backup, Some("ns"), &arrival).await.unwrap()
        };
        assert!(!missed(&[mine("one", "one", "5"), mine("two", "two", "5")]).await);
        assert!(missed(&[mine("one", "one", "5")]).await, "one is gone");
        assert!(missed(&[mine("one", "one", "5"), mine("two", "two", "6")]).await, "it has changed");
        assert!(missed(&[mine("one", "one", "5"), mine("two", "two", "5"), mine("three", "3", "6")]).await, "it is new");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_watch_tells_a_moment_later_is_not_missed() {
        let arrival = arrival();
        let world = arrival.world.clone();
        let late = async {
            sleep(LAG / 2).await;
            world.ended(&Key { namespace: "ns".into(), name: "play".into() }, Kind::CronJob, "play-backup", "1", 6);
        };
        let client = server(&[]);
        let (missed, ()) = tokio::join!(children(&client, Kind::CronJob, Some("ns"), &arrival), late);
        assert!(!missed.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn resources_are_held_against_the_store() {
        let arrival = arrival();
        let missed = async |items: &[Value]| resources(&server(items), None, &arrival.resources).await.unwrap();
        assert!(!missed(&[instance("7")]).await && !missed(&[instance("6")]).await);
        assert!(missed(&[instance("8")]).await, "it has changed");
        assert!(missed(&[]).await, "it is gone");
        let mut other = instance("8");
        other["metadata"]["uid"] = json!("uid-2");
        assert!(missed(&[other]).await, "it is another one of the same name");
    }
}
