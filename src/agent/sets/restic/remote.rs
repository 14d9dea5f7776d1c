//! A repository in a bucket: whether it is there, and ours; what it means that its server does not answer or refuses.

use std::time::{Duration, Instant};

use super::{Bucket, Error, Repository, Snapshot, messages};
use crate::agent::program;

/// For so long, at most, a server is looked for before anything is begun: whoever is told can do something about it.
const LOOK: Duration = Duration::from_mins(1);
/// What restic ends with where there is no repository (restic 0.18).
const NO_REPOSITORY: i32 = 10;

/// Who is about to write.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// Uid of the instance.
    pub instance: &'a str,
    /// Its namespace and name.
    pub name: &'a str,
    /// Whether it takes the place of a deleted one of this name.
    pub adopt: bool,
}

impl Owner<'_> {
    /// Who has written last, if that is somebody else. Snapshots that carry no set are people's own.
    fn rival(&self, snapshots: &[Snapshot]) -> Option<String> {
        let last = snapshots.iter().filter(|snapshot| snapshot.set().is_some()).max_by_key(|snapshot| snapshot.time)?;
        let uid = last.instance().unwrap_or_default();
        let ours = uid == self.instance || self.adopt && last.hostname == self.name;
        (!ours).then(|| format!("{}, uid {uid}", last.hostname))
    }
}

/// Opens the repository of an instance, or makes it where there is none, cut into the same pieces as `like`. Nothing is written to
/// another one's.
pub fn open(repository: &Repository, bucket: &Bucket, owner: &Owner<'_>, like: Option<&Repository>) -> Result<(), Error> {
    match look(repository, bucket) {
        Err(Error::NotThere(_)) => make(repository, bucket, like),
        found => {
            found?;
            let rival = owner.rival(&repository.snapshots()?);
            rival.map_or(Ok(()), |whose| Err(Error::Theirs { url: bucket.url.clone(), field: bucket.field, whose }))
        }
    }
}

/// Opens one that is there.
pub fn existing(repository: &Repository, bucket: &Bucket) -> Result<(), Error> {
    look(repository, bucket)
}

fn make(repository: &Repository, bucket: &Bucket, like: Option<&Repository>) -> Result<(), Error> {
    let mut command = repository.command();
    if let Some(like) = like {
        like.tell_as_source(&mut command);
    }
    command.arg("init").args(like.map(|_| "--copy-chunker-params"));
    match repository.finish("make the repository", &mut command, None) {
        Err(Error::Failed { said, .. }) if said.contains("already contains") => Err(Error::Headless(bucket.url.clone())),
        made => made.map(drop),
    }
}

/// Is it there, and does our key open it?
fn look(repository: &Repository, bucket: &Bucket) -> Result<(), Error> {
    let step = "open the repository";
    let mut command = repository.command();
    let listener = Retries::of(bucket.patience.min(LOOK)).listener();
    let output = program::listen(command.args(["cat", "config", "--no-lock"]), None, Some(listener));
    let output = output.map_err(|error| Error::Start(step, error))?;
    match repository.judge(step, &output) {
        Err(Error::Failed { code: NO_REPOSITORY, .. }) => Err(Error::NotThere(bucket.url.clone())),
        looked => looked.map(drop),
    }
}

/// What became of requests that restic repeats, by what it says of them.
#[derive(Debug)]
pub struct Retries {
    patience: Duration,
    since: Option<Instant>,
    refused: bool,
}

impl Retries {
    /// None so far.
    pub fn of(patience: Duration) -> Self {
        Self { patience, since: None, refused: false }
    }

    /// Ends restic once nothing but failures was heard for so long, and at once when the server refuses a second time. A slow request
    /// is none: it has not failed yet.
    pub fn listener(mut self) -> program::Listener {
        Box::new(move |line| self.hear(line, Instant::now()))
    }

