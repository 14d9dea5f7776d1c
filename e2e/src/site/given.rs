//! A cluster that somebody has, named by variables of the environment.

use std::env;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use super::{Error, Images, Site, helm, own};
use crate::cluster::cache::Cache;

/// A variable that is set to something.
pub fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn needed(name: &'static str, wrong: &str) -> Result<String, Error> {
    text(name).ok_or_else(|| Error::Variable { name, value: String::new(), wrong: wrong.to_owned() })
}

/// The cluster of this kubeconfig.
///
/// # Errors
/// When a variable is missing or wrong.
pub fn site(kubeconfig: &Path, logs: &Path) -> Result<Site, Error> {
    let dhis2 = needed("DHIS2_IMAGE", "name DHIS2's image, such as docker.io/dhis2/core:2.42.4.1")?;
    if Path::new(&dhis2).exists() {
        let wrong = "an archive can be loaded into our own cluster only; push it to a registry and name it".to_owned();
        return Err(Error::Variable { name: "DHIS2_IMAGE", value: dhis2, wrong });
    }
    let (dhis2, version) = reference(&dhis2)?;
    let images = Images {
        operator: needed("OPERATOR_IMAGE", "name the operator's image in a registry that the cluster reaches")?,
        dhis2,
        versions: vec![version],
        postgres: text("POSTGRES_IMAGE").unwrap_or_else(|| "docker.io/postgis/postgis:17-3.5".to_owned()),
    };
    let cache = Cache::locate()?;
    Ok(Site {
        kubeconfig: kubeconfig.to_owned(),
        ingress: [address("E2E_HTTP", 80)?, address("E2E_HTTPS", 443)?],
        images,
        ingress_class: text("E2E_INGRESS_CLASS"),
        ingress_namespace: text("E2E_INGRESS_NAMESPACE"),
        storage_class: text("E2E_STORAGE_CLASS"),
        own: None,
        run: own::run(),
        helm: helm::program(&cache)?,
        kubectl: text("KUBECTL").map_or_else(|| "kubectl".into(), PathBuf::from),
        logs: logs.to_owned(),
        _lock: None,
    })
}

/// An image's name without tag, and its tag, which is DHIS2's version.
pub fn reference(image: &str) -> Result<(String, String), Error> {
    let parts = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
    let (name, tag) = parts.ok_or_else(|| Error::Variable {
        name: "DHIS2_IMAGE",
        value: image.to_owned(),
        wrong: "the tag must be DHIS2's version, as in docker.io/dhis2/core:2.42.4.1".to_owned(),
    })?;
    Ok((name.to_owned(), tag.to_owned()))
}

/// DHIS2's version, of four parts, in a tag of its image: `2.42.4.1`, `42.4.1` and `42.4.1-20260826T150401Z` are the same
/// (dhis2-core, docker/DOCKERHUB.md). Tags that name a line only, such as `42`, say no version.
pub fn version(tag: &str) -> Option<String> {
    let parts: Vec<u16> = tag.split('-').next()?.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    match *parts.as_slice() {
        [2, major, patch] => Some(format!("2.{major}.{patch}.0")),
        [2, major, patch, hotfix] | [major @ 30..=99, patch, hotfix] => Some(format!("2.{major}.{patch}.{hotfix}")),
        _ => None,
    }
}

/// Where the ingress controller answers: `http://10.0.0.1`, `10.0.0.1:30080`, `ingress.example.org`.
fn address(name: &'static str, port: u16) -> Result<SocketAddr, Error> {
    let value = needed(name, "say where the ingress controller answers, such as 10.0.0.1:30080")?;
    let host = value.trim_start_matches("http://").trim_start_matches("https://").trim_end_matches('/');
    let found = host.to_socket_addrs().or_else(|_| (host, port).to_socket_addrs());
    let first = found.map(|mut addresses| addresses.next());
    match first {
        Ok(Some(address)) => Ok(address),
        Ok(None) => Err(Error::Variable { name, value, wrong: "no such host".to_owned() }),
        Err(error) => Err(Error::Variable { name, value, wrong: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_an_image_is_its_version() {
        let parts = |image| reference(image).ok();
        assert_eq!(parts("docker.io/dhis2/core:2.42.4.1"), Some(("docker.io/dhis2/core".into(), "2.42.4.1".into())));
        assert_eq!(parts("localhost:5000/core:2.42.4.1"), Some(("localhost:5000/core".into(), "2.42.4.1".into())));
        assert_eq!(parts("localhost:5000/core"), None);
    }

    #[test]
    fn the_ways_of_tagging_a_version() {
        for tag in ["2.42.4.1", "42.4.1", "42.4.1-20260826T150401Z"] {
            assert_eq!(version(tag).as_deref(), Some("2.42.4.1"), "{tag}");
        }
        assert_eq!(version("2.42.4").as_deref(), Some("2.42.4.0"));
        for tag in ["42", "2.42", "latest", "42.x.1", ""] {
            assert_eq!(version(tag), None, "{tag}");
        }
    }
}
