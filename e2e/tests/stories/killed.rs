//! Killed: the operator dies thirty times, at random moments of create, change and delete; what it leaves is what a twin has
//! whose operator was left in peace, and no Secret was ever made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dhis2_e2e::site::chance::Chance;
use dhis2_e2e::site::instance::{self, Instance};
use dhis2_e2e::site::operator::{self, Operator};
use dhis2_e2e::site::{Outcome, Story, objects, wait};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

/// Deaths in create, change and delete.
const DEATHS: [usize; 3] = [14, 10, 6];
/// A new operator gets so many milliseconds at most before the next one is needed.
const LIFE: u64 = 3000;
const GONE: Duration = Duration::from_mins(3);

#[test]
fn killed() {
    crate::tell("killed", |story| async move {
        let twins = Twins::begin(&story).await?;
        let mut killer = Killer {
            story: &story,
            operator: &twins.operator,
            instance: &twins.instances[0].0,
            chance: Chance::new(),
            deaths: 0,
            at_work: 0,
        };
        story.tell(&format!("E2E_SEED={}", killer.chance.seed));
        let secrets = SecretsSeen::watch(&story);
        let [create, change, delete] = DEATHS;

        twins.each(async |twin| twin.0.apply(&twin.1).await.map(drop)).await?;
        killer.kill(create).await?;
        twins.compare("created").await?;

        let spec = json!({ "config": { "max.sessions.per_user": "5" }, "files": { "volume": { "size": "12Gi" } }, "pod": { "labels": { "team": "health" } } });
        twins.each(async |twin| twin.0.change(&spec).await.map(drop)).await?;
        killer.kill(change).await?;
        twins.compare("changed").await?;

        twins.each(async |twin| Ok(twin.0.api.delete(&twin.0.name, &DeleteParams::default()).await.map(drop)?)).await?;
        killer.kill(delete).await?;
        twins.operator.ready().await?;
        twins.compare_remains().await?;
        secrets.end(&story)?;
        let Killer { deaths, at_work, .. } = killer;
        story.tell(&format!("the operator was killed {deaths} times, {at_work} of them while an instance was not as its spec says"));
        assert!(at_work > 5, "it was killed too late to matter");
        Ok(())
    });
}

/// Two instances that are to be alike, each with an operator: the first one's dies, the second one's does not.
struct Twins<'a> {
    story: &'a Story,
    operator: Operator,
    namespaces: [String; 2],
    instances: [(Instance, Value); 2],
}

impl<'a> Twins<'a> {
    async fn begin(story: &'a Story) -> Outcome<Self> {
        let namespaces = [story.namespace.clone(), format!("{}-twin", story.namespace)];
        let [first, second] = &namespaces;
        let other = format!("{second}-operator");
        story.make_namespace(second).await?;
        story.make_namespace(&other).await?;
        let values = operator::mortal(story, first);
        let operator = Operator::install_in(story, &story.operator_namespace(), &values).await?;
        Operator::install_in(story, &other, &operator::values(story, second)).await?;
        let made = |namespace: &str| {
            // The schedule would follow from the namespace.
            let spec = json!({ "backup": { "schedule": "0 1 * * *" }, "files": { "volume": { "size": "10Gi" } } });
            let mut manifest = story.small_manifest("play", &spec);
            let host = format!("play-{namespace}.localhost");
            instance::merge(&mut manifest, &json!({ "metadata": { "namespace": namespace }, "spec": { "web": { "host": host } } }));
            (story.instance_in(namespace, "play"), manifest)
        };
        Ok(Self { story, operator, instances: [made(first), made(second)], namespaces })
    }

    async fn each(&self, act: impl AsyncFn(&(Instance, Value)) -> Outcome) -> Outcome {
        for twin in &self.instances {
            act(twin).await?;
        }
        Ok(())
    }

    /// Both come to rest, and are alike then.
    async fn compare(&self, when: &str) -> Outcome {
        self.operator.ready().await?;
        self.each(async |(instance, _)| {
            instance.settled().await?;
            instance.until("BackupHealthy").await.map(drop)
        })
        .await?;
        let [first, second] = self.alike().await?;
        same(when, &first, &second);
        Ok(())
    }

    /// What a deleted instance leaves: volumes and what opens them.
    async fn compare_remains(&self) -> Outcome {
        for ((instance, _), namespace) in self.instances.iter().zip(&self.namespaces) {
            wait::gone(&instance.api, &instance.name, GONE).await?;
            let ask = async || self.only_retained(namespace).await.map_err(|error| error.to_string());
            wait::ask("the parts to go", GONE, ask).await?;
        }
        let [first, second] = self.alike().await?;
        assert_eq!(first.len(), 6, "three volumes and three Secrets stay: {:?}", first.keys());
        same("deleted", &first, &second);
        Ok(())
    }

