//! A repository in a bucket: whether it is there, and ours; for how long a server is asked that does not answer or refuses.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::words::{RETRYING, Trouble, is_healed, meaning, trouble};
use super::{Bucket, Error, Place, Repository, Snapshot};
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

/// Somebody else who has written last.
#[derive(Debug, PartialEq, Eq)]
struct Rival {
    /// Namespace, name and uid.
    whose: String,
    /// Did it write after us, who had taken the repository over?
    is_back: bool,
}

impl Owner<'_> {
    /// Who has written last, if that is somebody else. Snapshots that carry no set are people's own. One of a clock that was wrong says
    /// nothing of the order; no server of a bucket takes such a one.
    fn rival(&self, snapshots: &[Snapshot], now: Timestamp) -> Option<Rival> {
        let sets = || snapshots.iter().filter(|snapshot| snapshot.set().is_some());
        let last = sets().filter(|snapshot| !snapshot.is_to_come(now)).max_by_key(|snapshot| snapshot.time)?;
        let uid = last.instance().unwrap_or_default();
        let replaces = self.adopt && last.hostname == self.name;
        // Whose place was taken writes no more. Where it does, two clusters think that they are the one.
        let is_back = replaces && sets().any(|set| set.instance() == Some(self.instance));
        let ours = uid == self.instance || replaces && !is_back;
        (!ours).then(|| Rival { whose: format!("{}, uid {uid}", last.hostname), is_back })
    }
}

/// Opens the repository of an instance, or makes it where there is none, cut into the same pieces as `like`. Nothing is written to
/// another one's.
pub fn open(repository: &Repository, bucket: &Bucket, owner: &Owner<'_>, like: Option<&Repository>) -> Result<(), Error> {
    match look(repository, bucket) {
        Err(Error::NotThere(_)) => make(repository, bucket, like),
        found => {
            found?;
            let (url, field) = (bucket.url.clone(), bucket.field);
            match owner.rival(&repository.snapshots()?, Timestamp::now()) {
                None => Ok(()),
                Some(Rival { whose, is_back: true }) => Err(Error::Shared { url, field, whose }),
                Some(Rival { whose, is_back: false }) => Err(Error::Theirs { url, field, whose }),
            }
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
    match look_as(repository, bucket) {
        Err(Error::Failed { code: NO_REPOSITORY, .. }) => Err(Error::NotThere(bucket.url.clone())),
        // restic asks for the head of a file first, and to that a server says nothing but yes or no.
        Err(error @ Error::Denied { .. }) => Err(bucket.without_region().and_then(|bucket| why(repository, &bucket)).unwrap_or(error)),
        looked => looked,
    }
}

fn look_as(repository: &Repository, bucket: &Bucket) -> Result<(), Error> {
    let step = "open the repository";
    let mut command = repository.command_at(&Place::Bucket(bucket.clone()));
    let listener = Retries::of(bucket.patience.min(LOOK)).listener();
    let output = program::listen(command.args(["cat", "config", "--no-lock"]), None, Some(listener));
    let output = output.map_err(|error| Error::Start(step, error))?;
    repository.judge(step, &output).map(drop)
}

/// Why a server refuses, in its own words: which region it has is asked with a request that it answers with words.
fn why(repository: &Repository, bucket: &Bucket) -> Option<Error> {
    look_as(repository, bucket).err().filter(|error| matches!(error, Error::Denied { .. } | Error::Skewed { .. }))
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
            let refuses = matches!(meaning(line), Some(Trouble::Denied | Trouble::Skewed));
            let again = std::mem::replace(&mut self.refused, refuses);
            return refuses && again || now.duration_since(*self.since.get_or_insert(now)) >= self.patience;
        }
        false
    }
}

/// The error as what it means of a bucket. `ours`: is it to be the instance's own?
pub fn judge(step: &'static str, error: Error, stderr: &[u8], bucket: &Bucket, ours: bool) -> Error {
    match error {
        Error::Key(_) if ours => Error::NotOurs { url: bucket.url.clone(), field: bucket.field },
        Error::Full(step, said) => Error::NoRoom(step, said),
        Error::Failed { code: NO_REPOSITORY, said, .. } => Error::Failed { step, code: NO_REPOSITORY, said: bucket.without_secrets(&said) },
        Error::Failed { code, said, .. } => {
            in_words(step, stderr, bucket).unwrap_or_else(|| Error::Failed { step, code, said: bucket.without_secrets(&said) })
        }
        // It is ended as well once its server has not answered for too long.
        Error::Interrupted(step) => in_words(step, stderr, bucket).unwrap_or(Error::Interrupted(step)),
        error => error,
    }
}

/// What restic heard last from the server, if that is why it failed.
fn in_words(step: &'static str, stderr: &[u8], bucket: &Bucket) -> Option<Error> {
    let (meaning, said) = trouble(stderr)?;
    let said = bucket.without_secrets(&said);
    Some(match meaning {
        Trouble::Unreachable => Error::Unreachable { step, field: bucket.field, said },
        Trouble::Denied => Error::Denied { step, field: bucket.field, said },
        Trouble::Skewed => Error::Skewed { step, field: bucket.field, said },
        Trouble::Full => Error::BucketFull(step, said),
    })
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
        let now = Timestamp::from_second(10).unwrap();
        let rival = |adopt, there: &[Snapshot]| {
            let owner = Owner { instance: "uid-1", name: "demo/play", adopt };
            owner.rival(there, now).map(|rival| (rival.whose, rival.is_back))
        };
        let (ours, former, other) =
            (snapshot("demo/play", "uid-1", 2), snapshot("demo/play", "uid-0", 1), snapshot("demo/other", "uid-2", 3));
        assert_eq!(rival(false, &[]), None);
        assert_eq!(rival(false, &[former.clone(), ours.clone()]), None, "it was taken over once");
        assert_eq!(rival(false, std::slice::from_ref(&former)), Some(("demo/play, uid uid-0".to_owned(), false)));
        assert_eq!(rival(true, std::slice::from_ref(&former)), None);
        let another = rival(true, &[ours.clone(), other.clone()]);
        assert_eq!(another, Some(("demo/other, uid uid-2".to_owned(), false)), "another name is no former self");
        let own = Snapshot { tags: Vec::new(), ..other };
        assert_eq!(rival(false, &[ours.clone(), own]), None, "a person's snapshot is nobody's set");

        let back = snapshot("demo/play", "uid-0", 5);
        let told = rival(true, &[former.clone(), ours.clone(), back]);
        assert_eq!(told, Some(("demo/play, uid uid-0".to_owned(), true)), "a cluster that was thought lost");
        let ahead = snapshot("demo/play", "uid-0", 10_000);
        assert_eq!(rival(true, &[ahead, ours]), None, "what a wrong clock wrote before the adoption");
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
}
