//! Who does what a flow says: a person with all rights, who also looks whether the instance is as it should be.

use std::sync::Arc;
use std::time::Duration;

use dhis2_operator::api::{Dhis2Instance, Dhis2Restore, MANAGER, restore::Phase};
use dhis2_operator::operator::kind::Kind;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::{Value, json};
use strum::IntoEnumIterator;

use super::cast::Cast;
use super::flow::{Act, Goal};
use super::ledger::{INSTANCE, Ledger};
use crate::site::{Outcome, instance::merge};

/// Name of the instance of every run.
pub const NAME: &str = "play";

/// How long a goal may take.
const LIMIT: Duration = Duration::from_secs(40);

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
            Box::pin(self.act(act, cast)).await?;
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
                // Told late, it would count as made while faults were injected.
                self.ledger.until(&self.namespace, LIMIT, || self.ledger.object(&self.namespace, "Secret", name).is_some()).await;
            }
            Act::Delete => drop(instances.delete(NAME, &DeleteParams::default()).await?),
            Act::Edit(kind, name, patch) => {
                let edited = PatchParams { field_manager: Some("person".to_owned()), ..PatchParams::default() };
                self.api(kind)?.patch(name, &edited, &Patch::Merge(patch)).await?;
            }
            Act::Remove(kind, name) => drop(self.api(kind)?.delete(name, &DeleteParams::background()).await?),
            Act::Start(part) => {
                let schedule = Api::<CronJob>::namespaced(self.client.clone(), &self.namespace).get(&format!("{NAME}-{part}")).await?;
                let jobs: Api<Job> = Api::namespaced(self.client.clone(), &self.namespace);
                jobs.create(&PostParams::default(), &job(&format!("{part}-by-hand"), schedule)).await?;
            }
            Act::Ask(name, more) => {
                let mut spec = json!({ "instance": NAME });
                merge(&mut spec, more);
                let request = Dhis2Restore::new(name, serde_json::from_value(spec)?);
                Api::<Dhis2Restore>::namespaced(self.client.clone(), &self.namespace).create(&PostParams::default(), &request).await?;
            }
            Act::Order(kind, name, more) => {
                let resource = Kind::iter().find(|known| known.name() == *kind).ok_or("no such kind")?.resource();
                let mut order = DynamicObject::new(name, &resource).data(json!({ "spec": { "instance": NAME } }));
                merge(&mut order.data, &json!({ "spec": more }));
                self.api(kind)?.create(&PostParams::default(), &order).await?;
            }
            Act::Upgrade(variable, value) => cast.upgrade(variable, value).await?,
            Act::Until(goal) => self.until(*goal).await?,
            Act::NextSecond => tokio::time::sleep(Duration::from_secs(1)).await,
        }
        Ok(())
    }

    /// Waits until the watch has told of this: until then the instance looks as if it were Ready as it was asked for before.
    async fn seen(&self, written: &Dhis2Instance) {
        let told =
            |known: &DynamicObject| known.metadata.uid == written.metadata.uid && known.metadata.generation >= written.metadata.generation;
        // What is not told by then is not waited for: goals are looked at again when all has come to rest.
        self.ledger.until(&self.namespace, LIMIT, || self.instance().is_some_and(|known| told(&known))).await;
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
        if self.ledger.until(&self.namespace, LIMIT, || self.is(goal)).await {
            return Ok(());
        }
        let told = self.instance().and_then(|instance| instance.data.pointer("/status/conditions").cloned());
        Err(format!("not {goal:?} within {} s: {}", LIMIT.as_secs(), told.unwrap_or_default()).into())
    }

    /// Is it so?
    pub fn is(&self, goal: Goal) -> bool {
        match goal {
            Goal::Ready => self.instance().is_some_and(|instance| is_settled(&instance) && !lacks_tables(&instance)) && !self.works(),
            Goal::Status(part, there) => {
                let told = self.instance().is_some_and(|instance| instance.data.pointer(&format!("/status{part}")).is_some());
                told == there && self.is(Goal::Ready)
            }
            Goal::Restore(name, phase) => {
                let request = self.ledger.object(&self.namespace, Kind::Dhis2Restore.name(), name);
                let told = request.as_ref().and_then(|request| request.data.pointer("/status/phase")?.as_str());
                let over = self.instance().is_some_and(|instance| instance.data.pointer("/status/operation").is_none());
                let is_over = phase.parse().is_ok_and(Phase::is_over);
                told == Some(phase) && if is_over { over && self.is(Goal::Ready) } else { self.works() }
            }
            Goal::Order(kind, name, phase) => {
                let told = self.ledger.object(&self.namespace, kind, name);
                told.is_some_and(|order| order.data.pointer("/status/phase") == Some(&json!(phase))) && self.is(Goal::Ready)
            }
            Goal::Held(kind, name) => self.ledger.object(&self.namespace, kind, name).is_some_and(|object| !object.finalizers().is_empty()),
            Goal::Without(kind, name) => self.ledger.object(&self.namespace, kind, name).is_none() && self.is(Goal::Ready),
            Goal::Gone => {
                let present = self.ledger.present(&self.namespace);
                let owned = |object: &DynamicObject| !object.owner_references().is_empty();
                let ours = |object: &DynamicObject| object.labels().get("app.kubernetes.io/managed-by").is_some_and(|by| by == MANAGER);
                present.iter().all(|((kind, _), object)| *kind != INSTANCE && !(ours(object) && owned(object)))
            }
        }
    }

    /// Is there a Job of the instance, whatever people made beside?
    fn works(&self) -> bool {
        let present = self.ledger.present(&self.namespace);
        let owned = |object: &DynamicObject| object.owner_references().iter().any(|owner| owner.kind == INSTANCE);
        present.iter().any(|((kind, _), object)| *kind == Kind::Job.name() && owned(object))
    }

    fn instance(&self) -> Option<Arc<DynamicObject>> {
        self.ledger.object(&self.namespace, INSTANCE, NAME)
    }
}

/// Are its analytics tables still to be generated? It is ready meanwhile.
fn lacks_tables(instance: &DynamicObject) -> bool {
    instance.data.pointer("/status/analytics").is_some_and(|analytics| analytics.get("finished").is_none())
}

fn job(name: &str, schedule: CronJob) -> Job {
    let owner = schedule.controller_owner_ref(&());
    let template = schedule.spec.map(|spec| spec.job_template).unwrap_or_default();
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        owner_references: owner.map(|owner| vec![owner]),
        ..template.metadata.unwrap_or_default()
    };
    Job { metadata, spec: template.spec, status: None }
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

/// The instance with these fields beside those that it must have, and schedules: the default ones depend on its namespace.
fn instance(spec: &Value) -> Result<Dhis2Instance, serde_json::Error> {
    let backup = json!({ "schedule": "17 2 * * *", "verify": { "schedule": "30 7 * * 6" } });
    let mut all = json!({ "version": "2.42.4.1", "web": { "host": "play.example.org" }, "backup": backup });
    if let (Some(all), Some(given)) = (all.as_object_mut(), spec.as_object()) {
        all.extend(given.clone());
    }
    serde_json::from_value(json!({
        "apiVersion": "dhis2.hosting/v1alpha1", "kind": INSTANCE, "metadata": { "name": NAME }, "spec": all,
    }))
}
