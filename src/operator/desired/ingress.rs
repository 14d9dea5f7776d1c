//! The door. It does not exist before the default password is refused.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec, IngressTLS, ServiceBackendPort,
};

use super::{
    Policy, Wanted,
    metadata::{Part, owned},
    services::HTTP_NAME,
};
use crate::{
    api::web::{Issuer, IssuerKind},
    operator::{
        instance::{Instance, Web},
        kind::Kind,
    },
};

/// Room for imports of metadata and apps, time for analytics, and headers as large as DHIS2's cookies (DHIS2's reverse proxy
/// guide, its server tools).
const NGINX: [(&str, &str); 6] = [
    ("nginx.ingress.kubernetes.io/proxy-body-size", "100m"),
    ("nginx.ingress.kubernetes.io/proxy-read-timeout", "300"),
    ("nginx.ingress.kubernetes.io/proxy-send-timeout", "300"),
    ("nginx.ingress.kubernetes.io/proxy-buffer-size", "128k"),
    ("nginx.ingress.kubernetes.io/proxy-buffers-number", "8"),
    ("nginx.ingress.kubernetes.io/proxy-busy-buffers-size", "256k"),
];
/// HAProxy has no limit on bodies.
const HAPROXY: [(&str, &str); 2] = [("haproxy.org/timeout-client", "300s"), ("haproxy.org/timeout-server", "300s")];

/// The Ingress, once the instance is secured.
pub fn ingress(instance: &Instance) -> Option<Wanted> {
    let web = &instance.web;
    let mut metadata = owned(instance, &instance.name, Part::Application);
    metadata.annotations = Some(annotations(web)).filter(|annotations| !annotations.is_empty());
    let ingress = Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: web.ingress_class.clone(),
            rules: Some(vec![rule(instance)]),
            tls: certificate(instance).map(|secret| vec![IngressTLS { hosts: Some(vec![web.host.clone()]), secret_name: Some(secret) }]),
            default_backend: None,
        }),
        status: None,
    };
    instance.stage.secured.then(|| Wanted::new(Kind::Ingress, &instance.name, &ingress, Policy::Keep))
}

fn rule(instance: &Instance) -> IngressRule {
    let port = ServiceBackendPort { name: Some(HTTP_NAME.into()), number: None };
    let path = HTTPIngressPath {
        path: Some(instance.web.path.clone()),
        path_type: "Prefix".into(),
        backend: IngressBackend { service: Some(IngressServiceBackend { name: instance.name.clone(), port: Some(port) }), resource: None },
    };
    IngressRule { host: Some(instance.web.host.clone()), http: Some(HTTPIngressRuleValue { paths: vec![path] }) }
}

/// The Secret with the certificate; an issuer puts it into one that is named after the instance.
fn certificate(instance: &Instance) -> Option<String> {
    let web = &instance.web;
    web.tls_secret.clone().or_else(|| web.issuer.is_some().then(|| instance.child("tls")))
}

/// What the controllers need for DHIS2, what cert-manager is asked for, and what the user says, which wins.
fn annotations(web: &Web) -> BTreeMap<String, String> {
    let mut annotations: BTreeMap<String, String> = defaults(web.ingress_class.as_deref()).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    annotations.extend(web.issuer.as_ref().map(issuer));
    annotations.extend(web.annotations.clone());
    annotations
}

/// The annotations of the class's controller. A name that tells no controller gets those of all: others ignore them. Traefik
/// needs none.
fn defaults(class: Option<&str>) -> impl Iterator<Item = (&'static str, &'static str)> {
    let class = class.unwrap_or_default();
    let [nginx, haproxy, traefik] = ["nginx", "haproxy", "traefik"].map(|controller| class.contains(controller));
    let unknown = !(nginx || haproxy || traefik);
    let nginx = NGINX.into_iter().filter(move |_| nginx || unknown);
    nginx.chain(HAPROXY.into_iter().filter(move |_| haproxy || unknown))
}

fn issuer(issuer: &Issuer) -> (String, String) {
    let kind = match issuer.kind {
        IssuerKind::ClusterIssuer => "cluster-issuer",
        IssuerKind::Issuer => "issuer",
    };
    (format!("cert-manager.io/{kind}"), issuer.name.clone())
}
