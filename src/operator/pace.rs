//! Watches that end as soon as they begin, as where something on the way cuts them: the watcher begins an ended one again at once, and would
//! do so as fast as connections can be made.
use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::http::Request;
use tokio::time::{Instant, sleep_until};
use tower::{Layer, Service};

/// So long after a watch of the same objects was begun another one may be.
const PAUSE: Duration = Duration::from_secs(1);

/// When the next watch of each path may begin.
type Begun = Arc<Mutex<HashMap<String, Instant>>>;

/// A layer for `kube::client::ClientBuilder::with_layer`.
#[derive(Debug, Clone, Default)]
pub struct Pace(Begun);

impl<S> Layer<S> for Pace {
    type Service = Paced<S>;

    fn layer(&self, inner: S) -> Paced<S> {
        Paced { inner, begun: Arc::clone(&self.0) }
    }
}

/// A client's connection on which watches begin one after the other.
#[derive(Debug, Clone)]
pub struct Paced<S> {
    inner: S,
    begun: Begun,
}

impl<S> Paced<S> {
    /// When a watch may begin that is wanted now.
    fn turn(&self, path: &str) -> Instant {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let turn = begun.get(path).map_or(now, |last| now.max(*last + PAUSE));
        begun.insert(path.to_owned(), turn);
        turn
    }
}

impl<S, A> Service<Request<A>> for Paced<S>
where
    S: Service<Request<A>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let watches = request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "watch=true"));
        if !watches {
            return Box::pin(self.inner.call(request));
        }
        let turn = self.turn(request.uri().path());
        // Nothing is sent before it is polled.
        let answer = self.inner.call(request);
        Box::pin(async move {
            sleep_until(turn).await;
            answer.await
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::http::Response;
    use k8s_openapi::api::core::v1::{ConfigMap, Service as KubeService};
    use kube::{
        Api,
        api::WatchParams,
        client::{Body, ClientBuilder},
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn watches_of_the_same_objects_begin_a_second_apart() {
        let server = tower::service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::from(Vec::new()))) });
        let client = ClientBuilder::new(server, "ns").with_layer(&Pace::default()).build();
        let (maps, services): (Api<ConfigMap>, Api<KubeService>) =
            (Api::default_namespaced(client.clone()), Api::default_namespaced(client));
        let begun = Instant::now();
        for _ in 0..3 {
            assert!(maps.watch(&WatchParams::default(), "1").await.is_ok());
        }
        assert_eq!(begun.elapsed(), 2 * PAUSE);
        assert!(services.watch(&WatchParams::default(), "1").await.is_ok());
        assert_eq!(begun.elapsed(), 2 * PAUSE, "others begin when they want");
        tokio::time::advance(2 * PAUSE).await;
        assert!(maps.watch(&WatchParams::default(), "1").await.is_ok());
        assert_eq!(begun.elapsed(), 4 * PAUSE, "one that lasted begins at once");
    }
}
