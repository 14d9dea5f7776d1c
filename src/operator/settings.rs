//! What the platform team set on the operator, for all instances.

use k8s_openapi::{
    api::networking::v1::{IPBlock, NetworkPolicyPeer},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use super::args::{self, Defaults};
use crate::api::web::{Issuer, IssuerKind};

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
    /// Where the pages about reasons are; messages name them.
    pub runbooks: String,
}

impl From<&Defaults> for Settings {
    fn from(given: &Defaults) -> Self {
        let controller = given.ingress_namespace.as_ref().map(|namespace| NetworkPolicyPeer {
            namespace_selector: Some(LabelSelector {
                match_labels: Some([("kubernetes.io/metadata.name".to_owned(), namespace.clone())].into()),
                ..LabelSelector::default()
            }),
            ..NetworkPolicyPeer::default()
        });
        let addresses = given
            .ingress_cidrs
            .iter()
            .map(|cidr| NetworkPolicyPeer { ip_block: Some(IPBlock { cidr: cidr.clone(), except: None }), ..NetworkPolicyPeer::default() });
        let kind = match given.issuer_kind {
            args::IssuerKind::ClusterIssuer => IssuerKind::ClusterIssuer,
            args::IssuerKind::Issuer => IssuerKind::Issuer,
        };
        Self {
            image: given.image.clone(),
            image_pull_policy: <&str>::from(given.image_pull_policy).to_owned(),
            dhis2_repository: given.dhis2_repository.clone(),
            postgres_image: given.postgres_image.clone(),
            issuer: given.issuer_name.clone().map(|name| Issuer { name, kind }),
            ingress_class: given.ingress_class.clone(),
            ingress_peers: controller.into_iter().chain(addresses).collect(),
            runbooks: given.runbooks.clone(),
        }
    }
}
