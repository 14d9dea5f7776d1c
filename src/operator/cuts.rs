//! Counts the watches that break off in the middle of their answer. The client goes on with a new one without a word, as it does after their
//! regular ends; whoever looks for a line that keeps breaking would see nothing.
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{Request, Response, Uri},
};
use futures::TryStreamExt;
use strum::IntoEnumIterator;
use tower::{BoxError, Layer, Service};

use super::{
    kind::Kind,
    metrics::Metrics,
    requests,
    watch::{DEFINITION, DISCONNECTED, RESOURCE},
};

/// A layer for `kube::client::ClientBuilder::with_layer`.
#[derive(Debug, Clone)]
pub struct CountCuts(Arc<Metrics>);

impl CountCuts {
    /// Counts into `metrics`.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self(metrics)
    }
}

impl<S> Layer<S> for CountCuts {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, metrics: Arc::clone(&self.0) }
    }
}

/// A client's connection whose broken watches are counted.
#[derive(Debug, Clone)]
pub struct Counted<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S, A, B> Service<Request<A>> for Counted<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let watched = (requests::verb(&request) == requests::WATCH).then(|| kind(request.uri()));
        let metrics = Arc::clone(&self.metrics);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?.map(Body::new);
            Ok(match watched {
                None => answer,
                Some(kind) => answer.map(|body| {
                    let parts = body.into_data_stream().inspect_err(move |_| metrics.watch_restarted(kind, DISCONNECTED));
                    Body::from_stream(parts)
                }),
            })
        })
    }
}

/// The kind that is watched there.
fn kind(uri: &Uri) -> &'static str {
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

    #[tokio::test]
    async fn a_watch_that_breaks_is_counted_and_one_that_ends_is_not() {
        for (broken, counted) in [(true, true), (false, false)] {
            let server = tower::service_fn(move |_: Request<kube::client::Body>| async move {
                let parts = [Ok("{\"type\":\"BOOK"), Err(io::Error::from(io::ErrorKind::UnexpectedEof))];
                let parts = parts.into_iter().take(if broken { 2 } else { 0 });
                Ok::<_, Infallible>(Response::new(Body::from_stream(futures::stream::iter(parts))))
            });
            let metrics = Arc::new(Metrics::new());
            let client = ClientBuilder::new(server, "ns").with_layer(&CountCuts::new(Arc::clone(&metrics))).build();
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
