//! Counts the watches that break off in the middle of their answer. The client goes on with a new one without a word, as it does after their
//! regular ends; whoever looks for a line that keeps breaking would see nothing.
use std::sync::Arc;

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{Response, Uri},
};
use futures::TryStreamExt;
use strum::IntoEnumIterator;
use tower::BoxError;

use super::{
    kind::Kind,
    metrics::Metrics,
    watch::{DEFINITION, DISCONNECTED, RESOURCE},
};

/// The answer to a watch of this kind, whose break counts into `metrics`.
pub fn counted<B>(answer: Response<B>, kind: &'static str, metrics: Arc<Metrics>) -> Response<Body>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    answer.map(|body| {
        let parts = Body::new(body).into_data_stream().inspect_err(move |_| metrics.watch_restarted(kind, DISCONNECTED));
        Body::from_stream(parts)
    })
}

/// The kind that is watched there.
pub fn kind(uri: &Uri) -> &'static str {
    let plural = uri.path().rsplit('/').next().unwrap_or_default();
    match Kind::iter().find(|kind| kind.resource().plural == plural) {
        Some(kind) => kind.name(),
        None if DEFINITION.strip_prefix(plural).is_some_and(|group| group.starts_with('.')) => RESOURCE,
        None => "Other",
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, io};

    use futures::StreamExt;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{
        Api,
        api::{ListParams, WatchParams},
        client::ClientBuilder,
    };

    use super::*;
    use crate::operator::requests::CountRequests;

    #[tokio::test]
    async fn a_watch_that_breaks_is_counted_and_one_that_ends_is_not() {
        for (broken, counted) in [(true, true), (false, false)] {
            let server = tower::service_fn(move |_: axum::http::Request<kube::client::Body>| async move {
                let parts = [Ok("{\"type\":\"BOOK"), Err(io::Error::from(io::ErrorKind::UnexpectedEof))];
                let parts = parts.into_iter().take(if broken { 2 } else { 0 });
                Ok::<_, Infallible>(Response::new(Body::from_stream(futures::stream::iter(parts))))
            });
            let metrics = Arc::new(Metrics::new());
            let client = ClientBuilder::new(server, "ns").with_layer(&CountRequests::new(Arc::clone(&metrics))).build();
            let maps: Api<ConfigMap> = Api::default_namespaced(client);
            let told: Vec<_> = maps.watch(&WatchParams::default(), "1").await.unwrap().collect().await;
            assert!(told.is_empty(), "the client says nothing of it: {told:?}");
            assert!(maps.list(&ListParams::default()).await.is_err(), "a list that breaks is told by its error");
            let series = "watch_restarts_total{kind=\"ConfigMap\",reason=\"Disconnected\"} 1\n";
            assert_eq!(metrics.encode().unwrap().contains(series), counted);
        }
    }

    #[test]
    fn the_kind_is_told_by_the_path() {
        let kind = |path: &str| kind(&path.parse().unwrap());
        assert_eq!(kind("/api/v1/namespaces/ns/pods?watch=true"), "Pod");
        assert_eq!(kind("/apis/networking.k8s.io/v1/networkpolicies"), "NetworkPolicy");
        assert_eq!(kind("/apis/dhis2.hosting/v1alpha1/dhis2instances"), RESOURCE);
        assert_eq!(kind("/apis/example.org/v1/others"), "Other");
        assert_eq!(kind("/"), "Other");
    }
}
