//! A story's own operator: a release in a namespace of its own that looks after the story's namespace only, so that a story
//! may stop or kill it while others run.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, LogParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::helm::OPERATOR_CHART;
use super::{Outcome, Story, checkout, instance, process, wait};

/// Name of the release. The chart names everything after it.
pub const RELEASE: &str = "story-dhis2-operator";

/// What runs in its container.
pub const PROGRAM: &str = "dhis2-operator";

const LIMIT: Duration = Duration::from_mins(3);

/// An operator of a story.
#[derive(Clone, Debug)]
pub struct Operator {
    namespace: String,
    deployments: Api<Deployment>,
    pods: Api<Pod>,
    leases: Api<Lease>,
}

impl Operator {
    /// Installs it and waits until it is ready.
    ///
    /// # Errors
    /// What helm says, or when it does not get ready.
    pub async fn install(story: &Story) -> Outcome<Self> {
        Self::install_in(story, &story.operator_namespace(), &values(story, &story.namespace)).await
    }

    /// Installs it in this namespace with these values, or upgrades it, and waits until it is ready.
    ///
    /// # Errors
    /// What helm says, or when it does not get ready.
    pub async fn install_in(story: &Story, namespace: &str, values: &Value) -> Outcome<Self> {
        story.site.release(RELEASE, namespace, &checkout(OPERATOR_CHART), values)?;
        let operator = Self::of(story, namespace);
        operator.ready().await?;
        Ok(operator)
    }

