//! What the cluster says about an instance: the slots that the watches keep, and the Secrets, which are
//! not watched and are asked for by name, metadata only.

mod named;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
    core::PartialObjectMeta,
};
use tokio::time::Instant;

pub use named::{
    CERTIFICATE, ENCRYPTION_KEY, S3_CA, S3_CREDENTIALS, SOURCE_CA, SOURCE_CREDENTIALS, SOURCE_INSTANCE, SOURCE_KEY, fields_of_copy,
};
use named::{is_new, named};

use super::{
    children::Children,
    kind::Kind,
    others::{self, Others},
    parse::Refusal,
    slot::{self, Facts, Pod, Slot},
    watch::OURS,
    world::{Key, World},
};
use crate::{
    api::{Dhis2Instance, Reason, status::Made},
    report::{Data, Report},
};

/// What is known of a Secret; never its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSeen {
    /// Its uid.
    pub uid: String,
    /// Does it go with the instance, as an owner reference says? None: it is recorded, and was not looked at.
    pub owned: Option<bool>,
}

const CLAIM: Kind = Kind::PersistentVolumeClaim;

/// How long an answer about Secrets is good enough: a pass within it asks nothing, unless the resource has changed.
const FRESH: Duration = Duration::from_mins(1);

/// What the cluster says about an instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Its uid: an object of the right name may belong to a deleted instance, or to somebody else.
    pub instance: String,
    /// Slots of its children, and of what bears their names.
    pub children: Children,
    /// The recorded Secrets that exist, by name; and those that the resource names, by a name that none has.
    pub secrets: BTreeMap<String, SecretSeen>,
    /// Why it does not get its address, if another instance has it.
    pub taken: Option<Refusal>,
    /// The Secrets and the instance that the resource names, and that are not there, by the field that names them.
    pub missing: BTreeMap<String, String>,
    /// The repositories of other instances that the resource or a request names.
    pub others: Others,
}

/// Something could not be asked for.
#[derive(Debug, thiserror::Error)]
#[error("look at {} {name}", kind.name())]
pub struct Error {
    /// Of which kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What the client says.
    pub source: kube::Error,
}

/// What is known of the Secrets of an instance.
struct Answer {
    /// When they were asked for.
    at: Instant,
    /// The generation of the resource that they were asked for.
    generation: Option<i64>,
    /// Those that exist.
    secrets: BTreeMap<String, SecretSeen>,
}

/// Answers about Secrets, with their age.
#[derive(Default)]
pub struct Secrets {
    seen: Mutex<BTreeMap<Key, Answer>>,
}

impl Secrets {
    /// A fresh answer. The first visit after a start counts as one: what is recorded was seen before, and asking
    /// for the Secrets of a thousand instances at once is no way to start.
    fn known<'a>(
        &self,
        key: &Key,
        generation: Option<i64>,
        recorded: impl Iterator<Item = &'a Made>,
    ) -> Option<BTreeMap<String, SecretSeen>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let recorded = || recorded.map(|made| (made.name.clone(), SecretSeen { uid: made.uid.clone(), owned: None })).collect();
        let answer = seen.entry(key.clone()).or_insert_with(|| Answer { at: Instant::now(), generation, secrets: recorded() });
        (answer.at.elapsed() < FRESH && answer.generation == generation).then(|| answer.secrets.clone())
    }

    fn remember(&self, key: &Key, generation: Option<i64>, secrets: &BTreeMap<String, SecretSeen>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(key.clone(), Answer { at: Instant::now(), generation, secrets: secrets.clone() });
    }

    /// Takes in a Secret that was just made, found or changed.
    pub fn learn(&self, key: &Key, name: &str, seen: SecretSeen) {
        let mut answers = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let nothing = || Answer { at: Instant::now(), generation: None, secrets: BTreeMap::new() };
        let answer = answers.entry(key.clone()).or_insert_with(nothing);
        answer.at = Instant::now();
        answer.secrets.insert(name.to_owned(), seen);
    }

    /// Forgets an instance.
    pub fn forget(&self, key: &Key) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// How the resource is, compared with what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As it is known.
    Same,
    /// It has changed since: the watch has yet to tell.
    Changed,
    /// It is gone or going.
    Gone,
}

