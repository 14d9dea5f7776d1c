//! Certificates for the hosts of a story.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::json;

use super::{Outcome, Story};

impl Story {
    /// Puts a new certificate for this host into a Secret, in place of the one that may be in it; returns it.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn certificate(&self, secret: &str, host: &str) -> Outcome<String> {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([host.to_owned()])?;
        let manifest = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": secret }, "type": "kubernetes.io/tls",
            "stringData": { "tls.crt": cert.pem(), "tls.key": signing_key.serialize_pem() },
        });
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        secrets.patch(secret, &PatchParams::apply("story").force(), &Patch::Apply(&manifest)).await?;
        Ok(cert.pem())
    }
}
