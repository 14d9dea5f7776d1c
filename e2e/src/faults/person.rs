//! Who does what a flow says: a person with all rights, who also looks whether the instance is as it should be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dhis2_operator::api::{Dhis2Instance, MANAGER};
use dhis2_operator::operator::kind::Kind;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use strum::IntoEnumIterator;

use super::cast::Cast;
use super::flow::{Act, Goal};
use super::ledger::{INSTANCE, Ledger};
use crate::site::Outcome;

/// Name of the instance of every run.
pub const NAME: &str = "play";

/// How long a goal may take.
const LIMIT: Duration = Duration::from_secs(40);

/// How often is looked.
const LOOK: Duration = Duration::from_millis(20);

/// A person.
pub struct Person {
    /// A client that may do everything.
    pub client: Client,
    /// Where.
    pub namespace: String,
    /// What is there.
    pub ledger: Ledger,
}

impl Person {
    /// Does all this in its order.
    ///
    /// # Errors
    /// When something is refused, or a goal is not reached.
    pub async fn acts(&self, acts: &[Act], cast: &Cast) -> Outcome {
        for act in acts {
            self.act(act, cast).await?;
        }
        Ok(())
    }

    async fn act(&self, act: &Act, cast: &Cast) -> Outcome {
        let instances: Api<Dhis2Instance> = Api::namespaced(self.client.clone(), &self.namespace);
        match act {
            Act::Create(spec) => self.seen(&instances.create(&PostParams::default(), &instance(spec)?).await?).await,
            Act::Change(spec) => {
                let patch = Patch::Merge(json!({ "spec": spec }));
                self.seen(&instances.patch(NAME, &PatchParams::default(), &patch).await?).await;
            }
            Act::Secret(name, content) => {
                let secret = json!({ "metadata": { "name": name }, "stringData": content });
                Api::<Secret>::namespaced(self.client.clone(), &self.namespace)
                    .create(&PostParams::default(), &serde_json::from_value(secret)?)
                    .await?;
            }
            Act::Delete => drop(instances.delete(NAME, &DeleteParams::default()).await?),
            Act::Edit(kind, name, patch) => {
                let edited = PatchParams { field_manager: Some("person".to_owned()), ..PatchParams::default() };
                self.api(kind)?.patch(name, &edited, &Patch::Merge(patch)).await?;
            }
            Act::Remove(kind, name) => drop(self.api(kind)?.delete(name, &DeleteParams::background()).await?),
            Act::Upgrade(variable, value) => cast.upgrade(variable, value).await?,
            Act::Until(goal) => self.until(*goal).await?,
        }
        Ok(())
    }

    /// Waits until the watch has told of this: until then the instance looks as if it were Ready as it was asked for before.
    async fn seen(&self, written: &Dhis2Instance) {
        let begun = Instant::now();
        let told =
            |known: &DynamicObject| known.metadata.uid == written.metadata.uid && known.metadata.generation >= written.metadata.generation;
        while !self.instance().is_some_and(|known| told(&known)) && begun.elapsed() < LIMIT {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn api(&self, kind: &str) -> Outcome<Api<DynamicObject>> {
        let known = Kind::iter().find(|known| known.name() == kind).ok_or_else(|| format!("no child is a {kind}"))?;
        Ok(Api::namespaced_with(self.client.clone(), &self.namespace, &known.resource()))
    }

    /// Waits for a goal.
    ///
    /// # Errors
    /// When it is not reached in time.
    pub async fn until(&self, goal: Goal) -> Outcome {
        let begun = Instant::now();
        while !self.is(goal) {
            if begun.elapsed() > LIMIT {
                let told = self.instance().and_then(|instance| instance.data.pointer("/status/conditions").cloned());
                return Err(format!("not {goal:?} within {} s: {}", LIMIT.as_secs(), told.unwrap_or_default()).into());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Is it so?
    pub fn is(&self, goal: Goal) -> bool {
        match goal {
            Goal::Ready => {
                self.instance().is_some_and(|instance| is_settled(&instance)) && !self.ledger.has(&self.namespace, Kind::Job.name())
            }
            Goal::Gone => {
                let present = self.ledger.present(&self.namespace);
                let owned = |object: &DynamicObject| !object.owner_references().is_empty();
                let ours = |object: &DynamicObject| object.labels().get("app.kubernetes.io/managed-by").is_some_and(|by| by == MANAGER);
                present.iter().all(|((kind, _), object)| *kind != INSTANCE && !(ours(object) && owned(object)))
            }
        }
    }

    fn instance(&self) -> Option<Arc<DynamicObject>> {
        self.ledger.object(&self.namespace, INSTANCE, NAME)
    }
}

/// Ready as it is asked for now, backed up once, and nothing under way.
fn is_settled(instance: &DynamicObject) -> bool {
    let status = |place: &str| instance.data.pointer(place);
    let conditions = status("/status/conditions").and_then(Value::as_array);
    let says =
        |kind: &str, word: &str| conditions.into_iter().flatten().any(|condition| condition["type"] == kind && condition["status"] == word);
    let backed_up = status("/status/backup/last").is_some();
    backed_up
        && status("/status/observedGeneration").and_then(Value::as_i64) == instance.metadata.generation
        && says("Ready", "True")
        && says("Reconciling", "False")
}

/// The instance with these fields beside those that it must have, and a schedule: the default one depends on its uid.
fn instance(spec: &Value) -> Result<Dhis2Instance, serde_json::Error> {
    let mut all = json!({ "version": "2.42.4.1", "web": { "host": "play.example.org" }, "backup": { "schedule": "17 2 * * *" } });
    if let (Some(all), Some(given)) = (all.as_object_mut(), spec.as_object()) {
        all.extend(given.clone());
    }
    serde_json::from_value(json!({
        "apiVersion": "dhis2.hosting/v1alpha1", "kind": INSTANCE, "metadata": { "name": NAME }, "spec": all,
    }))
}
