//! What was asked of the API server since a rig began, as its audit log tells.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;

use crate::site::Outcome;
use crate::site::audit::{Log, Request};

/// All requests, but for those that keep leases and watches.
pub struct Traffic {
    log: Log,
    requests: Vec<Request>,
}

/// Who asks nothing for so long has nothing left to do.
const QUIET: Duration = Duration::from_secs(3);

/// How often the log is read; more often would take from those who are measured.
const GLANCE: Duration = Duration::from_millis(250);

impl Traffic {
    /// From here on.
    pub fn of(log: Log) -> Self {
        Self { log, requests: Vec::new() }
    }

    /// Reads what came, and returns a mark for [`Self::since`].
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn mark(&mut self) -> Outcome<usize> {
        self.requests.extend(self.log.news()?);
        Ok(self.requests.len())
    }

    /// What was read after a mark.
    pub fn since(&self, mark: usize) -> &[Request] {
        self.requests.get(mark..).unwrap_or_default()
    }

    /// What this user asked after a mark.
    pub fn by(&self, user: &str, mark: usize) -> Vec<&Request> {
        self.since(mark).iter().filter(|request| request.user() == user).collect()
    }

    /// Waits until this many objects were made by this user after a mark.
    ///
    /// # Errors
    /// When that is not so in time.
    pub async fn until_asked(&mut self, user: &str, mark: usize, objects: usize, limit: Duration) -> Outcome {
        self.until(user, mark, objects, limit, Duration::ZERO).await
    }

    /// Waits until this user asks nothing more, and did something after a mark.
    ///
    /// # Errors
    /// When that is not so in time.
    pub async fn until_quiet(&mut self, user: &str, mark: usize, limit: Duration) -> Outcome {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            let before = self.mark()?;
            tokio::time::sleep(QUIET).await;
            if self.mark()? > mark && self.by(user, before).is_empty() && !self.by(user, mark).is_empty() {
                return Ok(());
            }
        }
        Err(format!("{user} still asks after {} s", limit.as_secs()).into())
    }

    /// Waits until this many objects were made by this user after a mark, and it asks nothing more.
    ///
    /// # Errors
    /// When that is not so in time.
    pub async fn until_made(&mut self, user: &str, mark: usize, objects: usize, limit: Duration) -> Outcome {
        self.until(user, mark, objects, limit, QUIET).await
    }

    async fn until(&mut self, user: &str, mark: usize, objects: usize, limit: Duration, quiet: Duration) -> Outcome {
        let begun = Instant::now();
        let (mut asked, mut last) = (0, Instant::now());
        loop {
            self.mark()?;
            let by = self.by(user, mark);
            if by.len() != asked {
                (asked, last) = (by.len(), Instant::now());
            }
            let made = made(by.into_iter()).count();
            if made >= objects && last.elapsed() >= quiet {
                return Ok(());
            }
            if begun.elapsed() > limit {
                return Err(format!("{user} made {made} of {objects} objects within {} s, and asked {asked} times", limit.as_secs()).into());
            }
            tokio::time::sleep(GLANCE).await;
        }
    }
}

/// Those that made an object of an instance: neither an event nor an instance.
pub fn made<'a>(requests: impl Iterator<Item = &'a Request>) -> impl Iterator<Item = &'a Request> {
    requests.filter(|request| {
        // A patch may have made it as well.
        request.created() && !["events", "dhis2instances"].contains(&request.object().resource.as_str())
    })
}

/// From the first request to the last answer, in seconds.
pub fn span<'a>(requests: impl Iterator<Item = &'a Request> + Clone) -> Option<f64> {
    let first = requests.clone().map(|request| request.at).min()?;
    let last = requests.map(|request| request.done).max()?;
    Some(last.duration_since(first).as_secs_f64())
}

/// For each instance that was made, the milliseconds until the last of its objects was.
pub fn latencies(requests: &[Request], user: &str) -> BTreeMap<String, f64> {
    let asked = requests.iter().filter(|request| request.verb == "create" && request.object().resource == "dhis2instances");
    let asked: BTreeMap<&str, Timestamp> = asked.map(|request| (request.object().name.as_str(), request.at)).collect();
    let mut last: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for request in made(requests.iter().filter(|request| request.user() == user)) {
        let name = request.object().name.split('-').next().unwrap_or_default();
        let done = last.entry(name).or_insert(request.done);
        *done = (*done).max(request.done);
    }
    let all = asked.into_iter().filter_map(|(name, at)| Some((name.to_owned(), last.get(name)?.duration_since(at).as_secs_f64() * 1000.0)));
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(user: &str, verb: &str, resource: &str, name: &str, at: u8) -> Request {
        let time = |second: u8| format!("2026-11-28T18:00:{second:02}Z");
        serde_json::from_value(json!({
            "verb": verb, "stage": "ResponseComplete", "requestReceivedTimestamp": time(at), "stageTimestamp": time(at + 1),
            "user": {"username": user}, "objectRef": {"resource": resource, "namespace": "crowd-00", "name": name},
            "responseStatus": {"code": 201}
        }))
        .unwrap()
    }

    #[test]
    fn an_instance_is_there_when_the_last_of_its_objects_is() {
        let requests = [
            request("admin", "create", "dhis2instances", "i00001", 1),
            request("admin", "create", "dhis2instances", "i00002", 1),
            request("operator", "create", "services", "i00001-pods", 2),
            request("operator", "create", "events", "i00001.1", 9),
            request("operator", "create", "jobs", "i00001-database-build", 5),
        ];
        assert_eq!(latencies(&requests, "operator"), [("i00001".to_owned(), 5000.0)].into());
        assert_eq!(span(made(requests.iter()).collect::<Vec<_>>().into_iter()), Some(4.0));
    }
}
