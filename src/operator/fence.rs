//! No write is sent by who leads no longer. It is asked before each, in many places; but between that and the moment at which the request
//! is on its way lies a connection that has to be made, and a process may be stopped in the middle of that for as long as you like.
use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::http::{Method, Request, Response};
use kube::{Client, client::Body};
use tower::Service;

use super::leader::Leadership;

/// Another replica may lead.
#[derive(Debug, thiserror::Error)]
#[error("not the leader any more: the request was not sent")]
struct Lost;

/// A client whose writes go no step further once this replica leads no longer. Its connections are those of `client`.
pub fn fenced(client: Client, leadership: Leadership) -> Client {
    let namespace = client.default_namespace().to_owned();
    Client::new(Fence { client, leadership }, namespace)
}

#[derive(Clone)]
struct Fence {
    client: Client,
    leadership: Leadership,
}

impl Service<Request<Body>> for Fence {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, kube::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), kube::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (client, leadership) = (self.client.clone(), self.leadership.clone());
        let writes = request.method() != Method::GET;
        let mut sent = Box::pin(async move { client.send(request).await });
        // Dropped, a request that has no connection yet is never sent.
        Box::pin(std::future::poll_fn(move |context| {
            if writes && !leadership.still_leading() {
                return Poll::Ready(Err(kube::Error::Service(Lost.into())));
            }
            sent.as_mut().poll(context)
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{Api, api::PostParams};
    use tokio::sync::Notify;

    use super::*;

    /// A server to which a connection takes until it is told, and how many requests came through.
    fn server() -> (Client, Arc<Notify>, Arc<AtomicUsize>) {
        let (connected, count) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let (connecting, counted) = (connected.clone(), count.clone());
        let service = tower::service_fn(move |_: Request<Body>| {
            let (connecting, counted) = (connecting.clone(), counted.clone());
            async move {
                connecting.notified().await;
                counted.fetch_add(1, Ordering::Relaxed);
                Ok::<_, std::convert::Infallible>(Response::new(Body::from(br#"{"metadata":{"name":"a"}}"#.to_vec())))
            }
        });
        (Client::new(service, "ns"), connected, count)
    }

    #[tokio::test]
    async fn a_write_that_waits_for_its_connection_is_not_sent_once_another_one_leads() {
        for (loses, writes) in [(false, true), (true, true), (true, false)] {
            let (client, connected, count) = server();
            let (term, leadership) = Leadership::until_told();
            let maps: Api<ConfigMap> = Api::default_namespaced(fenced(client, leadership));
            let asked = tokio::spawn(async move {
                let map = ConfigMap::default();
                if writes { maps.create(&PostParams::default(), &map).await } else { maps.get("a").await }
            });
            tokio::task::yield_now().await;
            if loses {
                term.send_replace(None);
            }
            connected.notify_one();
            let answer = asked.await.unwrap();
            assert_eq!((answer.is_ok(), count.load(Ordering::Relaxed)), if loses && writes { (false, 0) } else { (true, 1) });
        }
    }
}