/// Is the resource as it is known? What collects garbage may be faster than the watch, and a list may be older than what happened since.
pub async fn standing(client: &Client, key: &Key, resource: &Dhis2Instance) -> Result<Standing, kube::Error> {
    let api: Api<Dhis2Instance> = Api::namespaced(client.clone(), &key.namespace);
    // A list, which the operator may ask for anyway; it is never older than the question.
    let there = api.list_metadata(&ListParams::default().fields(&format!("metadata.name={}", key.name))).await?;
    let there = there.items.iter().find(|there| there.metadata.uid == resource.metadata.uid && there.metadata.deletion_timestamp.is_none());
    Ok(match there {
        None => Standing::Gone,
        Some(there) if there.metadata.resource_version == resource.metadata.resource_version => Standing::Same,
        Some(_) => Standing::Changed,
    })
}

/// Looks at an instance. Reads only; asks the API server for nothing but Secrets, recorded ones and those it names, that were not
/// looked at for a minute, or since the resource changed, and recorded volumes that no watch shows.
pub async fn observe(
    client: &Client,
    world: &World,
    secrets: &Secrets,
    others: Others,
    key: &Key,
    resource: &Dhis2Instance,
) -> Result<Observed, Error> {
    let mut children = world.children(key);
    for claim in unseen(resource, &children) {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &key.namespace, &CLAIM.resource());
        let answer = api.get_opt(&claim).await.map_err(|source| Error { kind: CLAIM, name: claim.clone(), source })?;
        if let Some(there) = answer {
            children.insert(CLAIM, &claim, slot::reduce(CLAIM, &there, None));
        }
    }
    if resource.spec.adopt && resource.status.as_ref().is_none_or(|status| status.claims.is_none()) {
        left_behind(client, key, &mut children).await?;
    }
    let (secrets, mut missing) = look_at_secrets(client, secrets, key, resource, &others).await?;
    let unknown = others::by_bootstrap(resource).filter(|other| is_new(resource) && !others.contains_key(*other));
    missing.extend(unknown.map(|other| (SOURCE_INSTANCE.to_owned(), other.to_owned())));
    Ok(Observed { instance: resource.uid().unwrap_or_default(), children, secrets, taken: None, missing, others })
}

/// The claims that a deleted instance of this name left: they came before this one, when nobody asked for them.
async fn left_behind(client: &Client, key: &Key, children: &mut Children) -> Result<(), Error> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &key.namespace, &CLAIM.resource());
    let labels = format!("{OURS},app.kubernetes.io/instance={}", key.name);
    let there = api.list(&ListParams::default().labels(&labels)).await;
    let there = there.map_err(|source| Error { kind: CLAIM, name: format!("of {}", key.name), source })?;
    for claim in &there.items {
        let name = claim.name_any();
        if children.get(CLAIM, &name).is_none() {
            children.insert(CLAIM, &name, slot::reduce(CLAIM, claim, None));
        }
    }
    Ok(())
}

