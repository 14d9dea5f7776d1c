//! Accounts of those that the operator is compared with: they may do everything.

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use crate::rig::release::NAME;
use crate::rig::{Release, Rig};
use crate::site::Outcome;

/// Makes one in a namespace of its own, which is called by this environment.
///
/// # Errors
/// What the API server says.
pub async fn make(rig: &Rig, namespace: &str, like: &Release) -> Outcome<Release> {
    rig.namespace(namespace).await?;
    let account: ServiceAccount = serde_json::from_value(json!({ "metadata": { "name": NAME } }))?;
    let accounts: Api<ServiceAccount> = Api::namespaced(rig.client(), namespace);
    accounts.create(&PostParams::default(), &account).await?;
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": { "name": format!("bench-{namespace}") },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "kind": "ServiceAccount", "name": NAME, "namespace": namespace }]
    }))?;
    Api::all(rig.client()).create(&PostParams::default(), &binding).await?;
    let spec = TokenRequestSpec { expiration_seconds: Some(86400), ..TokenRequestSpec::default() };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let answer = accounts.create_token_request(NAME, &PostParams::default(), &request).await?;
    let token = answer.status.map(|status| status.token).unwrap_or_default();
    Ok(Release { namespace: namespace.to_owned(), token, environment: like.environment.clone() })
}