    /// The one in this namespace, installed by whomever.
    pub fn of(story: &Story, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            deployments: Api::namespaced(story.client.clone(), namespace),
            pods: Api::namespaced(story.client.clone(), namespace),
            leases: Api::namespaced(story.client.clone(), namespace),
        }
    }

    /// Waits until a pod of it leads that is not this one, and returns its name.
    ///
    /// # Errors
    /// When none does.
    pub async fn leads(&self, not: &str) -> Outcome<String> {
        let leader = |lease: &Lease| {
            lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).filter(|holder| !holder.is_empty() && holder != not)
        };
        let lease = wait::until(&self.leases, RELEASE, "an operator to lead", LIMIT, |lease| leader(lease).is_some()).await?;
        Ok(leader(&lease).unwrap_or_default())
    }

    /// Who it is for the API server.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{RELEASE}", self.namespace)
    }

    /// Waits until all its pods are ready and those of before are gone.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn ready(&self) -> Outcome {
        let is_ready = |deployment: &Deployment| {
            let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
            let status = deployment.status.clone().unwrap_or_default();
            status.observed_generation == deployment.metadata.generation
                && [status.ready_replicas, status.updated_replicas, status.replicas] == [wanted; 3]
        };
        wait::until(&self.deployments, RELEASE, "the operator to be ready", LIMIT, is_ready).await?;
        Ok(())
    }

    /// What its pods have logged.
    ///
    /// # Errors
    /// When the API server does not tell.
    pub async fn log(&self) -> Outcome<String> {
        let mut log = String::new();
        for pod in self.pods.list(&ListParams::default()).await? {
            log += &self.pods.logs(&pod.name_any(), &LogParams::default()).await?;
        }
        Ok(log)
    }

    /// What its leader says at `/metrics`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self, story: &Story, pod: &str) -> Outcome<String> {
        let path = format!("/api/v1/namespaces/{}/pods/{pod}:8080/proxy/metrics", self.namespace);
        Ok(story.client.request_text(http::Request::get(path).body(Vec::new())?).await?)
    }

    /// What one of its pods says at `/readyz`, or why it says nothing.
    pub async fn readiness(&self, story: &Story, pod: &str) -> String {
        let path = format!("/api/v1/namespaces/{}/pods/{pod}:8080/proxy/readyz", self.namespace);
        let request = http::Request::get(path).body(Vec::new());
        let Ok(request) = request else { return String::new() };
        match story.client.request_text(request).await {
            Ok(said) => said,
            // An answer of 503, in its own words.
            Err(kube::Error::Api(status)) => status.message.clone(),
            Err(error) => error.to_string(),
        }
    }

    /// Waits until the leader has looked at an instance and found nothing that it could not do.
    ///
    /// # Errors
    /// When it does not.
    pub async fn has_looked(&self, story: &Story, pod: &str) -> Outcome {
        let ask = async || {
            let text = self.metrics(story, pod).await.map_err(|error| error.to_string())?;
            let passes = |line: &&str| line.starts_with("dhis2_operator_reconcile_total{");
            let good = text.lines().filter(passes).find_map(|line| line.strip_prefix("dhis2_operator_reconcile_total{result=\"ok\"} "));
            if good.is_some_and(|count| count != "0") { Ok(()) } else { Err(text.lines().filter(passes).collect::<String>()) }
        };
        Ok(wait::ask("the operator to look at its instances", LIMIT, ask).await?)
    }

    /// Stops it and waits until its pods are gone.
    ///
    /// # Errors
    /// When they do not go.
    pub async fn stop(&self) -> Outcome {
        self.scale(0).await?;
        for pod in self.pods.list(&ListParams::default()).await? {
            wait::gone(&self.pods, &pod.name_any(), LIMIT).await?;
        }
        Ok(())
    }

    /// Starts it again.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start(&self) -> Outcome {
        self.scale(1).await?;
        self.ready().await
    }

    /// Asks for so many pods.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn scale(&self, replicas: i32) -> Outcome {
        let patch = json!({ "spec": { "replicas": replicas } });
        self.deployments.patch(RELEASE, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    /// Its pods.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn living(&self) -> Outcome<Vec<Pod>> {
        let ours = ListParams::default().labels(&format!("app.kubernetes.io/instance={RELEASE}"));
        let pods = self.pods.list(&ours).await?.items.into_iter();
        Ok(pods.filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
    }

    /// Its pod, or one of them.
    ///
    /// # Errors
    /// When there is none.
    pub async fn pod(&self) -> Outcome<Pod> {
        Ok(self.living().await?.into_iter().next().ok_or("the operator has no pod")?)
    }

    /// Deletes its pod, and waits until another one works.
    ///
    /// # Errors
    /// When it does not.
    pub async fn restart(&self) -> Outcome {
        let old = self.pod().await?.name_any();
        self.pods.delete(&old, &DeleteParams::default()).await?;
        wait::gone(&self.pods, &old, LIMIT).await?;
        self.ready().await
    }

    /// Kills one of its pods as hard as the site can: on our own cluster the process itself, without a word to it. The pod goes too,
    /// since a kubelet starts a container that was killed often only after minutes.
    ///
    /// # Errors
    /// When there is nothing to kill.
    pub async fn kill(&self, story: &Story, pod: &str) -> Outcome {
        if story.site.own.is_some() {
            self.signal(pod, Signal::SIGKILL).await?;
        }
        let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        self.pods.delete(pod, &at_once).await?;
        Ok(())
    }

    /// Sends a signal to what runs in one of its pods. Our own cluster only.
    ///
    /// # Errors
    /// When nothing runs there.
    pub async fn signal(&self, pod: &str, signal: Signal) -> Outcome {
        if process::signal(&self.uid(pod).await?, PROGRAM, signal)? {
            Ok(())
        } else {
            Err(format!("no process of the operator runs in pod {pod}").into())
        }
    }

    /// The uid of one of its pods.
    ///
    /// # Errors
    /// When it is gone.
    pub async fn uid(&self, pod: &str) -> Outcome<String> {
        Ok(self.pods.get(pod).await?.metadata.uid.unwrap_or_default())
    }
}

/// Values of the chart for an operator that looks after this namespace only.
pub fn values(story: &Story, watched: &str) -> Value {
    let site = &story.site;
    let mut values = json!({
        "image": image(&site.images.operator),
        "crds": { "install": false },
        "watchNamespaces": [watched],
        // Roles for the whole cluster, of which there can be one set only.
        "userRoles": false,
        "dhis2Repository": site.images.dhis2,
        "postgresImage": site.images.postgres,
    });
    for (key, value) in [("ingressClass", &site.ingress_class), ("ingressNamespace", &site.ingress_namespace)] {
        if let (Some(value), Some(values)) = (value, values.as_object_mut()) {
            values.insert(key.to_owned(), json!(value));
        }
    }
    values
}

/// As [`values`], for an operator that is killed: whoever is killed says nothing, and this is the shortest time after which somebody
/// else leads.
pub fn mortal(story: &Story, watched: &str) -> Value {
    let mut values = values(story, watched);
    instance::merge(&mut values, &json!({ "leaseTtl": 5 }));
    values
}

/// An image as the chart wants it.
pub fn image(reference: &str) -> Value {
    if let Some((repository, digest)) = reference.split_once('@') {
        return json!({ "repository": repository, "digest": digest });
    }
    match reference.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
        Some((repository, tag)) => json!({ "repository": repository, "tag": tag }),
        None => json!({ "repository": reference }),
    }
}