/// The Secrets that exist of those that are recorded, and those that the resource names and that don't.
async fn look_at_secrets(
    client: &Client,
    secrets: &Secrets,
    key: &Key,
    resource: &Dhis2Instance,
    others: &Others,
) -> Result<(BTreeMap<String, SecretSeen>, BTreeMap<String, String>), Error> {
    let recorded = resource.status.iter().flat_map(|status| &status.secrets);
    let carried_out = is_carried_out(resource);
    let generation = resource.metadata.generation;
    let known = secrets.known(key, generation, recorded.clone());
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(client.clone(), &key.namespace);
    let ask = async |name: &str| {
        let answer = api.get_opt(name).await.map_err(|source| Error { kind: Kind::Secret, name: name.to_owned(), source })?;
        Ok::<_, Error>(answer.and_then(|secret| {
            let owned = secret.owner_references().iter().any(|owner| Some(&owner.uid) == resource.metadata.uid.as_ref());
            Some(SecretSeen { uid: secret.metadata.uid?, owned: Some(owned) })
        }))
    };
    let mut found = BTreeMap::new();
    for made in recorded {
        let seen = known.as_ref().and_then(|known| known.get(&made.name));
        let seen = match seen.filter(|seen| seen.owned.is_some() || carried_out) {
            Some(seen) => Some(seen.clone()),
            None => ask(&made.name).await?,
        };
        found.extend(seen.map(|seen| (made.name.clone(), seen)));
    }
    let mut missing = BTreeMap::new();
    for (field, name) in named(resource, others) {
        // Never taken for one of ours, whatever its name is.
        let theirs = format!("{field}/{name}");
        match known.as_ref().map(|known| known.get(&theirs)) {
            Some(Some(seen)) => drop(found.insert(theirs, seen.clone())),
            // Not looked at since the start, and not told as missing.
            Some(None) if carried_out => {}
            _ => match ask(name).await? {
                Some(seen) => drop(found.insert(theirs, seen)),
                None => drop(missing.insert(field, name.to_owned())),
            },
        }
    }
    if known.as_ref() != Some(&found) {
        secrets.remember(key, generation, &found);
    }
    Ok((found, missing))
}

/// Recorded volumes that no watch shows: lost, or only without our label.
fn unseen(resource: &Dhis2Instance, children: &Children) -> Vec<String> {
    let claims = resource.status.iter().filter_map(|status| status.claims.as_ref());
    let recorded = claims.flat_map(|claims| [&claims.database, &claims.files, &claims.backups]).flatten();
    recorded.map(|made| made.name.clone()).filter(|name| children.get(CLAIM, name).is_none()).collect()
}

/// Was the resource as it is now carried out? Then what was not looked at is as it asks.
fn is_carried_out(resource: &Dhis2Instance) -> bool {
    let Some(status) = &resource.status else { return false };
    let denied = |kind: &str| status.conditions.iter().any(|condition| condition.type_ == kind && condition.status == "False");
    let interrupted =
        status.conditions.iter().any(|condition| condition.type_ == "Reconciling" && condition.reason == Reason::Failed.as_str());
    // One without which no backup is made is told there only.
    let missing = status.conditions.iter().any(|condition| condition.reason == Reason::SecretMissing.as_str());
    status.observed_generation == resource.metadata.generation && denied("Stalled") && denied("Paused") && !interrupted && !missing
}

impl Observed {
    /// The slot of a child.
    pub fn slot(&self, kind: Kind, name: &str) -> Option<&Slot> {
        self.children.get(kind, name)
    }

    /// The slot of a child that is this instance's own.
    pub fn own(&self, kind: Kind, name: &str) -> Option<&Slot> {
        self.slot(kind, name).filter(|slot| slot.owner.as_deref() == Some(&self.instance))
    }