    async fn only_retained(&self, namespace: &str) -> Outcome {
        let left = objects::list(self.story, namespace).await?;
        let owned: Vec<String> = left.iter().filter(|object| !object.owner_references().is_empty()).map(objects::name).collect();
        if owned.is_empty() { Ok(()) } else { Err(format!("still there: {owned:?}").into()) }
    }

    async fn alike(&self) -> Outcome<[BTreeMap<String, Value>; 2]> {
        let [first, second] = &self.namespaces;
        let [one, other] = &self.instances;
        let uids = [uid(&one.0).await?, uid(&other.0).await?];
        // Backups are told which database system they are of.
        let systems = [system(&one.0).await?, system(&other.0).await?];
        // The longer name first: it begins with the other one.
        let names = [second, first].map(|namespace| (namespace.as_str(), "NAMESPACE"));
        let uids = uids.each_ref().map(|uid| (uid.as_str(), "UID"));
        let systems = systems.each_ref().map(|system| (system.as_str(), "SYSTEM"));
        let words = [names, uids, systems].concat();
        let objects = [objects::list(self.story, first).await?, objects::list(self.story, second).await?];
        Ok(objects.map(|objects| objects::alike(&objects, &words)))
    }
}

/// The uid of a twin; a word that occurs nowhere when it is gone.
async fn uid(instance: &Instance) -> Outcome<String> {
    let there = instance.api.get_opt(&instance.name).await?;
    Ok(there.and_then(|there| there.uid()).unwrap_or_else(|| "no such uid".to_owned()))
}

/// The database system of a twin, likewise.
async fn system(instance: &Instance) -> Outcome<String> {
    let there = instance.api.get_opt(&instance.name).await?;
    let known = there.and_then(|there| there.status?.database?.system_identifier);
    Ok(known.unwrap_or_else(|| "no such database".to_owned()))
}

fn same(when: &str, first: &BTreeMap<String, Value>, second: &BTreeMap<String, Value>) {
    let names = |objects: &BTreeMap<String, Value>| objects.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(first), names(second), "{when}: objects of the one whose operator was killed, and of its twin");
    for (name, object) in first {
        assert_eq!(Some(object), second.get(name), "{when}: {name} of the one whose operator was killed, and of its twin");
    }
}

struct Killer<'a> {
    story: &'a Story,
    operator: &'a Operator,
    instance: &'a Instance,
    chance: Chance,
    deaths: usize,
    /// Deaths while the instance was not as its spec says.
    at_work: usize,
}

impl Killer<'_> {
    /// Kills it so often: each time a random moment after it began to lead.
    async fn kill(&mut self, times: usize) -> Outcome {
        let mut dead = String::new();
        for _ in 0..times {
            let leader = self.operator.leads(&dead).await?;
            // The moment is what the story is about.
            tokio::time::sleep(self.chance.moment(LIFE)).await;
            let now = self.instance.api.get_opt(&self.instance.name).await?;
            self.operator.kill(self.story, &leader).await?;
            dead = leader;
            self.deaths += 1;
            self.at_work += usize::from(now.is_some_and(|now| !instance::settled(&now)));
        }
        self.operator.leads(&dead).await.map(drop)
    }
}

/// Every Secret that was ever seen in the namespace, with uid and resourceVersion.
struct SecretsSeen {
    work: tokio::task::JoinHandle<()>,
    seen: Arc<Mutex<BTreeSet<(String, String, String)>>>,
}

impl SecretsSeen {
    fn watch(story: &Story) -> Self {
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let (api, into): (Api<PartialObjectMeta<Secret>>, _) = (Api::namespaced(story.client.clone(), &story.namespace), Arc::clone(&seen));
        let work = tokio::spawn(async move {
            let mut changes = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
            while let Some(change) = changes.next().await {
                if let (Ok(secret), Ok(mut into)) = (change, into.lock()) {
                    into.insert((secret.name_any(), secret.uid().unwrap_or_default(), secret.resource_version().unwrap_or_default()));
                }
            }
        });
        Self { work, seen }
    }

    fn end(self, story: &Story) -> Outcome {
        self.work.abort();
        let seen = self.seen.lock().map_err(|_| "the watch of Secrets panicked")?;
        let names: BTreeSet<&str> = seen.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["play-admin", "play-backup", "play-database", "play-encryption"]);
        assert_eq!(seen.len(), 4, "a Secret was made anew or changed: {seen:?}");
        story.tell("every Secret had one uid and one resourceVersion from its first second on");
        Ok(())
    }
}
