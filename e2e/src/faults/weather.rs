//! What befalls requests on their way, whichever they are: lists, watches, writes, renewals of a Lease.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use hyper::{Method, Request};
use serde_json::{Value, json};
use tokio::sync::watch;

/// A request as it is seen on its way.
#[derive(Clone, Debug)]
pub struct Asked {
    /// When it came.
    pub at: Instant,
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: String,
    /// What stands behind the question mark.
    pub query: String,
}

impl Asked {
    /// What the head of a request says.
    pub fn of<B>(request: &Request<B>) -> Self {
        let uri = request.uri();
        let query = uri.query().unwrap_or_default().to_owned();
        Self { at: Instant::now(), method: request.method().clone(), path: uri.path().to_owned(), query }
    }

    /// The part of the path behind the namespace: `configmaps/play`.
    pub fn object(&self) -> &str {
        let place = self.path.split_once("/namespaces/").and_then(|(_, rest)| rest.split_once('/'));
        place.map_or(self.path.as_str(), |(_, object)| object)
    }

    /// The kind of object, in the words of the API: `configmaps`.
    pub fn resource(&self) -> &str {
        self.object().split('/').next().unwrap_or_default()
    }

    /// Does it watch?
    pub fn is_watch(&self) -> bool {
        self.method == Method::GET && self.query.split('&').any(|part| part == "watch=true")
    }

    /// Does it list objects of a namespace?
    pub fn is_list(&self) -> bool {
        self.method == Method::GET && !self.is_watch() && !self.object().contains('/') && self.path.contains("/namespaces/")
    }

    /// Does it change anything?
    pub fn is_write(&self) -> bool {
        [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(&self.method)
    }

    /// Is it part of an election?
    pub fn is_election(&self) -> bool {
        self.resource() == "leases"
    }
}

/// An answer that the API server did not give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its HTTP status.
    pub code: u16,
    /// Value of `Retry-After`, where there is one.
    pub retry_after: Option<u32>,
    /// Its media type.
    pub media: &'static str,
    /// What it says.
    pub body: Bytes,
}

