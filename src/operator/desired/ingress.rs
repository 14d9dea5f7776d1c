//! The door. It does not exist before the default password is refused.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec, IngressTLS,
    ServiceBackendPort,
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
/// The other one has no limit on bodies.
const HAPROXY: [(&str, &str); 2] = [("haproxy.org/timeout-client", "300s"), ("haproxy.org/timeout-server", "300s")];

/// The Ingress, once the instance is secured, unless it would lead to another instance's users.
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
    let due = instance.stage.secured && !instance.stage.taken;
    due.then(|| Wanted::new(Kind::Ingress, &instance.name, &ingress, Policy::Keep))
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
    let mut annotations: BTreeMap<String, String> =
        defaults(web.ingress_class.as_deref()).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    use crate::operator::{desired::fixture, instance::Stage};

    fn of(change: impl Fn(&mut Web)) -> Value {
        let mut instance = fixture::plain();
        change(&mut instance.web);
        ingress(&instance).unwrap().object
    }

    #[test]
    fn the_door_is_shut_until_the_default_password_is_refused_and_the_address_free() {
        let plain = fixture::plain();
        for stage in [Stage { secured: false, ..plain.stage }, Stage { taken: true, ..plain.stage }] {
            assert!(ingress(&Instance { stage, ..plain.clone() }).is_none());
        }
    }

    #[test]
    fn the_rule_leads_to_the_service() {
        let ingress = of(|web| "/hmis".clone_into(&mut web.path));
        let backend = json!({"service": {"name": "play", "port": {"name": "http"}}});
        assert_eq!(
            ingress["spec"],
            json!({"rules": [{"host": "play.localhost", "http": {"paths": [{"path": "/hmis", "pathType": "Prefix", "backend": backend}]}}]})
        );
    }

    #[test]
    fn defaults_follow_the_class() {
        let keys = |class: Option<&str>| {
            let class = class.map(str::to_owned);
            let ingress = of(|web| web.ingress_class.clone_from(&class));
            let annotations = ingress["metadata"].get("annotations").and_then(Value::as_object).cloned().unwrap_or_default();
            let any = |prefix: &str| annotations.keys().any(|key| key.starts_with(prefix));
            [any("nginx."), any("haproxy.")]
        };
        assert_eq!(keys(Some("nginx")), [true, false]);
        assert_eq!(keys(Some("haproxy-public")), [false, true]);
        assert_eq!(keys(Some("traefik")), [false, false]);
        assert_eq!(keys(Some("public")), [true, true]);
        assert_eq!(keys(None), [true, true]);
    }

    #[test]
    fn users_have_the_last_word() {
        let key = "nginx.ingress.kubernetes.io/proxy-body-size";
        let ingress = of(|web| drop(web.annotations.insert(key.into(), "1g".into())));
        assert_eq!(ingress["metadata"]["annotations"][key], "1g");
    }

    #[test]
    fn an_issuer_is_asked_for_a_certificate() {
        for (kind, key) in [(IssuerKind::ClusterIssuer, "cert-manager.io/cluster-issuer"), (IssuerKind::Issuer, "cert-manager.io/issuer")] {
            let ingress = of(|web| web.issuer = Some(Issuer { name: "ca".into(), kind }));
            assert_eq!(ingress["metadata"]["annotations"][key], "ca");
            assert_eq!(ingress["spec"]["tls"], json!([{"hosts": ["play.localhost"], "secretName": "play-tls"}]));
        }
    }

    #[test]
    fn a_certificate_of_the_users_is_taken() {
        let ingress = of(|web| web.tls_secret = Some("wildcard".into()));
        assert_eq!(ingress["spec"]["tls"][0]["secretName"], "wildcard");
    }
}
