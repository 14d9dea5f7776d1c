//! Lists of which only names and versions are read: pages of five hundred take less memory than ten whole objects.

use kube::{
    Client, Resource,
    api::{ApiResource, DynamicObject, ListParams},
    core::Request,
};
use serde::Deserialize;

use super::world::Key;

/// Objects of a page.
const PAGE: u32 = 500;

/// What is read of an object.
#[derive(Debug, Deserialize)]
pub struct Brief {
    metadata: Metadata,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    namespace: String,
    name: String,
    uid: String,
    resource_version: String,
    #[serde(default)]
    labels: Labels,
}

#[derive(Debug, Default, Deserialize)]
struct Labels {
    #[serde(rename = "app.kubernetes.io/instance")]
    instance: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Page {
    metadata: Position,
    // Nothing at all is told as null.
    items: Option<Vec<Brief>>,
}

#[derive(Debug, Deserialize)]
struct Position {
    #[serde(rename = "continue")]
    next: Option<String>,
}

impl Brief {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// Its uid.
    pub fn uid(&self) -> &str {
        &self.metadata.uid
    }

    /// Its version; 0 if it is no number.
    pub fn version(&self) -> u64 {
        self.metadata.resource_version.parse().unwrap_or_default()
    }

    /// The instance that it says it belongs to.
    pub fn instance(&self) -> Option<Key> {
        Some(Key { namespace: self.metadata.namespace.clone(), name: self.metadata.labels.instance.clone()? })
    }

    /// Its own namespace and name.
    pub fn itself(&self) -> Key {
        Key { namespace: self.metadata.namespace.clone(), name: self.metadata.name.clone() }
    }
}

/// Shows every object of a kind that has these labels, in one namespace or in all.
///
/// # Errors
/// What the API server says.
pub async fn each(
    client: &Client,
    resource: &ApiResource,
    namespace: Option<&str>,
    labels: Option<&str>,
    mut show: impl FnMut(&Brief),
) -> Result<(), kube::Error> {
    let request = Request::new(DynamicObject::url_path(resource, namespace));
    let mut parameters = ListParams { label_selector: labels.map(Into::into), limit: Some(PAGE), ..ListParams::default() };
    loop {
        let page: Page = client.request(request.list_metadata(&parameters).map_err(kube::Error::BuildRequest)?).await?;
        page.items.iter().flatten().for_each(&mut show);
        parameters.continue_token = page.metadata.next.filter(|next| !next.is_empty());
        if parameters.continue_token.is_none() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http;
    use kube::client::Body;
    use serde_json::json;

    use super::*;
    use crate::operator::kind::Kind;

    #[tokio::test]
    async fn all_pages_are_read() {
        let server = tower::service_fn(|request: http::Request<Body>| async move {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let item = |name: &str, instance: Option<&str>| {
                let labels = instance.map(|instance| json!({ "app.kubernetes.io/instance": instance, "other": "x" }));
                json!({ "metadata": { "namespace": "ns", "name": name, "uid": "1", "resourceVersion": "7", "labels": labels.unwrap_or(json!({})) } })
            };
            let page = if query.contains("continue=more") {
                json!({ "metadata": { "continue": "last" }, "items": [item("b", None)] })
            } else if query.contains("continue=last") {
                json!({ "metadata": {}, "items": null })
            } else {
                assert!(query.contains("limit=500") && query.contains("labelSelector=a%3Db"), "{query}");
                json!({ "metadata": { "continue": "more" }, "items": [item("a", Some("play"))] })
            };
            Ok::<_, std::convert::Infallible>(http::Response::new(axum::body::Body::from(page.to_string())))
        });
        let client = Client::new(server, "ns");
        let mut seen = Vec::new();
        let show = |object: &Brief| seen.push((object.name().to_owned(), object.version(), object.instance().map(|key| key.name)));
        each(&client, &Kind::Pod.resource(), Some("ns"), Some("a=b"), show).await.unwrap();
        assert_eq!(seen, [("a".into(), 7, Some("play".into())), ("b".into(), 7, None)]);
    }
}
