//! Where users reach an instance.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where users reach the instance.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Web {
    /// Host name, such as `play.example.org`. No wildcard. Of two instances with the same host and path one is opened: the one that is open already, else the older one. The other one is told `HostConflict`.
    #[schemars(schema_with = "super::schema::host")]
    pub host: String,

    /// Context path, such as `/hmis`; also in probes and in the base URL. Default `/`.
    #[serde(default = "root")]
    #[schemars(schema_with = "super::schema::path")]
    pub path: String,

    /// How the connection is encrypted. Default: a certificate of the operator's default issuer if
    /// it has one, else none (plain HTTP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,

    /// The Ingress that leads to the instance. It is made when the default password is gone, never before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
}

fn root() -> String {
    "/".into()
}

/// How the connection is encrypted: exactly one of the fields.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.secretName) ? 1 : 0) + (has(self.issuer) ? 1 : 0) + (has(self.upstream) ? 1 : 0) + (has(self.none) ? 1 : 0) == 1")
    .message("exactly one of secretName, issuer, upstream and none must be set"))]
pub struct Tls {
    /// A Secret of this namespace with the certificate (`tls.crt`, `tls.key`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::object_name")]
    pub secret_name: Option<String>,
    /// A cert-manager issuer that makes the certificate, in Secret `<name>-tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Issuer>,
    /// `true`: something in front of the cluster ends TLS; users see https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::only_true")]
    pub upstream: Option<bool>,
    /// `true`: plain HTTP, passwords readable on the wire. For trials only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::only_true")]
    pub none: Option<bool>,
}

/// A cert-manager issuer.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Issuer {
    /// Name of the issuer.
    #[schemars(schema_with = "super::schema::object_name")]
    pub name: String,
    /// `ClusterIssuer` (default) or `Issuer` of this namespace.
    #[serde(default)]
    pub kind: IssuerKind,
}

/// Kind of a cert-manager issuer.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IssuerKind {
    /// For the whole cluster.
    #[default]
    ClusterIssuer,
    /// Of this namespace.
    Issuer,
}

/// The Ingress.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// Ingress class. Default: the operator's, else the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::class_name")]
    pub class_name: Option<String>,
    /// Annotations of the Ingress, from a list of harmless ones: body size, timeouts, buffers,
    /// HTTPS redirect, rate and source limits, of ingress-nginx, Traefik's router and HAProxy;
    /// `external-dns.alpha.kubernetes.io/*`. Snippets are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::ingress_annotations")]
    pub annotations: BTreeMap<String, String>,
}
