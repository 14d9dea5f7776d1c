//! Why a repository can't be used.

use std::io;
use std::path::PathBuf;

use crate::agent::failure::Failure;
use crate::agent::program;
use crate::agent::sets::bucket;
use crate::report::Refusal;

/// A repository that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// restic did not start.
    #[error("{0}")]
    Start(&'static str, #[source] program::Error),
    /// The directory holds something else.
    #[error(
        "make a repository in {0}: the directory holds something that is no restic repository; it is left as it is, move it away by hand"
    )]
    Foreign(PathBuf),
    /// There is none.
    #[error("{0} holds no restic repository: was a backup made, and is it the right volume?")]
    Absent(PathBuf),
    /// The directory can't be prepared.
    #[error("make a repository in {0}")]
    Prepare(PathBuf, #[source] io::Error),
    /// The key is wrong.
    #[error("{0}: the repository can't be opened with the key of the Secret; put the original Secret back, or move the repository away")]
    Key(&'static str),
    /// There is no key.
    #[error("the Secret of {0} does not exist, or holds nothing under the key password: make it, with the key of the repository")]
    NoKey(&'static str),
    /// restic was ended by somebody.
    #[error(
        "{0}: restic was ended before it was done, by a request to end the pod or for want of memory; that says nothing of the repository"
    )]
    Interrupted(&'static str),
    /// Somebody else holds it.
    #[error("{0}: somebody else has locked the repository")]
    Locked(&'static str),
    /// The server of the bucket can't be reached.
    #[error(
        "{step}: the S3 server can't be reached, or is not the one that it should be: look at {field}.endpoint, at its certificate (caSecretName), and at what lies between: {said}"
    )]
    Unreachable {
        /// What was done.
        step: &'static str,
        /// The field that names the bucket.
        field: &'static str,
        /// What restic said.
        said: String,
    },
    /// The server of the bucket refuses.
    #[error(
        "{step}: the S3 server refuses: look at the Secret of {field}.credentials, at the rights of its key, at bucket and region, and at the node's clock: {said}"
    )]
    Denied {
        /// What was done.
        step: &'static str,
        /// The field that names the bucket.
        field: &'static str,
        /// What restic said.
        said: String,
    },
    /// The server of the bucket refuses, since its clock is another one.
    #[error(
        "{step}: the S3 server refuses, since its clock and that of this node are more than a quarter of an hour apart: look at the node's clock (NTP), and at that of the server of {field}: {said}"
    )]
    Skewed {
        /// What was done.
        step: &'static str,
        /// The field that names the bucket.
        field: &'static str,
        /// What restic said.
        said: String,
    },
    /// The bucket takes no more.
    #[error("{0}: the bucket is full: let it hold more, or lower spec.backup.retention: {1}")]
    BucketFull(&'static str, String),
    /// Temporary files find no room.
    #[error("{0}: no space left for temporary files: free the disk of the node: {1}")]
    NoRoom(&'static str, String),
    /// The repository is another instance's.
    #[error(
        "{url} is the repository of another instance ({whose}); nothing was written to it: set another {field}.prefix; or, if that instance is gone and this one takes its place, spec.adopt: true"
    )]
    Theirs {
        /// Where it is.
        url: String,
        /// The field that names the bucket.
        field: &'static str,
        /// Whose it is.
        whose: String,
    },
    /// Another instance has written after this one, which takes its place.
    #[error(
        "{url} was written to by {whose}, whose place this instance has taken: two clusters think that they are the one, as when one that was thought lost is back. Nothing was written. Which of them do people use? Delete or suspend the other one, and give the one that stays another {field}.prefix"
    )]
    Shared {
        /// Where it is.
        url: String,
        /// The field that names the bucket.
        field: &'static str,
        /// Whose place it is.
        whose: String,
    },
    /// The bucket has a repository that this instance has no key of.
    #[error(
        "{url} holds a repository that the key of this instance does not open: it is another instance's, of this or another cluster, or the Secret with the key was replaced; nothing was written to it: set another {field}.prefix, or put the original Secret back"
    )]
    NotOurs {
        /// Where it is.
        url: String,
        /// The field that names the bucket.
        field: &'static str,
    },
    /// The bucket has no repository.
    #[error("{0} holds no restic repository: was a backup made, and are bucket and prefix the right ones?")]
    NotThere(String),
    /// A repository without its first file.
    #[error(
        "{0} has keys of a repository and no file config: it was deleted, or making the repository was interrupted; bring config back from an older version of the object, or, if no backup was ever made there, delete what is below the prefix"
    )]
    Headless(String),
    /// A copy has no place of its own on a volume.
    #[error("a copy is in S3: name its place with --s3")]
    NoBucket,
    /// The bucket is not known.
    #[error(transparent)]
    Bucket(#[from] bucket::Error),
    /// It is full.
    #[error("{0}: no space left: enlarge the volume of the repository, or free space in it by hand: {1}")]
    Full(&'static str, String),
    /// Anything else.
    #[error("{step}: restic ended with code {code}: {said}")]
    Failed {
        /// What was done.
        step: &'static str,
        /// restic's exit code.
        code: i32,
        /// What it said.
        said: String,
    },
    /// restic said something unexpected.
    #[error("{0}: understand what restic says")]
    Understand(&'static str, #[source] serde_json::Error),
}

impl Error {
    /// Does it tell of what is in the repository? A wrong key, somebody else's lock or a line that is cut does not.
    pub fn is_of_what_is_there(&self) -> bool {
        let elsewhere = matches!(self, Self::Start(..) | Self::NoRoom(..) | Self::NotThere(_) | Self::Interrupted(_));
        self.reason().is_none() && !elsewhere
    }
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Foreign(_) | Self::Key(_) => Some(Refusal::RepositoryKeyMismatch),
            Self::NoKey(_) => Some(Refusal::SecretMissing),
            Self::Locked(_) => Some(Refusal::RepositoryLocked),
            Self::Full(..) | Self::BucketFull(..) => Some(Refusal::RepositoryFull),
            Self::Prepare(_, error) if error.kind() == io::ErrorKind::StorageFull => Some(Refusal::RepositoryFull),
            Self::Unreachable { .. } => Some(Refusal::RepositoryUnreachable),
            Self::Denied { .. } | Self::Skewed { .. } => Some(Refusal::RepositoryAccessDenied),
            Self::Theirs { .. } | Self::Shared { .. } | Self::NotOurs { .. } => Some(Refusal::RepositoryForeign),
            Self::Headless(_) => Some(Refusal::RepositoryDamaged),
            Self::Bucket(error) => error.reason(),
            Self::NotThere(_)
            | Self::NoBucket
            | Self::NoRoom(..)
            | Self::Absent(_)
            | Self::Start(..)
            | Self::Prepare(..)
            | Self::Interrupted(_)
            | Self::Failed { .. }
            | Self::Understand(..) => None,
        }
    }
}
