//! The operator's release on a rig: the account, the rights and the settings that the chart renders, without its pod.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{ApiResource, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Rig;
use crate::cluster::cache::Cache;
use crate::cluster::{files, run};
use crate::site::helm::{self, OPERATOR_CHART};
use crate::site::{Outcome, checkout, wait};

/// Name of every release on a rig, and of all that the chart makes of it.
pub const NAME: &str = "dhis2-operator";

/// How long the API server may take to know of rights that it was given.
const LIMIT: Duration = Duration::from_secs(20);

/// What the chart renders: as text, so that one rendering serves many namespaces.
#[derive(Clone, Debug)]
pub struct Chart {
    text: String,
}

/// Stands in a [`Chart`] for the namespace of the operator, and for one that it watches.
pub const NAMESPACE: &str = "namespace-of-the-release";

impl Chart {
    /// Renders the operator's chart with these values, in the namespace [`NAMESPACE`].
    ///
    /// # Errors
    /// What helm says.
    pub fn render(values: &Value) -> Outcome<Self> {
        let mut command = Command::new(helm::program(&Cache::locate()?)?);
        command.args(["template", NAME]).arg(checkout(OPERATOR_CHART));
        command.args(["--namespace", NAMESPACE, "--skip-tests", "--values", "-"]);
        let mut values = values.clone();
        if let Some(values) = values.as_object_mut() {
            values.insert("crds".to_owned(), json!({ "install": false }));
            // For people; there can be one set of them only.
            values.insert("userRoles".to_owned(), json!(false));
        }
        Ok(Self { text: run::feed(&mut command, values.to_string().as_bytes())? })
    }

    /// The objects for this namespace.
    fn objects(&self, namespace: &str) -> Result<Vec<DynamicObject>, serde_yaml::Error> {
        let text = self.text.replace(NAMESPACE, namespace);
        let documents = serde_yaml::Deserializer::from_str(&text).map(Value::deserialize);
        documents
            .filter(|document| !matches!(document, Ok(Value::Null)))
            .map(|document| serde_yaml::from_value(serde_yaml::to_value(document?)?))
            .collect()
    }
}

/// An operator's account, and how it is to be started.
#[derive(Clone, Debug)]
pub struct Release {
    /// The namespace of its account and its Lease.
    pub namespace: String,
    /// The token of its account.
    pub token: String,
    /// The environment of its container, as the chart gives it.
    pub environment: BTreeMap<String, String>,
}

impl Release {
    /// Who it is for the API server.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{NAME}", self.namespace)
    }
}

const RIGHTS: [&str; 5] = ["ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"];

impl Rig {
    /// Makes the operator's account and rights in this namespace, which is made as well.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn release(&self, chart: &Chart, namespace: &str) -> Outcome<Release> {
        self.namespace(namespace).await?;
        let objects = chart.objects(namespace)?;
        let mut environment = BTreeMap::new();
        for object in &objects {
            let kind = object.types.as_ref().map_or("", |types| types.kind.as_str());
            if kind == "Deployment" {
                environment = variables(object);
            } else if RIGHTS.contains(&kind) {
                self.apply(object).await?;
            }
        }
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let spec = TokenRequestSpec { expiration_seconds: Some(86400), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let answer = accounts.create_token_request(NAME, &PostParams::default(), &request).await?;
        let token = answer.status.map(|status| status.token).unwrap_or_default();
        let release = Release { namespace: namespace.to_owned(), token, environment };
        self.granted(&release).await?;
        Ok(release)
    }

    /// Makes a namespace, unless it is there.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn namespace(&self, name: &str) -> Outcome {
        let namespace = Namespace { metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }, ..Namespace::default() };
        match Api::<Namespace>::all(self.client()).create(&PostParams::default(), &namespace).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            answer => answer.map(|_| ()).map_err(Into::into),
        }
    }

    async fn apply(&self, object: &DynamicObject) -> Outcome {
        let types = object.types.as_ref().ok_or("an object without a kind")?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
        let api: Api<DynamicObject> = match object.namespace() {
            Some(namespace) => Api::namespaced_with(self.client(), &namespace, &resource),
            None => Api::all_with(self.client(), &resource),
        };
        api.patch(&object.name_any(), &PatchParams::apply("rig").force(), &Patch::Apply(object)).await?;
        Ok(())
    }

    /// Waits until the API server knows of the rights: an operator that is refused once waits for seconds.
    async fn granted(&self, release: &Release) -> Outcome {
        let watched = release.environment.get("WATCH_NAMESPACES").map_or("", String::as_str);
        for namespace in watched.split(',') {
            for (group, resource, verb) in [("dhis2.hosting", "dhis2instances", "list"), ("events.k8s.io", "events", "create")] {
                self.allowed(&release.user(), namespace, group, resource, verb).await?;
            }
        }
        self.allowed(&release.user(), &release.namespace, "coordination.k8s.io", "leases", "create").await
    }

    async fn allowed(&self, user: &str, namespace: &str, group: &str, resource: &str, verb: &str) -> Outcome {
        let text = |text: &str| Some(text.to_owned());
        let attributes = ResourceAttributes {
            namespace: text(namespace),
            group: text(group),
            resource: text(resource),
            verb: text(verb),
            ..ResourceAttributes::default()
        };
        let spec =
            SubjectAccessReviewSpec { user: text(user), resource_attributes: Some(attributes), ..SubjectAccessReviewSpec::default() };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let api: Api<SubjectAccessReview> = Api::all(self.client());
        let ask = async || match api.create(&PostParams::default(), &review).await {
            Ok(answer) if answer.status.as_ref().is_some_and(|status| status.allowed) => Ok(()),
            Ok(answer) => Err(format!("{:?}", answer.status)),
            Err(error) => Err(error.to_string()),
        };
        Ok(wait::ask("the operator's rights", LIMIT, ask).await?)
    }

    /// Writes the kubeconfig of a release for an API server at this address: the rig's own, or what stands before it with a certificate
    /// of this authority.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn kubeconfig(&self, release: &Release, server: &str, authority: &str) -> Outcome<PathBuf> {
        let text = crate::cluster::certificates::kubeconfig(server, authority, &release.namespace, &json!({ "token": release.token }));
        let place = server.rsplit_once("://").map_or(server, |(_, place)| place).replace([':', '/'], "-");
        let path = self.folder().join(format!("{}-{place}.kubeconfig", release.namespace));
        files::write(&path, text)?;
        Ok(path)
    }
}

/// The variables of the first container that have a value.
fn variables(deployment: &DynamicObject) -> BTreeMap<String, String> {
    let list = deployment.data.pointer("/spec/template/spec/containers/0/env").and_then(Value::as_array);
    let pair = |entry: &Value| Some((entry.get("name")?.as_str()?.to_owned(), entry.get("value")?.as_str()?.to_owned()));
    list.into_iter().flatten().filter_map(pair).collect()
}
