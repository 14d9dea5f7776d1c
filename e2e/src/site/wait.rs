//! Waiting for objects, by watching them; the error says what they were last seen to be.

use std::fmt::{Debug, Display};
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// It did not happen in time.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An object.
    #[error("{what}: not within {} s; {name} was last seen as {seen}", limit.as_secs())]
    Late {
        /// What was waited for.
        what: String,
        /// The object's name.
        name: String,
        /// How long.
        limit: Duration,
        /// Its last status.
        seen: String,
    },
    /// Something that is asked for again and again.
    #[error("{what}: not within {} s; the last answer was {answer}", limit.as_secs())]
    Never {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
        /// The last answer.
        answer: String,
    },
    /// Something of many parts, of which no further one came to its end.
    #[error("{what}: no further one within {} s; {left} are left: {answer}", standstill.as_secs())]
    Stuck {
        /// What was waited for.
        what: String,
        /// How long nothing moved.
        standstill: Duration,
        /// How many are left.
        left: usize,
        /// The last answer.
        answer: String,
    },
}

/// Watches an object until something holds of it.
///
/// # Errors
/// When it does not in time.
pub async fn until<K>(api: &Api<K>, name: &str, what: &str, limit: Duration, holds: impl Fn(&K) -> bool) -> Result<K, Error>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize + Send + 'static,
{
    let mut last = None;
    let found = watched(api, name, &mut last, |object: Option<&K>| object.is_some_and(&holds));
    if let Ok(Some(object)) = tokio::time::timeout(limit, found).await {
        return Ok(object);
    }
    Err(Error::Late { what: what.to_owned(), name: name.to_owned(), limit, seen: describe(last.as_ref()) })
}

/// Waits until an object is gone.
///
/// # Errors
/// When it is not in time.
pub async fn gone<K>(api: &Api<K>, name: &str, limit: Duration) -> Result<(), Error>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize + Send + 'static,
{
    let mut last = None;
    let found = watched(api, name, &mut last, |object: Option<&K>| object.is_none());
    if tokio::time::timeout(limit, found).await.is_ok() {
        return Ok(());
    }
    Err(Error::Late { what: "to be gone".to_owned(), name: name.to_owned(), limit, seen: describe(last.as_ref()) })
}

async fn watched<K>(api: &Api<K>, name: &str, last: &mut Option<K>, holds: impl Fn(Option<&K>) -> bool) -> Option<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut seen = std::pin::pin!(watch_object(api.clone(), name).default_backoff());
    while let Some(event) = seen.next().await {
        // A watch that broke is resumed by the next poll.
        if let Ok(object) = event {
            let done = holds(object.as_ref());
            last.clone_from(&object);
            if done {
                return object;
            }
        }
    }
    None
}

/// The status of an object, or what there is of it.
fn describe(object: Option<&impl Serialize>) -> String {
    let Some(object) = object.and_then(|object| serde_json::to_value(object).ok()) else {
        return "missing".to_owned();
    };
    let status = object.get("status").unwrap_or(&object);
    status.to_string().chars().take(3000).collect()
}

/// Asks every so often until the answer is good, where nothing announces that it is.
///
/// # Errors
/// When it is not in time.
pub async fn ask<T, E: Display>(what: &str, limit: Duration, mut question: impl AsyncFnMut() -> Result<T, E>) -> Result<T, Error> {
    const EVERY: Duration = Duration::from_millis(200);
    let begun = Instant::now();
    loop {
        match question().await {
            Ok(answer) => return Ok(answer),
            Err(answer) if begun.elapsed() > limit => {
                return Err(Error::Never { what: what.to_owned(), limit, answer: answer.to_string() });
            }
            Err(_) => tokio::time::sleep(EVERY).await,
        }
    }
}

/// Asks every second how many are left, and what there is to say of them, until none is. How long many take is a matter of the machine:
/// what they may not is to stand still for so long.
///
/// # Errors
/// When no further one comes to its end for so long, or the question can't be answered for so long.
pub async fn none_left<E: Display>(
    what: &str,
    standstill: Duration,
    mut question: impl AsyncFnMut() -> Result<(usize, String), E>,
) -> Result<(), Error> {
    const EVERY: Duration = Duration::from_secs(1);
    let (mut fewest, mut since) = (usize::MAX, Instant::now());
    loop {
        let answer = match question().await {
            Ok((0, _)) => return Ok(()),
            Ok((left, answer)) => {
                if left < fewest {
                    (fewest, since) = (left, Instant::now());
                }
                answer
            }
            Err(error) => error.to_string(),
        };
        if since.elapsed() > standstill {
            return Err(Error::Stuck { what: what.to_owned(), standstill, left: fewest, answer });
        }
        tokio::time::sleep(EVERY).await;
    }
}
