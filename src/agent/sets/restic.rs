//! The restic repository of an instance.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::agent::failure::Failure;
use crate::agent::paths::Paths;
use crate::agent::program;
use crate::layout;
use crate::report::Refusal;

/// A lock that a killed pod has left counts as stale after half an hour: whoever has to have the repository waits that long.
pub const UNTIL_STALE: Duration = Duration::from_mins(35);
/// How long restic itself waits before stale locks are looked for.
const RETRY_LOCK: Duration = Duration::from_secs(30);

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
    /// Somebody else holds it.
    #[error("{0}: somebody else has locked the repository")]
    Locked(&'static str),
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

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Foreign(_) | Self::Key(_) => Some(Refusal::RepositoryKeyMismatch),
            Self::Locked(_) => Some(Refusal::RepositoryLocked),
            Self::Full(..) => Some(Refusal::RepositoryFull),
            Self::Prepare(_, error) if error.kind() == io::ErrorKind::StorageFull => Some(Refusal::RepositoryFull),
            Self::Absent(_) | Self::Start(..) | Self::Prepare(..) | Self::Failed { .. } | Self::Understand(..) => None,
        }
    }
}

/// One snapshot of the repository.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Snapshot {
    /// Its identifier.
    pub id: String,
    /// When it was made.
    pub time: jiff::Timestamp,
    /// What it is part of.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What was backed up.
    #[serde(default)]
    pub paths: Vec<String>,
}

/// What restic tells about a snapshot that it has just made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Summary {
    /// Its identifier.
    pub snapshot_id: String,
    /// Bytes added to the repository, compressed.
    pub data_added_packed: u64,
    /// Files in the snapshot.
    pub total_files_processed: u64,
    /// Their size.
    pub total_bytes_processed: u64,
    /// Whether all of them could be read.
    #[serde(skip, default = "complete")]
    pub complete: bool,
}

fn complete() -> bool {
    true
}

/// The repository and the key to it.
#[derive(Debug)]
pub struct Repository {
    program: PathBuf,
    directory: PathBuf,
    password_file: PathBuf,
}

impl Repository {
    /// The instance's repository; made when the volume has none yet.
    pub fn open(paths: &Paths) -> Result<Self, Error> {
        let repository = Self::at(paths);
        if !repository.directory.join("config").is_file() {
            repository.initialise()?;
        }
        // What a killed pod has left is taken away before it costs a wait.
        repository.unlock_stale("remove stale locks")?;
        Ok(repository)
    }

    /// The instance's repository, which is never made here.
    pub fn existing(paths: &Paths) -> Result<Self, Error> {
        let repository = Self::at(paths);
        if !repository.directory.join("config").is_file() {
            return Err(Error::Absent(repository.directory));
        }
        repository.unlock_stale("remove stale locks")?;
        Ok(repository)
    }

    fn at(paths: &Paths) -> Self {
        Self {
            program: paths.of(layout::RESTIC),
            directory: paths.of(layout::REPOSITORY),
            password_file: paths.of(layout::BACKUP_PASSWORD),
        }
    }

    /// Makes it beside its place and renames it: killed meanwhile, there is no half repository. Never over anything that is there.
    fn initialise(&self) -> Result<(), Error> {
        let failed = |error| Error::Prepare(self.directory.clone(), error);
        match fs::read_dir(&self.directory).map(|mut entries| entries.next().is_some()) {
            Ok(true) => return Err(Error::Foreign(self.directory.clone())),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let new = self.directory.with_extension("new");
        if new.exists() {
            fs::remove_dir_all(&new).map_err(failed)?;
        }
        let step = "make the repository";
        let mut command = self.command_at(&new);
        let output = program::finish(command.arg("init"), None).map_err(|error| Error::Start(step, error))?;
        judge(step, output.status.code(), &output.stderr)?;
        fs::rename(&new, &self.directory).map_err(failed)
    }

    /// restic, ready for arguments.
    pub fn command(&self) -> Command {
        self.command_at(&self.directory)
    }

    fn command_at(&self, directory: &Path) -> Command {
        let mut command = Command::new(&self.program);
        let temporary = std::env::temp_dir();
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", &temporary).env("TMPDIR", &temporary);
        command.env("RESTIC_REPOSITORY", directory).env("RESTIC_PASSWORD_FILE", &self.password_file);
        command.env("RESTIC_CACHE_DIR", temporary.join("restic-cache")).arg("--json");
        command
    }

    /// Makes a snapshot. `build` gives restic's arguments and environment, `input` what it reads from standard input.
    pub fn back_up(&self, step: &'static str, build: impl Fn(&mut Command), input: Option<&[u8]>) -> Result<Summary, Error> {
        let with_verb = |command: &mut Command| build(command.arg("backup"));
        let (stdout, complete) = self.run(step, with_verb, input, UNTIL_STALE)?;
        let text = String::from_utf8_lossy(&stdout);
        let summary: Summary =
            serde_json::from_str(text.lines().last().unwrap_or_default()).map_err(|error| Error::Understand(step, error))?;
        Ok(Summary { complete, ..summary })
    }

    /// All snapshots. Asks for no lock: whoever adds or forgets some meanwhile does not disturb a list.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, Error> {
        self.ask("list the snapshots", |command| {
            command.args(["snapshots", "--no-lock"]);
        })
    }

    /// What restic answers to a question, as JSON.
    pub fn ask<T: DeserializeOwned>(&self, step: &'static str, build: impl Fn(&mut Command)) -> Result<T, Error> {
        serde_json::from_slice(&self.output(step, build)?).map_err(|error| Error::Understand(step, error))
    }