    fn hear(&mut self, line: &str, now: Instant) -> bool {
        if is_healed(line) {
            (self.since, self.refused) = (None, false);
        } else if line.contains(RETRYING) {
            let refuses = meaning(line) == Some(Trouble::Denied);
            let again = std::mem::replace(&mut self.refused, refuses);
            return refuses && again || now.duration_since(*self.since.get_or_insert(now)) >= self.patience;
        }
        false
    }
}

/// How restic tells that it repeats a request; the time follows, and then the error.
const RETRYING: &str = " returned error, retrying after ";

/// Did a request that was repeated succeed?
fn is_healed(line: &str) -> bool {
    line.contains("operation successful after")
}

/// What is wrong between restic and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is not reached.
    Unreachable,
    /// It refuses.
    Denied,
    /// It takes no more.
    Full,
}

/// What servers say that refuse: AWS, and those that speak like it.
const DENIED: [&str; 17] = [
    "access denied",
    "accessdenied",
    "403 forbidden",
    "access key id",
    "no user exists",
    "invalidaccesskeyid",
    "signature we calculated",
    "signaturedoesnotmatch",
    "time and the current time is too large",
    "time and the server's time is too large",
    "requesttimetooskewed",
    "token has expired",
    "security token",
    "authorization header is malformed",
    "must be addressed using the specified endpoint",
    "bucket does not exist",
    "wormprotected",
];
/// What those say that are full.
const FULL: [&str; 6] = [
    "quota exceeded",
    "quotaexceeded",
    "due to quota",
    "reached its minimum free drive threshold",
    "507 insufficient storage",
    "no space left on device",
];
/// What is said when there is no answer, or none of the right server. A server that fails by itself counts as not there.
const UNREACHABLE: [&str; 20] = [
    "dial tcp",
    "read tcp",
    "write tcp",
    "no such host",
    "server misbehaving",
    "connection refused",
    "connection reset",
    "timeout",
    "deadline exceeded",
    "x509:",
    "tls:",
    "http response to https client",
    "server closed",
    "eof",
    "500 internal",
    "internal error",
    "502 bad gateway",
    "503 service",
    "service unavailable",
    "reduce your request rate",
];

/// What a line means.
fn meaning(line: &str) -> Option<Trouble> {
    let line = line.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| line.contains(word));
    let meanings = [(Trouble::Denied, &DENIED[..]), (Trouble::Full, &FULL), (Trouble::Unreachable, &UNREACHABLE)];
    meanings.into_iter().find(|(_, words)| says(words)).map(|(meaning, _)| meaning)
}

/// What is wrong, and the last that restic says of it; not what a program says that it runs, which has a server of its own.
pub fn trouble(stderr: &[u8]) -> Option<(Trouble, String)> {
    let text = String::from_utf8_lossy(stderr);
    let mut failing = Vec::new();
    for line in messages(&text).filter(|line| !line.starts_with("subprocess ")) {
        if is_healed(&line) {
            failing.clear();
        } else {
            failing.push(line);
        }
    }
    failing.iter().rev().find_map(|line| Some((meaning(line)?, without_wait(line))))
}

/// The same words each time: the wait before a try is another one in each.
fn without_wait(line: &str) -> String {
    let error = line.split_once(RETRYING).and_then(|(request, rest)| Some(format!("{request}: {}", rest.split_once(": ")?.1)));
    error.unwrap_or_else(|| program::last_lines(line))
}

