//! Instances in whose way an object of somebody else is. Another try finds the same for as long as that object, the resource and its
//! children are as they were: then that object alone is asked for, and nothing is told anew.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::{Api, Client, api::DynamicObject};
use tokio::time::Instant;

use super::{kind::Kind, observe::Observed, world::Key};

/// After so long all is looked at again: a backup may have become late meanwhile, which nothing but a whole pass tells.
const WHOLE: Duration = Duration::from_hours(1);

/// The object that is in the way, as it was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: Arc<str>,
    /// Its resourceVersion.
    pub version: u64,
    /// Did a deleted instance of the same name leave it?
    pub retained: bool,
}

impl Obstacle {
    /// Is it there, as it was?
    ///
    /// # Errors
    /// What the API server says.
    pub async fn stands(&self, client: &Client, namespace: &str) -> Result<bool, kube::Error> {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &self.kind.resource());
        let there = api.get_metadata_opt(&self.name).await?;
        Ok(there.is_some_and(|there| {
            let version = there.metadata.resource_version.and_then(|version| version.parse().ok());
            there.metadata.uid.as_deref() == Some(&*self.uid) && version == Some(self.version)
        }))
    }
}

/// What an instance was like when it was blocked.
#[derive(Debug)]
struct Try {
    at: Instant,
    version: Option<String>,
    seen: Observed,
    obstacle: Obstacle,
}

/// The blocked instances.
#[derive(Debug, Default)]
pub struct Blocked(Mutex<HashMap<Key, Try>>);

impl Blocked {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Try>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was in the way of an instance of this version, of which the watches told the same.
    pub fn by(&self, key: &Key, version: Option<&str>, seen: &Observed) -> Option<Obstacle> {
        let tries = self.lock();
        let same = |last: &&Try| last.at.elapsed() < WHOLE && last.version.as_deref() == version && last.seen == *seen;
        let last = tries.get(key).filter(same)?;
        Some(last.obstacle.clone())
    }

    /// Something is in the way, and was found in a pass that began with this version and this view.
    pub fn found(&self, key: &Key, version: Option<String>, seen: Observed, obstacle: Obstacle) {
        self.lock().insert(key.clone(), Try { at: Instant::now(), version, seen, obstacle });
    }

    /// Nothing is in the way, as far as is known.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::slot::{Facts, fixture::slot};

    #[test]
    fn whatever_changes_is_a_reason_for_another_try() {
        let (blocked, key) = (Blocked::default(), Key { namespace: "ns".into(), name: "play".into() });
        let obstacle = Obstacle { kind: Kind::Service, name: "play".into(), uid: "theirs".into(), version: 7, retained: false };
        let mut seen = Observed::default();
        seen.children.insert(Kind::ConfigMap, "play", slot("1", Facts::Plain));
        blocked.found(&key, Some("5".into()), seen.clone(), obstacle.clone());
        assert_eq!(blocked.by(&key, Some("5"), &seen.clone()), Some(obstacle));
        assert_eq!(blocked.by(&key, Some("6"), &seen), None, "the resource has changed");
        let mut drifted = seen.clone();
        drifted.children.insert(Kind::ConfigMap, "play", slot("2", Facts::Plain));
        assert_eq!(blocked.by(&key, Some("5"), &drifted), None, "a child is another one");
        let other = Key { name: "other".into(), ..key.clone() };
        assert_eq!(blocked.by(&other, Some("5"), &seen), None);
        blocked.forget(&key);
        assert_eq!(blocked.by(&key, Some("5"), &seen), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_only_time_tells_is_told_within_the_hour() {
        let (blocked, key) = (Blocked::default(), Key { namespace: "ns".into(), name: "play".into() });
        let obstacle = Obstacle { kind: Kind::Service, name: "play".into(), uid: "theirs".into(), version: 7, retained: false };
        blocked.found(&key, None, Observed::default(), obstacle);
        tokio::time::advance(Duration::from_secs(3599)).await;
        assert!(blocked.by(&key, None, &Observed::default()).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(blocked.by(&key, None, &Observed::default()).is_none());
    }

    #[tokio::test]
    async fn it_stands_as_long_as_it_is_the_same() {
        let answer = |code: u16, body: String| {
            let server = tower::service_fn(move |request: axum::http::Request<kube::client::Body>| {
                assert!(request.uri().path().ends_with("/services/play"), "{}", request.uri());
                let body = body.clone();
                async move {
                    let answer = axum::http::Response::builder().status(code).header("content-type", "application/json");
                    Ok::<_, std::convert::Infallible>(answer.body(axum::body::Body::from(body)).unwrap())
                }
            });
            Client::new(server, "ns")
        };
        let there = |uid: &str, version: &str| {
            let metadata = serde_json::json!({"name": "play", "uid": uid, "resourceVersion": version});
            answer(
                200,
                serde_json::json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata}).to_string(),
            )
        };
        let gone = r#"{"kind":"Status","status":"Failure","code":404,"reason":"NotFound","message":"not found"}"#;
        let obstacle = Obstacle { kind: Kind::Service, name: "play".into(), uid: "theirs".into(), version: 7, retained: false };
        for (client, stands) in [
            (there("theirs", "7"), true),
            (there("theirs", "8"), false),
            (there("another", "7"), false),
            (answer(404, gone.to_owned()), false),
        ] {
            assert_eq!(obstacle.stands(&client, "ns").await.unwrap(), stands);
        }
    }
}