impl Answer {
    /// What Kubernetes answers when it refuses.
    pub fn refusal(code: u16, reason: &str, message: &str) -> Self {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "code": code, "reason": reason, "message": message,
        });
        Self { code, retry_after: None, media: "application/json", body: status.to_string().into() }
    }

    /// What something before the API server answers, which knows nothing of Kubernetes.
    pub fn page(code: u16, text: &'static str) -> Self {
        Self { code, retry_after: None, media: "text/html", body: Bytes::from_static(text.as_bytes()) }
    }

    /// A list that was there before.
    pub fn list(body: String) -> Self {
        Self { code: 200, retry_after: None, media: "application/json", body: body.into() }
    }

    /// To be tried again after so many seconds.
    #[must_use]
    pub fn later(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

/// Changes an object on its way.
pub type Touch = Arc<dyn Fn(&mut Value) + Send + Sync>;

/// Says something of one of the events of a watch.
pub type Choice = Arc<dyn Fn(&Value) -> bool + Send + Sync>;

/// What becomes of a watch.
#[derive(Clone)]
pub enum Bend {
    /// It ends after this time.
    Ends(Duration),
    /// It breaks in the middle of its next event, or after this time.
    Half(Duration),
    /// Only bookmarks pass.
    Bookmarks,
    /// Events of which this is true are swallowed.
    Without(Choice),
    /// After this time it says that its place is no longer known.
    Expires(Duration),
}

/// What befalls a request.
#[derive(Clone)]
pub enum Fall {
    /// Nothing.
    Pass,
    /// It takes so much longer.
    Slow(Duration),
    /// It is carried out at once, and its answer takes so much longer.
    Late(Duration),
    /// It is accepted and never answered.
    Silence,
    /// The connection breaks before it is sent on.
    Cut,
    /// It is carried out, and the connection breaks before the answer is back.
    Lost,
    /// The API server is not asked.
    Say(Answer),
    /// It is a list, and has so many objects a page.
    Paged(u32),
    /// It is a watch, and this becomes of it.
    Bent(Bend),
    /// Objects are changed on the way there, and on the way back.
    Touched(Touch, Touch),
}

/// Decides what befalls a request.
pub type Rule = Arc<dyn Fn(&Asked) -> Fall + Send + Sync>;

/// The weather of one proxy. Clones share one state.
#[derive(Clone)]
pub struct Weather {
    state: Arc<Mutex<State>>,
    cuts: watch::Sender<u64>,
}

struct State {
    rule: Rule,
    asked: VecDeque<(Asked, bool)>,
}

impl Weather {
    /// One in which nothing befalls anything.
    pub fn fair() -> Self {
        let state = State { rule: Arc::new(|_| Fall::Pass), asked: VecDeque::new() };
        Self { state: Arc::new(Mutex::new(state)), cuts: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this befalls requests. What befell those before goes on.
    pub fn turn(&self, rule: Rule) {
        self.lock().rule = rule;
    }

    /// From now on nothing does.
    pub fn clear(&self) {
        self.turn(Arc::new(|_| Fall::Pass));
    }

    /// Breaks the watches that are under way.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Tells a watch when it is broken.
    pub fn cuts(&self) -> watch::Receiver<u64> {
        self.cuts.subscribe()
    }

    /// What befalls this request. It is remembered.
    pub fn befalls(&self, asked: &Asked) -> Fall {
        let rule = Arc::clone(&self.lock().rule);
        // Without the lock: a rule may ask what was asked before.
        let fall = rule(asked);
        self.lock().asked.push_back((asked.clone(), !matches!(fall, Fall::Pass)));
        fall
    }

    /// All that was asked since this moment.
    pub fn since(&self, moment: Instant) -> Vec<Asked> {
        self.lock().asked.iter().filter(|(asked, _)| asked.at >= moment).map(|(asked, _)| asked.clone()).collect()
    }

    /// How many requests something befell since then.
    pub fn struck_since(&self, moment: Instant) -> usize {
        self.lock().asked.iter().filter(|(asked, struck)| *struck && asked.at >= moment).count()
    }
}

/// The most requests that came within this time.
pub fn busiest(asked: &[Asked], window: Duration) -> usize {
    let mut most = 0;
    let mut first = 0;
    for (last, request) in asked.iter().enumerate() {
        while asked.get(first).is_some_and(|early| request.at.saturating_duration_since(early.at) > window) {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(uri: &str) -> Asked {
        Asked::of(&Request::get(uri).body(()).unwrap())
    }

    #[test]
    fn a_request_is_known_by_its_head() {
        let list = asked("/api/v1/namespaces/run-1/configmaps?&limit=50");
        assert!(list.is_list() && !list.is_watch() && !list.is_write());
        assert_eq!((list.object(), list.resource()), ("configmaps", "configmaps"));
        let watch = asked("/apis/apps/v1/namespaces/run-1/statefulsets?&watch=true&timeoutSeconds=290");
        assert!(watch.is_watch() && !watch.is_list());
        let one = asked("/api/v1/namespaces/run-1/secrets/play-admin");
        assert!(!one.is_list() && one.resource() == "secrets");
        assert!(asked("/apis/coordination.k8s.io/v1/namespaces/run-1/leases/dhis2-operator").is_election());
    }

    #[test]
    fn the_busiest_time_is_found_wherever_it_is() {
        let begun = Instant::now();
        let at = |seconds: u64| Asked { at: begun + Duration::from_secs(seconds), ..asked("/") };
        let requests: Vec<Asked> = [0, 20, 21, 22, 29, 31, 60].map(at).into();
        assert_eq!(busiest(&requests, Duration::from_secs(10)), 4);
        assert_eq!(busiest(&[], Duration::from_secs(10)), 0);
    }
}