/// The error as what it means of a bucket. `ours`: is it to be the instance's own?
pub fn judge(step: &'static str, error: Error, stderr: &[u8], bucket: &Bucket, ours: bool) -> Error {
    match error {
        Error::Key(_) if ours => Error::NotOurs { url: bucket.url.clone(), field: bucket.field },
        Error::Full(step, said) => Error::NoRoom(step, said),
        Error::Failed { code, said, .. } => match trouble(stderr).filter(|_| code != NO_REPOSITORY) {
            None => Error::Failed { step, code, said: bucket.without_secrets(&said) },
            Some((meaning, said)) => {
                let said = bucket.without_secrets(&said);
                match meaning {
                    Trouble::Unreachable => Error::Unreachable { step, field: bucket.field, said },
                    Trouble::Denied => Error::Denied { step, field: bucket.field, said },
                    Trouble::Full => Error::BucketFull(step, said),
                }
            }
        },
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(name: &str, uid: &str, second: i64) -> Snapshot {
        let tags = vec!["set=a".to_owned(), "part=dump".to_owned(), format!("instance={uid}")];
        let time = jiff::Timestamp::from_second(second).unwrap();
        Snapshot { id: "1".into(), original: None, time, hostname: name.into(), tags, paths: Vec::new() }
    }

    #[test]
    fn who_wrote_last_has_the_repository() {
        let owner = |adopt| Owner { instance: "uid-1", name: "demo/play", adopt };
        let (ours, former, other) =
            (snapshot("demo/play", "uid-1", 2), snapshot("demo/play", "uid-0", 1), snapshot("demo/other", "uid-2", 3));
        assert_eq!(owner(false).rival(&[]), None);
        assert_eq!(owner(false).rival(&[former.clone(), ours.clone()]), None, "it was taken over once");
        assert_eq!(owner(false).rival(std::slice::from_ref(&former)).as_deref(), Some("demo/play, uid uid-0"));
        assert_eq!(owner(true).rival(&[former]), None);
        assert_eq!(
            owner(true).rival(&[ours.clone(), other.clone()]).as_deref(),
            Some("demo/other, uid uid-2"),
            "another name is no former self"
        );
        let own = Snapshot { tags: Vec::new(), ..other };
        assert_eq!(owner(false).rival(&[ours, own]), None, "a person's snapshot is nobody's set");
    }

    #[test]
    fn requests_that_fail_one_after_the_other_are_given_up() {
        let failing = "Save(<data/1>) returned error, retrying after 1s: dial tcp: connection refused";
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut retries = Retries::of(Duration::from_secs(5));
        assert!(!retries.hear(failing, start) && !retries.hear("something else", after(60)));
        assert!(!retries.hear("Save(<data/1>) operation successful after 1 retries", after(60)));
        assert!(!retries.hear(failing, after(61)) && !retries.hear(failing, after(65)));
        assert!(retries.hear(failing, after(66)));
        let refused = "Stat(<config/>) returned error, retrying after 1s: Stat: Access Denied.";
        let mut retries = Retries::of(Duration::from_secs(5));
        assert!(!retries.hear(refused, start) && retries.hear(refused, start), "what is refused twice is refused");
    }

    #[test]
    fn the_same_trouble_is_told_in_the_same_words() {
        let said = |wait: &str| trouble(format!("Stat(<config/>) returned error, retrying after {wait}: Stat: Access Denied.").as_bytes());
        assert_eq!(said("956.777435ms"), Some((Trouble::Denied, "Stat(<config/>): Stat: Access Denied.".to_owned())));
        assert_eq!(said("956.777435ms"), said("41.2s"));
    }

    #[test]
    fn what_servers_say_has_a_meaning() {
        for (said, meant) in [
            ("Fatal: unable to open config file: Stat: Access Denied.", Some(Trouble::Denied)),
            ("The request signature we calculated does not match the signature you provided.", Some(Trouble::Denied)),
            ("Save(<lock/1>) failed: Bucket quota exceeded", Some(Trouble::Full)),
            ("Get \"https://s3/\": tls: failed to verify certificate: x509: signed by unknown authority", Some(Trouble::Unreachable)),
            ("Get \"https://s3/\": dial tcp: lookup s3: no such host", Some(Trouble::Unreachable)),
            ("subprocess pg_dump: connection to server failed: Connection refused", None),
            (
                "Load(<index/1>) returned error, retrying after 1s: EOF\nLoad(<index/1>) operation successful after 1 retries\nFatal: no",
                None,
            ),
            ("Load(<index/1>) returned error, retrying after 1s: EOF\nsignal terminated received, cleaning up", Some(Trouble::Unreachable)),
        ] {
            assert_eq!(trouble(said.as_bytes()).map(|(meaning, _)| meaning), meant, "{said}");
        }
    }
}
