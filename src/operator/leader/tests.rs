//! Replicas against an API server of a few lines, in paused time.
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use axum::{
    body::{Body as Answer, Bytes},
    http::{Method, Request, Response, StatusCode},
};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;

const TTL: Duration = Duration::from_secs(15);

/// Keeps one Lease and refuses writes that are not based on its newest version.
#[derive(Clone)]
struct Server {
    /// So long each answer takes.
    slow: Duration,
    lease: Arc<watch::Sender<Option<Value>>>,
    sent: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new() -> Self {
        Self { slow: Duration::ZERO, lease: Arc::new(watch::Sender::new(None)), sent: Arc::default() }
    }

    /// A client of this server; while `cut`, nothing is answered.
    fn client(&self, cut: &watch::Sender<bool>) -> Api<Lease> {
        let (server, cut) = (self.clone(), cut.subscribe());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (server, mut cut) = (server.clone(), cut.clone());
            async move {
                while *cut.borrow_and_update() {
                    cut.changed().await.unwrap();
                }
                sleep(server.slow).await;
                Ok::<_, Infallible>(server.answer(request).await)
            }
        });
        Api::namespaced(Client::new(service, "ns"), "ns")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Answer> {
        let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let method = request.method().clone();
        self.sent.lock().unwrap().push(if watches { "WATCH".into() } else { method.to_string() });
        if watches {
            return self.events();
        }
        let bytes = request.into_body().collect_bytes().await.unwrap();
        let current = self.lease.borrow().clone(); // no lock is held while the match writes
        match (method, current) {
            (Method::GET, Some(lease)) => answer(StatusCode::OK, &lease),
            (Method::POST, None) => self.store(&bytes),
            (Method::POST, Some(_)) => refuse(StatusCode::CONFLICT),
            (_, None) => refuse(StatusCode::NOT_FOUND),
            (_, Some(old)) => {
                let new: Value = serde_json::from_slice(&bytes).unwrap();
                let current = new["metadata"]["resourceVersion"] == old["metadata"]["resourceVersion"];
                if current { self.store(&bytes) } else { refuse(StatusCode::CONFLICT) }
            }
        }
    }

    fn store(&self, bytes: &Bytes) -> Response<Answer> {
        let lease = self.change(|_| serde_json::from_slice(bytes).unwrap());
        answer(StatusCode::OK, &lease)
    }

    /// Whoever writes, the version goes up.
    fn change(&self, change: impl FnOnce(Value) -> Value) -> Value {
        static VERSION: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        let mut new = change(self.lease.borrow().clone().unwrap_or_default());
        new["metadata"]["resourceVersion"] = json!(VERSION.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string());
        self.lease.send_replace(Some(new.clone()));
        new
    }

    fn events(&self) -> Response<Answer> {
        let changes = self.lease.subscribe();
        let stream = futures::stream::unfold(changes, |mut changes| async move {
            changes.changed().await.ok()?;
            let lease = changes.borrow_and_update().clone();
            let event = lease.map_or_else(
                || json!({ "type": "DELETED", "object": { "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {} } }),
                |lease| json!({ "type": "MODIFIED", "object": lease }),
            );
            Some((Ok::<_, Infallible>(Bytes::from(format!("{event}\n"))), changes))
        });
        Response::new(Answer::from_stream(stream))
    }

    fn sent(&self, verb: &str) -> usize {
        self.sent.lock().unwrap().iter().filter(|sent| *sent == verb).count()
    }
}

fn answer(status: StatusCode, body: &Value) -> Response<Answer> {
    Response::builder().status(status).body(Answer::from(body.to_string())).unwrap()
}

fn refuse(status: StatusCode) -> Response<Answer> {
    let code = status.as_u16();
    let reason = if code == 404 { "NotFound" } else { "Conflict" }; // kube goes by the reason
    answer(
        status,
        &json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason, "message": "" }),
    )
}

struct Replica {
    leadership: Leadership,
    cut: watch::Sender<bool>,
    resign: CancellationToken,
    task: JoinHandle<()>,
}

impl Replica {
    fn start(server: &Server, name: &str) -> Self {
        let (cut, resign) = (watch::Sender::new(false), CancellationToken::new());
        let (candidate, leadership) = Candidate::new(server.client(&cut), "operator", name, TTL, Readiness::new([], []));
        let task = tokio::spawn(candidate.run(resign.clone()));
        Self { leadership, cut, resign, task }
    }

    fn leads(&self) -> bool {
        self.leadership.still_leading()
    }

    async fn gained(&self) -> Duration {
        let began = Instant::now();
        let gained = timeout(Duration::from_mins(1), self.leadership.clone().gained()).await;
        gained.expect("leads within a minute");
        began.elapsed()
    }

    async fn lost(&self) -> Duration {
        let began = Instant::now();
        let lost = timeout(Duration::from_mins(1), self.leadership.clone().lost()).await;
        lost.expect("loses within a minute");
        began.elapsed()
    }
}

/// Two replicas of which the first leads.
async fn pair(server: &Server) -> (Replica, Replica) {
    let first = Replica::start(server, "first");
    first.gained().await;
    let second = Replica::start(server, "second");
    sleep(Duration::from_secs(1)).await;
    assert!(first.leads() && !second.leads());
    (first, second)
}

/// Lets time pass and sees that two never lead at once.
async fn pass(time: Duration, replicas: [&Replica; 2]) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        sleep(Duration::from_millis(250)).await;
        assert!(!replicas.iter().all(|replica| replica.leads()), "two lead");
    }
}