    /// What restic prints.
    pub fn output(&self, step: &'static str, build: impl Fn(&mut Command)) -> Result<Vec<u8>, Error> {
        self.run(step, build, None, UNTIL_STALE).map(|(stdout, _)| stdout)
    }

    /// Runs restic with what it prints as the input of `reader`. Tells how the reader ended once restic has ended well.
    pub fn pipe(&self, step: &'static str, build: impl Fn(&mut Command), reader: Command) -> Result<Output, Error> {
        let mut command = self.command();
        build(command.arg(format!("--retry-lock={}s", UNTIL_STALE.as_secs())));
        let (output, read) = program::pipe(command, reader).map_err(|error| Error::Start(step, error))?;
        // A reader that ended early stops restic as well: then its own end tells why.
        if read.status.success() || output.status.code() == Some(0) || !ended_by_pipe(&output) {
            judge(step, output.status.code(), &output.stderr)?;
        }
        Ok(read)
    }

    /// Runs restic, waiting at most `patience` for the repository's lock. Locks whose owner has given no sign of life for half an
    /// hour are removed, others never. Returns what it printed, and whether it could read everything.
    pub fn run(
        &self,
        step: &'static str,
        build: impl Fn(&mut Command),
        input: Option<&[u8]>,
        patience: Duration,
    ) -> Result<(Vec<u8>, bool), Error> {
        let start = Instant::now();
        loop {
            let mut command = self.command();
            let retry = RETRY_LOCK.min(patience).as_secs();
            build(command.arg(format!("--retry-lock={retry}s")));
            let output = program::finish(&mut command, input).map_err(|error| Error::Start(step, error))?;
            match judge(step, output.status.code(), &output.stderr) {
                Ok(complete) => return Ok((output.stdout, complete)),
                Err(Error::Locked(_)) if start.elapsed() < patience => self.unlock_stale(step)?,
                Err(error) => return Err(error),
            }
        }
    }

    fn unlock_stale(&self, step: &'static str) -> Result<(), Error> {
        let output = program::finish(self.command().arg("unlock"), None).map_err(|error| Error::Start(step, error))?;
        judge(step, output.status.code(), &output.stderr).map(drop)
    }
}

/// Did it end since nobody read on?
fn ended_by_pipe(output: &Output) -> bool {
    use std::os::unix::process::ExitStatusExt;
    output.status.signal() == Some(nix::libc::SIGPIPE) || String::from_utf8_lossy(&output.stderr).contains("broken pipe")
}

/// What an end of restic means (restic 0.18: 3 = something could not be read, 11 = locked, 12 = wrong key). True = everything was read.
fn judge(step: &'static str, code: Option<i32>, stderr: &[u8]) -> Result<bool, Error> {
    let said = said(&String::from_utf8_lossy(stderr));
    let full = said.contains("no space left on device") || said.contains("disk quota exceeded");
    match code {
        Some(0) => Ok(true),
        _ if full => Err(Error::Full(step, said)),
        Some(3) => Ok(false),
        Some(11) => Err(Error::Locked(step)),
        Some(12) => Err(Error::Key(step)),
        code => Err(Error::Failed { step, code: code.unwrap_or(-1), said }),
    }
}

/// The messages in restic's standard error, which mixes JSON with the lines of the program that it runs.
fn said(stderr: &str) -> String {
    #[derive(Deserialize)]
    struct Line {
        message: Option<String>,
        error: Option<Inner>,
    }
    #[derive(Deserialize)]
    struct Inner {
        message: String,
    }
    let messages = stderr.lines().map(|line| match serde_json::from_str::<Line>(line) {
        Ok(Line { message: Some(message), .. }) => message,
        Ok(Line { error: Some(error), .. }) => error.message,
        _ => line.to_owned(),
    });
    program::last_lines(&messages.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_restic_says_is_understood() {
        let stderr = "subprocess pg_dump: pg_dump: error: canceled\n{\"message_type\":\"error\",\"error\":{\"message\":\"failed to save\"},\"item\":\"/d\"}\n{\"message_type\":\"exit_error\",\"code\":1,\"message\":\"Fatal: unable to save snapshot\"}\n";
        let error = judge("dump", Some(1), stderr.as_bytes()).unwrap_err().to_string();
        assert_eq!(
            error,
            "dump: restic ended with code 1: subprocess pg_dump: pg_dump: error: canceled | failed to save | Fatal: unable to save snapshot"
        );
    }

    #[test]
    fn ends_have_reasons() {
        let reason = |code, stderr: &str| judge("x", code, stderr.as_bytes()).err().and_then(|error| error.reason());
        assert_eq!(reason(Some(12), ""), Some(Refusal::RepositoryKeyMismatch));
        assert_eq!(reason(Some(11), ""), Some(Refusal::RepositoryLocked));
        assert_eq!(reason(Some(1), "Fatal: write /backups/x: no space left on device"), Some(Refusal::RepositoryFull));
        assert_eq!(reason(None, ""), None);
        assert!(!judge("x", Some(3), b"").unwrap());
    }

    #[test]
    fn something_else_in_the_place_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        fs::create_dir_all(paths.of(layout::REPOSITORY)).unwrap();
        fs::write(paths.of("/backups/repository/precious"), "").unwrap();
        assert!(matches!(Repository::open(&paths), Err(Error::Foreign(_))));
        assert!(paths.of("/backups/repository/precious").exists());
    }
}
