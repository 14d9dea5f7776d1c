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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use axum::http::Uri;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::operator::cases;

    fn at(host: &str, path: &str, tls: bool) -> Dhis2Instance {
        let tls = if tls { json!({ "upstream": true }) } else { json!({ "none": true }) };
        let spec = json!({ "version": "2.42.4", "web": { "host": host, "path": path, "tls": tls } });
        Dhis2Instance::new("play", serde_json::from_value(spec).unwrap())
    }

    /// A name as DNS has them, RFC 1123 with a letter at the start of the last label: written out, not as the schema does it.
    fn is_host(name: &str) -> bool {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let label =
            |label: &str| (1..=63).contains(&label.len()) && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-');
        name.split('.').all(label) && name.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_lowercase()))
    }

    fn is_path(path: &str) -> bool {
        let segment = |segment: &str| !segment.is_empty() && segment.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        path == "/" || path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(segment))
    }

    proptest! {
        // Each reads all rules of the definition anew.
        #![proptest_config(ProptestConfig { cases: cases(64), ..ProptestConfig::default() })]

        #[test]
        fn what_is_taken_is_an_address_and_every_address_is_taken(
            host in "([a-z0-9-]{1,5}[.]){0,3}[a-z0-9-]{1,65}[.]?|[0-9]{1,3}([.][0-9]{1,3}){3}|[a-zA-Z0-9.*:@/#?%\\[\\] _-]{1,20}|.{1,10}|[a-z]{1,3}[\\n\\r\\t\u{0}\u{2028}]",
            path in "(/[a-zA-Z0-9_-]{1,5}){0,3}/?|/[a-z.;?#%&=+ /]{0,10}|.{1,8}|/[a-z]{1,3}[\\n\\r\\t\u{0}\u{2028}]",
            tls: bool,
        ) {
            let resource = at(&host, &path, tls);
            let said = resource.validate_cel().err().map(|errors| format!("{errors:?}")).unwrap_or_default();
            prop_assert_eq!(said.contains("write a host name"), !is_host(&host), "{:?}: {}", host, said);
            prop_assert_eq!(said.contains("write / or a path"), !is_path(&path), "{:?}: {}", path, said);
            if said.is_empty() {
                let url = web(&resource, &Settings::default()).url();
                let read: Uri = url.parse().unwrap();
                prop_assert_eq!(read.scheme_str(), Some(if tls { "https" } else { "http" }));
                prop_assert_eq!(read.authority().map(ToString::to_string), Some(host.clone()), "no port and no user: {}", url);
                prop_assert_eq!((read.path(), read.query()), (path.as_str(), None));
                prop_assert!(host.parse::<IpAddr>().is_err() && (path == "/" || !url.ends_with('/')), "{}", url);
            }
        }
    }
}
