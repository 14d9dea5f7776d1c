//! Instances, as stories make and see them.

use std::time::{Duration, Instant};

use dhis2_operator::api::Dhis2Instance;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::door::Account;
use super::{Outcome, Story, wait};

/// An instance of a story.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Its host.
    pub host: String,
    /// The API of its kind.
    pub api: Api<Dhis2Instance>,
    secrets: Api<Secret>,
    patience: Duration,
}

/// What kstatus makes of an object (its rules for conditions `Reconciling`, `Stalled` and `Ready`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Work is under way, or has not begun.
    InProgress,
    /// It needs somebody.
    Failed,
    /// It is as its spec says.
    Current,
}

/// What kstatus makes of an instance.
pub fn progress(instance: &Dhis2Instance) -> Progress {
    let observed = instance.status.as_ref().and_then(|status| status.observed_generation);
    let holds = |kind| condition(instance, kind).is_some_and(|condition| condition.status == "True");
    if instance.metadata.deletion_timestamp.is_some() || observed.is_some_and(|seen| Some(seen) != instance.metadata.generation) {
        return Progress::InProgress;
    }
    match (holds("Reconciling"), holds("Stalled"), condition(instance, "Ready")) {
        (true, ..) => Progress::InProgress,
        (_, true, _) => Progress::Failed,
        (_, _, Some(ready)) if ready.status != "True" => Progress::InProgress,
        _ => Progress::Current,
    }
}

/// A condition of an instance.
pub fn condition<'a>(instance: &'a Dhis2Instance, kind: &str) -> Option<&'a Condition> {
    instance.status.iter().flat_map(|status| &status.conditions).find(|condition| condition.type_ == kind)
}

/// Whether a condition holds, of the spec as it is now.
pub fn holds(instance: &Dhis2Instance, kind: &str) -> bool {
    let generation = instance.metadata.generation;
    condition(instance, kind).is_some_and(|condition| condition.status == "True" && condition.observed_generation == generation)
}

/// Whether everything is as the spec says, and nothing is under way.
pub fn settled(instance: &Dhis2Instance) -> bool {
    holds(instance, "Ready") && progress(instance) == Progress::Current
}

impl Story {
    /// The handle of an instance of this name, made or not.
    pub fn instance(&self, name: &str) -> Instance {
        self.instance_in(&self.namespace, name)
    }

    /// Likewise, in another namespace of the story.
    pub fn instance_in(&self, namespace: &str, name: &str) -> Instance {
        Instance {
            name: name.to_owned(),
            host: self.host(name),
            api: Api::namespaced(self.client.clone(), namespace),
            secrets: Api::namespaced(self.client.clone(), namespace),
            patience: self.site.patience(),
        }
    }

    /// The manifest of an instance: as small as can be, but for what `more` says. At weekends the default schedule of the restore test would
    /// come amid a story, and it differs from namespace to namespace.
    pub fn manifest(&self, name: &str, more: &Value) -> Value {
        let mut manifest = json!({
            "apiVersion": "dhis2.hosting/v1alpha1",
            "kind": "Dhis2Instance",
            "metadata": { "name": name, "namespace": self.namespace },
            "spec": {
                "version": self.site.version(),
                "web": { "host": self.host(name) },
                "backup": { "verify": { "schedule": SOME_DAY } },
            },
        });
        if let Some(class) = &self.site.storage_class {
            let class = json!({ "className": class });
            let volumes = json!({ "spec": {
                "database": { "bundled": { "storage": class } },
                "files": { "volume": class },
                "backup": { "repository": { "volume": class }, "verify": { "storage": class } },
            } });
            merge(&mut manifest, &volumes);
        }
        merge(&mut manifest, &json!({ "spec": more }));
        manifest
    }
}

impl Story {
    /// The same for one of several that share the node: the stand-in asks for less of it.
    pub fn small_manifest(&self, name: &str, more: &Value) -> Value {
        let mut spec = if self.site.is_stand_in() { json!({ "resources": { "memory": "1Gi", "cpu": "50m" } }) } else { json!({}) };
        merge(&mut spec, more);
        self.manifest(name, &spec)
    }
}

/// A schedule that does not come while a story is told.
pub const SOME_DAY: &str = "0 0 29 2 *";

/// Puts one object into another, field by field.
pub fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}

impl Instance {
    /// Applies a manifest, as kubectl and Argo CD do.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn apply(&self, manifest: &Value) -> Outcome<Dhis2Instance> {
        let parameters = PatchParams::apply("story").force();
        Ok(self.api.patch(&self.name, &parameters, &Patch::Apply(manifest)).await?)
    }

    /// Changes the spec.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn change(&self, spec: &Value) -> Outcome<Dhis2Instance> {
        let patch = json!({ "spec": spec });
        Ok(self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(&patch)).await?)
    }

    /// Waits until everything is as the spec says.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn settled(&self) -> Outcome<Dhis2Instance> {
        Ok(wait::until(&self.api, &self.name, "the instance to be Ready", self.patience, settled).await?)
    }

    /// Waits until a condition holds.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn until(&self, kind: &str) -> Outcome<Dhis2Instance> {
        Ok(wait::until(&self.api, &self.name, kind, self.patience, |instance| holds(instance, kind)).await?)
    }

    /// Waits for something else about it.
    ///
    /// # Errors
    /// When it does not happen in time.
    pub async fn when(&self, what: &str, holds: impl Fn(&Dhis2Instance) -> bool) -> Outcome<Dhis2Instance> {
        Ok(wait::until(&self.api, &self.name, what, self.patience, holds).await?)
    }

    /// Waits until it is not Ready, for this reason, in words that name `about`. Returns after how long.
    ///
    /// # Errors
    /// When it does not happen within `limit`.
    pub async fn unready(&self, reason: &str, about: &str, limit: Duration) -> Outcome<Duration> {
        let begun = Instant::now();
        let told = |seen: &Dhis2Instance| {
            condition(seen, "Ready").is_some_and(|ready| ready.status == "False" && ready.reason == reason && ready.message.contains(about))
        };
        wait::until(&self.api, &self.name, &format!("Ready to be False for {reason} about {about}"), limit, told).await?;
        Ok(begun.elapsed())
    }

    /// The administrator's account with the generated password.
    ///
    /// # Errors
    /// When its Secret is not there.
    pub async fn admin(&self) -> Outcome<Account> {
        let secret = self.secret("admin").await?;
        let text = |key: &str| {
            let bytes =
                secret.data.as_ref().and_then(|data| data.get(key)).ok_or_else(|| format!("Secret {}-admin lacks {key}", self.name))?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(String::from_utf8(bytes.0.clone())?)
        };
        Ok(Account::new(&text("username")?, &text("password")?))
    }

    /// One of its Secrets.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn secret(&self, suffix: &str) -> Outcome<Secret> {
        Ok(self.secrets.get(&format!("{}-{suffix}", self.name)).await?)
    }
}