    /// The pods that an owner made, newest first.
    pub fn pods_of<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = &'a Pod> {
        let mut pods: Vec<_> =
            self.slots(Kind::Pod).filter(|(_, slot)| slot.owner.as_deref() == Some(owner)).filter_map(|(_, slot)| slot.pod()).collect();
        pods.sort_by_key(|pod| std::cmp::Reverse(pod.created));
        pods.into_iter()
    }

    /// Slots of a kind by name.
    pub fn slots(&self, kind: Kind) -> impl Iterator<Item = (&str, &Slot)> {
        self.children.iter().filter(move |(of, _, _)| *of == kind).map(|(_, name, slot)| (name, slot))
    }

    /// The pod of a StatefulSet of one replica.
    pub fn pod_of_set(&self, set: &str) -> Option<(&str, &Slot)> {
        let owner = self.own(Kind::StatefulSet, set)?.uid.clone();
        self.slots(Kind::Pod).find(|(_, slot)| slot.owner.as_deref() == Some(&*owner))
    }

    /// Does the one pod of a StatefulSet serve?
    pub fn set_is_ready(&self, set: &str) -> bool {
        self.pod_of_set(set).and_then(|(_, slot)| slot.pod()).is_some_and(|pod| pod.ready)
    }

    /// The report of a step that is complete.
    pub fn result_of_step(&self, job: &str) -> Option<&Report> {
        self.result_of_step_where(job, |_| true)
    }

    /// The report that has this data, where several containers of the step report.
    pub fn result_of_step_where(&self, job: &str, is: impl Fn(&Data) -> bool) -> Option<&Report> {
        let slot = self.own(Kind::Job, job).filter(|slot| slot.facts == Facts::Job { finished: Some(true) })?;
        self.pods_of(&slot.uid).find_map(|pod| pod.reports.iter().find(|report| report.data.as_ref().is_some_and(&is)))
    }

    /// The newest pod of a step.
    pub fn pod_of_step(&self, job: &str) -> Option<&Pod> {
        self.pods_of(&self.own(Kind::Job, job)?.uid).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key { namespace: "ns".into(), name: "play".into() }
    }

    #[test]
    fn what_was_interrupted_was_not_carried_out() {
        let resource = |reconciling: &str, reason: &str| -> Dhis2Instance {
            let condition = |kind: &str, status: &str, reason: &str| serde_json::json!({"type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
            let conditions = [
                condition("Stalled", "False", "Unobstructed"),
                condition("Paused", "False", "Active"),
                condition("Reconciling", reconciling, reason),
            ];
            serde_json::from_value(serde_json::json!({
                "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance", "metadata": {"name": "play", "generation": 2},
                "spec": {"version": "2.42.4", "web": {"host": "play.example.org"}},
                "status": {"observedGeneration": 2, "conditions": conditions}
            }))
            .unwrap()
        };
        assert!(is_carried_out(&resource("False", "Settled")));
        assert!(is_carried_out(&resource("True", "Restarting")));
        assert!(!is_carried_out(&resource("True", "Failed")), "killed now, the operator would not look at Secrets that it was to change");
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_asks_for_no_secrets_and_a_later_visit_does() {
        let secrets = Secrets::default();
        let recorded = [Made { name: "play-admin".into(), uid: "1".into() }];
        let known = secrets.known(&key(), Some(1), recorded.iter()).unwrap();
        assert_eq!(known.get("play-admin"), Some(&SecretSeen { uid: "1".into(), owned: None }));
        tokio::time::advance(FRESH).await;
        assert_eq!(secrets.known(&key(), Some(1), recorded.iter()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_resource_has_its_secrets_looked_at_once() {
        let secrets = Secrets::default();
        let recorded = [Made { name: "play-admin".into(), uid: "1".into() }];
        assert!(secrets.known(&key(), Some(1), recorded.iter()).is_some());
        assert_eq!(secrets.known(&key(), Some(2), recorded.iter()), None, "a Secret that went a moment ago would not be missed");
        secrets.remember(&key(), Some(2), &BTreeMap::new());
        secrets.learn(&key(), "play-admin", SecretSeen { uid: "1".into(), owned: Some(true) });
        assert!(secrets.known(&key(), Some(2), recorded.iter()).is_some());
    }

    /// An API server that has this object only.
    fn server(path: &'static str, object: serde_json::Value) -> Client {
        let answers = tower::service_fn(move |request: axum::http::Request<kube::client::Body>| {
            let found = request.uri().path().ends_with(path);
            let missing = serde_json::json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": ""});
            let body = if found { object.clone() } else { missing };
            let answer =
                axum::http::Response::builder().status(if found { 200 } else { 404 }).body(axum::body::Body::from(body.to_string()));
            async { answer }
        });
        Client::new(answers, "ns")
    }

    #[tokio::test]
    async fn a_named_secret_is_looked_for_and_never_taken_for_one_of_ours() {
        let there = serde_json::json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "play-database", "namespace": "ns", "uid": "1"}
        });
        let client = server("/secrets/play-database", there);
        for (name, missing) in [("play-database", None), ("other", Some("other"))] {
            let resource: Dhis2Instance = serde_json::from_value(serde_json::json!({
                "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance", "metadata": {"name": "play", "namespace": "ns"},
                "spec": {"version": "2.42.4", "web": {"host": "play.example.org", "tls": {"secretName": name}}},
            }))
            .unwrap();
            let observed = observe(&client, &World::default(), &Secrets::default(), Others::new(), &key(), &resource).await.unwrap();
            assert_eq!(observed.missing.get(CERTIFICATE).map(String::as_str), missing);
            assert_eq!(observed.secrets.get("play-database"), None);
        }
    }

    #[tokio::test]
    async fn the_key_of_an_instance_that_is_named_is_looked_for_and_the_instance_waited_for() {
        let resource: Dhis2Instance = serde_json::from_value(serde_json::json!({
            "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance", "metadata": {"name": "play", "namespace": "ns"},
            "spec": {"version": "2.42.4", "web": {"host": "play.example.org"}, "bootstrap": {"fromBackup": {"instance": "old"}}},
        }))
        .unwrap();
        let old = || others::Elsewhere {
            repository: crate::api::bootstrap::SourceRepository { volume_claim: Some("old-backups".into()), s3: None },
            password: "old-backup".into(),
        };
        let nothing = || server("/nothing", serde_json::Value::Null);
        let look = async |known: bool, resource: &Dhis2Instance| {
            let others = known.then(|| ("old".to_owned(), old())).into_iter().collect();
            observe(&nothing(), &World::default(), &Secrets::default(), others, &key(), resource).await.unwrap().missing
        };
        let field = |missing: &BTreeMap<String, String>, field: &str| missing.get(field).cloned();
        assert_eq!(field(&look(true, &resource).await, SOURCE_KEY).as_deref(), Some("old-backup"));
        let unknown = look(false, &resource).await;
        assert_eq!((field(&unknown, SOURCE_INSTANCE).as_deref(), field(&unknown, SOURCE_KEY)), (Some("old"), None));
        let mut filled = resource;
        filled.status = Some(serde_json::from_value(serde_json::json!({"database": {"systemIdentifier": "1"}})).unwrap());
        assert!(look(false, &filled).await.is_empty(), "it needs the other one no more");
    }

    /// Somebody took the label away by which the watches select.
    #[tokio::test]
    async fn a_volume_that_no_watch_shows_is_looked_for_before_it_counts_as_lost() {
        let claim = serde_json::json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "play-files", "namespace": "ns", "uid": "claim-1"}, "spec": {}
        });
        let made = |name: &str| serde_json::json!({"name": name, "uid": "claim-1"});
        let resource: Dhis2Instance = serde_json::from_value(serde_json::json!({
            "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance", "metadata": {"name": "play", "namespace": "ns"},
            "spec": {"version": "2.42.4", "web": {"host": "play.example.org"}},
            "status": {"claims": {"files": made("play-files"), "backups": made("play-backups")}}
        }))
        .unwrap();
        let client = server("/persistentvolumeclaims/play-files", claim);
        let observed = observe(&client, &World::default(), &Secrets::default(), Others::new(), &key(), &resource).await.unwrap();
        assert_eq!(observed.slot(CLAIM, "play-files").map(|slot| &*slot.uid), Some("claim-1"));
        assert_eq!(observed.slot(CLAIM, "play-backups"), None);
    }
}
