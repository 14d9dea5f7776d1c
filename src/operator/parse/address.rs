//! The address: default TLS, default class, context path.

use kube::ResourceExt;

use crate::{
    api::{Dhis2Instance, web::Tls},
    operator::{instance::Web, settings::Settings},
};

/// The address of an instance.
pub fn web(resource: &Dhis2Instance, settings: &Settings) -> Web {
    let web = &resource.spec.web;
    let ingress = web.ingress.clone().unwrap_or_default();
    let tls = web.tls.clone().unwrap_or_else(|| Tls { issuer: settings.issuer.clone(), ..Tls::default() });
    let made = tls.issuer.as_ref().map(|_| format!("{}-tls", resource.name_any()));
    let tls_secret = tls.secret_name.or(made);
    Web {
        host: web.host.clone(),
        path: web.path.clone(),
        context: if web.path == "/" { String::new() } else { web.path.clone() },
        https: tls_secret.is_some() || tls.upstream == Some(true),
        tls_secret,
        issuer: tls.issuer,
        ingress_class: ingress.class_name.or_else(|| settings.ingress_class.clone()),
        annotations: ingress.annotations,
    }
}
