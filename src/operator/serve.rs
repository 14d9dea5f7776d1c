//! `/livez`, `/readyz` and `/metrics` over plain HTTP.
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error as StdError,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use super::metrics::{MEDIA_TYPE, Metrics};

/// Why the operator cannot be asked how it is.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken or is none of this machine's.
    #[error("listen on {address}; choose another address with --listen")]
    Listen {
        /// As given by `--listen`.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The listener broke.
    #[error("serve probes and metrics")]
    Serve(#[source] io::Error),
}

/// What stands between this replica and its work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Waiting {
    crds: BTreeSet<String>,
    watches: BTreeSet<String>,
    leads: bool,
    /// What the API server said when it refused a request that the work can't do without, by what the request is for, and when it said so.
    refused: BTreeMap<String, (Instant, String)>,
}

/// How long a refusal counts. The request is sent again within half of it, and nothing tells that a watch is granted but what it brings.
const REFUSED: Duration = Duration::from_mins(1);

/// Told by the parts that start up, asked by `/readyz`. Clones share one state.
///
/// Ready means: the cluster serves every kind of ours, and this replica either stands by or has its watches in step. A standby is ready:
/// it does what it is for. One that lacks a right is not.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<watch::Sender<Waiting>>);

impl Readiness {
    /// Waits for each CRD (by its full name, `dhis2instances.dhis2.hosting`) and, while leading, for each watch (by its kind).
    pub fn new<'a>(crds: impl IntoIterator<Item = &'a str>, watches: impl IntoIterator<Item = &'a str>) -> Self {
        let owned = |names: &str| names.to_owned();
        let (crds, watches) = (crds.into_iter().map(owned).collect(), watches.into_iter().map(owned).collect());
        let waiting = Waiting { crds, watches, ..Waiting::default() };
        Self(Arc::new(watch::Sender::new(waiting)))
    }

    /// The cluster serves the kind of this CRD.
    pub fn served(&self, crd: &str) {
        self.0.send_if_modified(|waiting| waiting.crds.remove(crd));
    }

    /// The cluster does not serve the kind of this CRD (any more).
    pub fn missing(&self, crd: &str) {
        self.0.send_if_modified(|waiting| waiting.crds.insert(crd.to_owned()));
    }

    /// The first list of this watch is in.
    pub fn synced(&self, watch: &str) {
        self.0.send_if_modified(|waiting| waiting.watches.remove(watch));
    }

    /// A request for `what` failed. Only a lack of rights is told: all else passes by itself.
    pub fn failed(&self, what: &str, error: &(dyn StdError + 'static)) {
        let mut causes = std::iter::successors(Some(error), |&error| error.source());
        let refusal = causes.find_map(|cause| match cause.downcast_ref() {
            Some(kube::Error::Api(status)) if status.is_forbidden() => Some(status.message.clone()),
            _ => None,
        });
        if let Some(refusal) = refusal {
            self.0.send_modify(|waiting| drop(waiting.refused.insert(what.to_owned(), (Instant::now(), refusal))));
        }
    }

    /// A request for `what` was granted.
    pub fn granted(&self, what: &str) {
        self.0.send_if_modified(|waiting| waiting.refused.remove(what).is_some());
    }

    /// Whether this replica leads; one that does not has no watches to wait for.
    pub fn lead(&self, leads: bool) {
        self.0.send_if_modified(|waiting| std::mem::replace(&mut waiting.leads, leads) != leads);
    }

    /// Comes back once the cluster serves every kind of ours.
    pub async fn until_served(&self) {
        // The sender lives in `self`, so the wait cannot end with an error.
        let _ = self.0.subscribe().wait_for(|waiting| waiting.crds.is_empty()).await;
    }

    /// Comes back once the first list of this watch is in.
    pub async fn until_synced_with(&self, watch: &str) {
        // The sender lives in `self`, so the wait cannot end with an error.
        let _ = self.0.subscribe().wait_for(|waiting| !waiting.watches.contains(watch)).await;
    }

    /// Comes back once the first lists of all watches are in.
    pub async fn until_synced(&self) {
        // The sender lives in `self`, so the wait cannot end with an error.
        let _ = self.0.subscribe().wait_for(|waiting| waiting.watches.is_empty()).await;
    }

    /// The answer of `/readyz`.
    fn answer(&self) -> (StatusCode, String) {
        let Waiting { crds, watches, leads, refused } = self.0.borrow().clone();
        let refused = refused.into_values().filter(|(at, _)| at.elapsed() < REFUSED);
        let mut lines: Vec<String> = refused.map(|(_, refusal)| format!("a right is missing: {refusal}")).collect();
        lines.extend(crds.iter().map(|crd| format!("waiting for CustomResourceDefinition {crd}: install the chart dhis2-operator-crds")));
        if leads {
            lines.extend(watches.iter().map(|watch| format!("waiting for the first list of {watch}")));
        }
        if lines.is_empty() {
            return (StatusCode::OK, format!("ready: {}\n", if leads { "leading" } else { "standing by" }));
        }
        lines.push(String::new()); // ends the last line
        (StatusCode::SERVICE_UNAVAILABLE, lines.join("\n"))
    }
}

