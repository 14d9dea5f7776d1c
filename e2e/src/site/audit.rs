//! The audit log of our own cluster: who asked what.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

use super::{Outcome, Story, wait};
use crate::cluster::files;

/// How long nothing is asked by one that has come to rest.
const QUIET: Duration = Duration::from_secs(3);
/// How long it may take until it has.
const AT_REST: Duration = Duration::from_secs(20);

/// The log from a moment on.
#[derive(Clone, Debug)]
pub struct Log {
    file: PathBuf,
    from: u64,
}

/// A request, as the log tells it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// What was asked for.
    pub verb: String,
    /// How far it was: a watch is told when it starts and when it ends.
    pub stage: String,
    /// When it came.
    #[serde(rename = "requestReceivedTimestamp")]
    pub at: Timestamp,
    /// When this stage was reached: the answer was given.
    #[serde(rename = "stageTimestamp")]
    pub done: Timestamp,
    /// Path and query.
    #[serde(rename = "requestURI", default)]
    pub uri: String,
    #[serde(default)]
    user: User,
    /// About what.
    #[serde(default)]
    pub object_ref: Object,
    #[serde(default)]
    response_status: Answer,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct User {
    #[serde(default)]
    username: String,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

/// What a request is about.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// Such as `pods`.
    #[serde(default)]
    pub resource: String,
    /// Such as `status`.
    #[serde(default)]
    pub subresource: String,
    /// Its namespace.
    #[serde(default)]
    pub namespace: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Answer {
    #[serde(default)]
    code: u16,
}

impl Request {
    /// Who sent it.
    pub fn user(&self) -> &str {
        &self.user.username
    }

    /// About which object.
    pub fn object(&self) -> &Object {
        &self.object_ref
    }

    /// The pod that sent it: its token says so.
    pub fn pod(&self) -> &str {
        self.user.extra.get("authentication.kubernetes.io/pod-name").and_then(|names| names.first()).map_or("", String::as_str)
    }

    /// Whether it is over, and neither keeps a lease nor a watch.
    fn counts(&self) -> bool {
        self.stage != "ResponseStarted" && self.verb != "watch" && self.object_ref.resource != "leases"
    }

    /// Whether it changes something.
    pub fn writes(&self) -> bool {
        !["get", "list", "watch"].contains(&self.verb.as_str())
    }

    /// Whether it made something.
    pub fn created(&self) -> bool {
        self.response_status.code == 201
    }

    /// Whether it was granted.
    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.response_status.code)
    }

    /// Whether it was refused for lack of a permission.
    pub fn is_forbidden(&self) -> bool {
        self.response_status.code == 403
    }

    /// Verb and resource, as in `create pods`.
    pub fn what(&self) -> String {
        let Object { resource, subresource, .. } = &self.object_ref;
        let slash = if subresource.is_empty() { "" } else { "/" };
        format!("{} {resource}{slash}{subresource}", self.verb)
    }
}

impl Log {
    /// The log from now on; none on clusters that are not ours.
    pub fn from_now(story: &Story) -> Option<Self> {
        let file = story.site.own.as_ref()?.place().logs().join("audit.log");
        Some(Self::at(file))
    }

    /// This log, from now on.
    pub fn at(file: PathBuf) -> Self {
        let from = file.metadata().map_or(0, |metadata| metadata.len());
        Self { file, from }
    }

    /// What this user asked since, without keeping leases and watches.
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn requests(&self, user: &str) -> Result<Vec<Request>, files::Error> {
        self.all_where(|request| request.user.username == user && request.counts())
    }

    /// What this user asked since to keep leases, or to get them.
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn of_leases(&self, user: &str) -> Result<Vec<Request>, files::Error> {
        self.all_where(|request| request.user.username == user && request.object_ref.resource == "leases")
    }

    fn all_where(&self, is: impl Fn(&Request) -> bool) -> Result<Vec<Request>, files::Error> {
        // The last line may be half written.
        let text = self.text()?;
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(is).collect())
    }

    /// What everybody asked since, without keeping leases and watches; the next call begins where this one ended.
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn news(&mut self) -> Result<Vec<Request>, files::Error> {
        let text = self.text()?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.from += whole as u64;
        let lines = text.get(..whole).unwrap_or_default().lines();
        Ok(lines.filter_map(|line| serde_json::from_str(line).ok()).filter(Request::counts).collect())
    }

    fn text(&self) -> Result<String, files::Error> {
        let read = || {
            let mut file = File::open(&self.file)?;
            file.seek(SeekFrom::Start(self.from))?;
            let mut text = String::new();
            file.read_to_string(&mut text).map(|_| text)
        };
        read().map_err(|error| files::Error::new("read", &self.file, error))
    }
}

/// What this user asks in `time` once it has come to rest; none on clusters that are not ours. The status says that all is well
/// a moment before what is done is tidied up, so the time does not begin with it; one that never is quiet never comes to rest.
///
/// # Errors
/// When it does not come to rest, or the log can't be read.
pub async fn idle(story: &Story, user: &str, time: Duration) -> Outcome<Option<BTreeMap<String, usize>>> {
    let Some(mut log) = Log::from_now(story) else {
        return Ok(None);
    };
    let mut since = Instant::now();
    let quiet = async || {
        let asked: Vec<Request> =
            log.news().map_err(|error| error.to_string())?.into_iter().filter(|request| request.user() == user).collect();
        if !asked.is_empty() {
            since = Instant::now();
        }
        if since.elapsed() >= QUIET { Ok(()) } else { Err(format!("{:?}", count(&asked, Request::what))) }
    };
    wait::ask(&format!("{user} to come to rest"), AT_REST, quiet).await?;
    // The time itself is what is measured.
    tokio::time::sleep(time).await;
    Ok(Some(count(&log.requests(user)?, Request::what)))
}

/// Numbers of requests by what `key` says of each.
pub fn count(requests: &[Request], key: impl Fn(&Request) -> String) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        *counts.entry(key(request)).or_default() += 1;
    }
    counts
}

/// Such counts on one line.
pub fn told(counts: &BTreeMap<String, usize>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    counts.iter().map(|(what, number)| format!("{number} {what}")).collect::<Vec<_>>().join(", ")
}