#[test]
fn a_claim_is_refused_only_by_a_valid_holder() {
    let now = Timestamp::UNIX_EPOCH;
    let held = claim(&LeaseSpec::default(), "a", TTL, Duration::ZERO, now).unwrap();
    assert_eq!((held.holder_identity.as_deref(), held.lease_duration_seconds, held.lease_transitions), (Some("a"), Some(15), Some(1)));
    assert!(claim(&held, "b", TTL, Duration::from_millis(14_999), now).is_none());
    let taken = claim(&held, "b", TTL, Duration::from_secs(15), now).unwrap();
    assert_eq!((taken.holder_identity.as_deref(), taken.lease_transitions), (Some("b"), Some(2)));
    let renewed = claim(&taken, "b", TTL, Duration::ZERO, Timestamp::from_second(9).unwrap()).unwrap();
    assert_eq!((renewed.acquire_time, renewed.lease_transitions), (taken.acquire_time, Some(2)));
    let free = LeaseSpec { holder_identity: None, ..held };
    assert!(claim(&free, "b", TTL, Duration::ZERO, now).is_some());
}

#[tokio::test(start_paused = true)]
async fn where_each_answer_takes_long_there_is_a_leader_and_it_stays() {
    let server = Server { slow: TTL / 8, ..Server::new() };
    let first = Replica::start(&server, "first");
    assert!(first.gained().await < TTL, "reading and writing take longer than one answer may");
    let second = Replica::start(&server, "second");
    for _ in 0..20 {
        sleep(TTL / 4).await;
        assert!(first.leads() && !second.leads());
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_that_start_together_one_leads() {
    let server = Server::new();
    let (first, second) = (Replica::start(&server, "first"), Replica::start(&server, "second"));
    pass(Duration::from_mins(2), [&first, &second]).await;
    assert!(first.leads() != second.leads());
}

#[tokio::test(start_paused = true)]
async fn an_idle_pair_sends_one_renewal_in_five_seconds() {
    let server = Server::new();
    let (first, second) = pair(&server).await;
    server.sent.lock().unwrap().clear();
    pass(Duration::from_mins(10), [&first, &second]).await;
    assert!(first.leads());
    assert!((118..=121).contains(&server.sent("PUT")), "{}", server.sent("PUT"));
    let all = server.sent.lock().unwrap().len();
    assert_eq!(all, server.sent("PUT"), "nothing but renewals");
}

#[tokio::test(start_paused = true)]
async fn one_that_resigns_is_followed_at_once() {
    let server = Server::new();
    let (first, second) = pair(&server).await;
    first.resign.cancel();
    assert!(second.gained().await < Duration::from_millis(100));
    first.task.await.unwrap();
    assert!(!first.leadership.still_leading());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_cut_off_stops_before_another_starts() {
    let server = Server::new();
    let (first, second) = pair(&server).await;
    first.cut.send_replace(true);
    let (lost, gained) = tokio::join!(first.lost(), second.gained());
    assert!(lost <= Duration::from_secs(10), "{lost:?}");
    assert!(gained >= Duration::from_secs(10) && gained <= Duration::from_millis(15_500), "{gained:?}");
    first.cut.send_replace(false);
    pass(Duration::from_mins(1), [&first, &second]).await;
    assert!(second.leads());
}

#[tokio::test(start_paused = true)]
async fn no_cut_of_any_length_at_any_moment_makes_two_leaders() {
    for (start, length) in (0..5).flat_map(|start| (1..20).step_by(3).map(move |length| (start, length))) {
        let server = Server::new();
        let (first, second) = pair(&server).await;
        pass(Duration::from_millis(1_300 * start), [&first, &second]).await;
        first.cut.send_replace(true);
        pass(Duration::from_millis(1_100 * length), [&first, &second]).await;
        first.cut.send_replace(false);
        second.cut.send_replace(true);
        pass(Duration::from_millis(900 * length), [&first, &second]).await;
        second.cut.send_replace(false);
        pass(Duration::from_secs(20), [&first, &second]).await;
        assert!(first.leads() || second.leads(), "cut at {start} for {length}: nobody leads");
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_cut_costs_no_leadership() {
    let server = Server::new();
    let (first, second) = pair(&server).await;
    first.cut.send_replace(true);
    pass(Duration::from_secs(5), [&first, &second]).await;
    first.cut.send_replace(false);
    for _ in 0..600 {
        sleep(Duration::from_millis(50)).await;
        assert!(first.leads() && !second.leads());
    }
}

#[tokio::test(start_paused = true)]
async fn a_label_put_on_the_lease_costs_no_leadership() {
    let server = Server::new();
    let (first, second) = pair(&server).await;
    for _ in 0..10 {
        server.change(|mut lease| {
            lease["metadata"]["labels"] = json!({ "seen": "yes" });
            lease
        });
        pass(Duration::from_secs(7), [&first, &second]).await;
        assert!(first.leads());
    }
    assert_eq!(server.lease.borrow().as_ref().unwrap()["metadata"]["labels"]["seen"], "yes");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_made_again_by_the_leader() {
    let server = Server::new();
    let (first, second) = pair(&server).await;
    server.lease.send_replace(None);
    pass(Duration::from_mins(1), [&first, &second]).await;
    assert!(first.leads());
}

#[tokio::test(start_paused = true)]
async fn a_lease_given_to_somebody_else_ends_the_leadership() {
    let server = Server::new();
    let first = Replica::start(&server, "first");
    first.gained().await;
    server.change(|mut lease| {
        lease["spec"]["holderIdentity"] = json!("stranger");
        lease
    });
    assert!(first.lost().await <= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_leader_leads_again_without_waiting() {
    let server = Server::new();
    let (first, second) = pair(&server).await;
    first.task.abort();
    let again = Replica::start(&server, "first");
    assert!(again.gained().await < Duration::from_secs(1));
    pass(Duration::from_mins(1), [&again, &second]).await;
}
