//! What the platform team set on the operator, for all instances.

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;

use crate::api::web::Issuer;

/// Settings of the operator that shape every instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Image of operator, agent and restic.
    pub image: String,
    /// When the kubelet pulls it.
    pub image_pull_policy: String,
    /// Repository of the DHIS2 image, without tag.
    pub dhis2_repository: String,
    /// Image of PostgreSQL with PostGIS.
    pub postgres_image: String,
    /// Issuer of certificates for instances that name none.
    pub issuer: Option<Issuer>,
    /// Ingress class for instances that name none.
    pub ingress_class: Option<String>,
    /// Where the ingress controller connects from.
    pub ingress_peers: Vec<NetworkPolicyPeer>,
}
