//! Counts the requests that a Kubernetes client sends, the figure that shows whether an idle operator is idle, and its watches that break.
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{Method, Request, Response},
};
use tower::{BoxError, Layer, Service};

use super::{cuts, metrics::Metrics};

/// A layer for `kube::client::ClientBuilder::with_layer`.
#[derive(Debug, Clone)]
pub struct CountRequests(Arc<Metrics>);

impl CountRequests {
    /// Counts into `metrics`.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self(metrics)
    }
}

impl<S> Layer<S> for CountRequests {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, metrics: Arc::clone(&self.0) }
    }
}

/// A client's connection whose requests are counted.
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
        let verb = verb(&request);
        let watched = (verb == WATCH).then(|| cuts::kind(request.uri()));
        let metrics = Arc::clone(&self.metrics);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            metrics.request(verb, answer.as_ref().map_or(0, |response| response.status().as_u16()));
            answer.map(|answer| match watched {
                Some(kind) => cuts::counted(answer, kind, metrics),
                None => answer.map(Body::new),
            })
        })
    }
}

/// The verb of a watch.
const WATCH: &str = "watch";

/// As Kubernetes audit logs call it, as far as method and query tell (`get` includes `list`, `delete` includes `deletecollection`).
fn verb<A>(request: &Request<A>) -> &'static str {
    let watches = request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "watch=true"));
    match *request.method() {
        Method::GET if watches => WATCH,
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{
        Api,
        api::WatchParams,
        client::{Body as Sent, ClientBuilder},
    };
    use std::convert::Infallible;

    #[tokio::test]
    async fn requests_of_a_real_client_are_counted_by_verb_and_code() {
        let server = tower::service_fn(|_: Request<Sent>| async {
            let refusal = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"NotFound","code":404}"#;
            Ok::<_, Infallible>(Response::builder().status(404).body(Body::from(refusal.as_bytes().to_vec())).unwrap())
        });
        let metrics = Arc::new(Metrics::new());
        let client = ClientBuilder::new(server, "ns").with_layer(&CountRequests::new(Arc::clone(&metrics))).build();
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        assert!(maps.get_opt("a").await.unwrap().is_none());
        assert!(maps.watch(&WatchParams::default(), "1").await.is_err());
        let body = metrics.encode().unwrap();
        assert!(body.contains("api_requests_total{verb=\"get\",code=\"404\"} 1"), "{body}");
        assert!(body.contains("api_requests_total{verb=\"watch\",code=\"404\"} 1"), "{body}");
    }
}