/// Takes the address of `--listen`.
///
/// # Errors
/// An address that is taken, or is none of this machine's.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

/// Answers until `stop`, then ends the requests under way.
///
/// # Errors
/// A listener that broke.
pub async fn serve(listener: TcpListener, readiness: Readiness, metrics: Arc<Metrics>, stop: CancellationToken) -> Result<(), Error> {
    axum::serve(listener, router(readiness, metrics)).with_graceful_shutdown(stop.cancelled_owned()).await.map_err(Error::Serve)
}

fn router(readiness: Readiness, metrics: Arc<Metrics>) -> Router {
    let ready = Router::new().route("/readyz", get(|State(readiness): State<Readiness>| async move { readiness.answer() }));
    let metrics_route = Router::new().route("/metrics", get(|State(metrics): State<Arc<Metrics>>| async move { exposition(&metrics) }));
    Router::new().route("/livez", get(|| async { "alive\n" })).merge(ready.with_state(readiness)).merge(metrics_route.with_state(metrics))
}

fn exposition(metrics: &Metrics) -> Response {
    match metrics.encode() {
        Ok(body) => ([(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("write metrics: {error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{
        body::{Body, to_bytes},
        http::Request,
    };
    use std::time::Duration;
    use tower::ServiceExt;

    const CRD: &str = "dhis2instances.dhis2.hosting";

    async fn get(readiness: &Readiness, path: &str) -> (u16, String, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router(readiness.clone(), Arc::new(Metrics::new())).oneshot(request).await.unwrap();
        let media = response.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        let (status, body) = (response.status().as_u16(), to_bytes(response.into_body(), usize::MAX).await.unwrap());
        (status, media, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn it_names_the_crd_that_is_missing_and_is_alive_meanwhile() {
        let readiness = Readiness::new([CRD], ["StatefulSet"]);
        let (status, _, body) = get(&readiness, "/readyz").await;
        assert_eq!(status, 503);
        assert!(body.contains(CRD) && !body.contains("StatefulSet"), "{body}");
        assert_eq!(get(&readiness, "/livez").await.0, 200);
    }

    #[tokio::test]
    async fn a_standby_is_ready_and_a_leader_waits_for_its_watches() {
        let readiness = Readiness::new([CRD], ["StatefulSet"]);
        readiness.served(CRD);
        assert_eq!(get(&readiness, "/readyz").await.0, 200);
        readiness.lead(true);
        let (status, _, body) = get(&readiness, "/readyz").await;
        assert_eq!((status, body.as_str()), (503, "waiting for the first list of StatefulSet\n"));
        readiness.synced("StatefulSet");
        assert_eq!(get(&readiness, "/readyz").await.2, "ready: leading\n");
    }

    #[tokio::test]
    async fn a_crd_that_goes_makes_it_unready_again() {
        let readiness = Readiness::new([CRD], []);
        let waits = readiness.clone();
        let waiter = tokio::spawn(async move { waits.until_served().await });
        readiness.served(CRD);
        tokio::time::timeout(Duration::from_secs(5), waiter).await.unwrap().unwrap();
        readiness.missing(CRD);
        assert_eq!(get(&readiness, "/readyz").await.0, 503);
    }

    #[tokio::test]
    async fn a_right_that_is_missing_is_named_until_it_is_given_and_nothing_else_that_fails() {
        let readiness = Readiness::new([], []);
        let refusal = |reason| kube::Error::Api(kube::core::Status::failure("cannot watch pods", reason).boxed());
        readiness.failed("Pod", &refusal("Timeout"));
        assert_eq!(get(&readiness, "/readyz").await.0, 200);
        readiness.failed("Pod", &kube::runtime::watcher::Error::WatchStartFailed(refusal("Forbidden")));
        let (status, _, body) = get(&readiness, "/readyz").await;
        assert_eq!((status, body.as_str()), (503, "a right is missing: cannot watch pods\n"));
        readiness.granted("Pod");
        assert_eq!(get(&readiness, "/readyz").await.0, 200);
    }

    #[tokio::test]
    async fn metrics_are_open_metrics() {
        let (status, media, body) = get(&Readiness::new([], []), "/metrics").await;
        assert_eq!((status, media.as_str()), (200, MEDIA_TYPE));
        assert!(body.ends_with("# EOF\n"), "{body}");
    }

    #[tokio::test]
    async fn a_taken_address_is_named_and_stop_ends_the_server() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let error = bind(address).await.unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(listener, Readiness::new([], []), Arc::new(Metrics::new()), stop.clone()));
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), server).await.unwrap().unwrap().unwrap();
    }
}
