//! Requests that are never answered: the client would wait for ever, and so would the watch whose list or beginning it is.
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::http::{Request, Response};
use tower::{BoxError, Layer, Service};

/// So long an answer may take to begin. That of a watch begins at once; all else the API server itself gives up after this time.
const LIMIT: Duration = Duration::from_mins(1);

/// It did not begin in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", LIMIT.as_secs())]
struct Silence;

/// A layer for `kube::client::ClientBuilder::with_layer`.
#[derive(Debug, Clone, Copy)]
pub struct GiveUp;

impl<S> Layer<S> for GiveUp {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Limited<S> {
        Limited(inner)
    }
}

/// A client's connection whose answers have to begin in time.
#[derive(Debug, Clone)]
pub struct Limited<S>(S);

impl<S, A, B> Service<Request<A>> for Limited<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move { tokio::time::timeout(LIMIT, answer).await.map_err(|_elapsed| Silence)?.map_err(Into::into) })
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{
        Api,
        api::{ListParams, WatchParams},
        client::{Body, ClientBuilder},
    };
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_never_answered_gives_up() {
        let server = tower::service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, std::convert::Infallible>>());
        let maps: Api<ConfigMap> = Api::default_namespaced(ClientBuilder::new(server, "ns").with_layer(&GiveUp).build());
        let begun = Instant::now();
        let error = maps.list(&ListParams::default()).await.unwrap_err();
        assert!(super::super::telemetry::chain(&error).contains("no answer within 60 s"), "{error:?}");
        assert_eq!(begun.elapsed(), LIMIT);
        assert!(maps.watch(&WatchParams::default(), "1").await.is_err());
    }
}
