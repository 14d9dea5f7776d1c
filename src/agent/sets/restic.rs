//! The restic repository of an instance.

mod copying;
mod error;
mod locks;
mod remote;
mod snapshot;
mod words;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::bucket::{Address, Bucket};
use crate::agent::paths::Paths;
use crate::agent::program;
use crate::agent::secret;
use crate::layout;
pub use error::Error;
pub use remote::Owner;
pub use snapshot::{SKEW, Snapshot, Summary};

/// A lock that a killed pod has left counts as stale after half an hour: whoever has to have the repository waits that long.
pub const UNTIL_STALE: Duration = Duration::from_mins(35);
/// The field that names the bucket of an instance's own repository.
const OWN: &str = "spec.backup.repository.s3";
/// How long restic itself waits before stale locks are looked for.
const RETRY_LOCK: Duration = Duration::from_secs(30);

/// The repository and the key to it.
#[derive(Debug)]
pub struct Repository {
    program: PathBuf,
    place: Place,
    password_file: PathBuf,
    read_only: bool,
    /// Its server has let no lock be removed.
    keeps_locks: AtomicBool,
}

/// Where a repository is.
#[derive(Debug)]
enum Place {
    Volume(PathBuf),
    Bucket(Bucket),
}

/// Whoever restores runs as PostgreSQL's user, and reads by the group. The kubelet opens a volume to it at the first mount on a node, not beside a pod
/// that has just ended. restic writes all that follows as it finds `config` (restic 0.18, `DeriveModesFromFileInfo`).
fn open_to_group(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let (kind, mode) = (path.is_dir(), path.metadata()?.permissions().mode());
        fs::set_permissions(&path, Permissions::from_mode(mode | if kind { 0o070 } else { 0o040 }))?;
        if kind {
            open_to_group(&path)?;
        }
    }
    let mode = directory.metadata()?.permissions().mode();
    fs::set_permissions(directory, Permissions::from_mode(mode | 0o070))
}

impl Repository {
    /// The repository that `owner` writes to; made when there is none yet.
    pub fn open(address: &Address, paths: &Paths, owner: &Owner<'_>) -> Result<Self, Error> {
        let repository = Self::at(address, paths)?;
        match &repository.place {
            Place::Volume(directory) if directory.join("config").is_file() => {}
            Place::Volume(directory) => repository.initialise(directory)?,
            Place::Bucket(bucket) => remote::open(&repository, bucket, owner, None)?,
        }
        // What a killed pod has left is taken away before it costs a wait.
        repository.unlock_stale("remove stale locks")?;
        Ok(repository)
    }

    /// The instance's repository, which is never made here.
    pub fn existing(address: &Address, paths: &Paths) -> Result<Self, Error> {
        Self::at(address, paths)?.found()
    }

    fn found(mut self) -> Result<Self, Error> {
        self.is_there()?;
        self.read_only = self.read_only || self.refuses_locks();
        if !self.read_only {
            self.unlock_stale("remove stale locks")?;
        }
        Ok(self)
    }

    fn is_there(&self) -> Result<(), Error> {
        match &self.place {
            Place::Volume(directory) if directory.join("config").is_file() => Ok(()),
            Place::Volume(directory) => Err(Error::Absent(directory.clone())),
            Place::Bucket(bucket) => remote::existing(self, bucket),
        }
    }

    fn at(address: &Address, paths: &Paths) -> Result<Self, Error> {
        let Some(source) = address.read_only else { return Self::named(address, paths, OWN, layout::BACKUP_PASSWORD) };
        let [bucket, key] = source.fields();
        secret::read_optional(&paths.of(layout::BACKUP_PASSWORD)).ok().flatten().ok_or(Error::NoKey(key))?;
        Ok(Self { read_only: true, ..Self::named(address, paths, bucket, layout::BACKUP_PASSWORD)? })
    }

    /// `field`: that of the resource which names its bucket; `key`: where its key is mounted.
    fn named(address: &Address, paths: &Paths, field: &'static str, key: &str) -> Result<Self, Error> {
        let bucket = Bucket::find(address, paths, field)?;
        Ok(Self {
            program: program(paths),
            place: bucket.map_or_else(|| Place::Volume(paths.of(layout::REPOSITORY)), Place::Bucket),
            password_file: paths.of(key),
            read_only: false,
            keeps_locks: AtomicBool::new(false),
        })
    }

    /// Whether it is in a bucket, of which nobody tells how full it is.
    pub fn is_remote(&self) -> bool {
        matches!(self.place, Place::Bucket(_))
    }

    /// Makes it beside its place and renames it: killed meanwhile, there is no half repository. Never over anything that is there.
    fn initialise(&self, directory: &Path) -> Result<(), Error> {
        let failed = |error| Error::Prepare(directory.to_owned(), error);
        match fs::read_dir(directory).map(|mut entries| entries.next().is_some()) {
            Ok(true) => return Err(Error::Foreign(directory.to_owned())),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let new = directory.with_extension("new");
        if new.exists() {
            fs::remove_dir_all(&new).map_err(failed)?;
        }
        let mut command = self.command_at(&Place::Volume(new.clone()));
        self.finish("make the repository", command.arg("init"), None)?;
        open_to_group(&new).map_err(failed)?;
        fs::rename(&new, directory).map_err(failed)
    }

    /// restic, ready for arguments.
    pub fn command(&self) -> Command {
        self.command_at(&self.place)
    }

    fn command_at(&self, place: &Place) -> Command {
        let mut command = Command::new(&self.program);
        let temporary = std::env::temp_dir();
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", &temporary).env("TMPDIR", &temporary);
        command.env("RESTIC_PASSWORD_FILE", &self.password_file).env("RESTIC_CACHE_DIR", temporary.join("restic-cache")).arg("--json");
        command.args(self.read_only.then_some("--no-lock"));
        match place {
            Place::Volume(directory) => _ = command.env("RESTIC_REPOSITORY", directory),
            Place::Bucket(bucket) => bucket.tell(&mut command),
        }
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
        let (output, read) = program::pipe(command, reader, self.listener()).map_err(|error| Error::Start(step, error))?;
        // A reader that ended early stops restic as well: then its own end tells why.
        if read.status.success() || output.status.code() == Some(0) || self.is_cut(&output) || !ended_by_pipe(&output) {
            self.judge(step, &output)?;
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
            match self.finish(step, &mut command, input) {
                Ok(ended) => return Ok(ended),
                Err(Error::Locked(_)) if start.elapsed() < patience => self.unlock_stale(step)?,
                Err(error) => return Err(error),
            }
        }
    }

    fn finish(&self, step: &'static str, command: &mut Command, input: Option<&[u8]>) -> Result<(Vec<u8>, bool), Error> {
        let output = program::listen(command, input, self.listener()).map_err(|error| Error::Start(step, error))?;
        self.note_locks(&output);
        let complete = self.judge(step, &output)?;
        Ok((output.stdout, complete))
    }

    /// restic repeats what a server does not take for a quarter of an hour, each request anew.
    fn listener(&self) -> Option<program::Listener> {
        match &self.place {
            Place::Volume(_) => None,
            Place::Bucket(bucket) => Some(remote::Retries::of(bucket.patience).listener()),
        }
    }

    fn judge(&self, step: &'static str, output: &Output) -> Result<bool, Error> {
        let judged = judge(step, output.status.code(), &output.stderr);
        match &self.place {
            Place::Volume(_) => judged,
            Place::Bucket(bucket) => judged.map_err(|error| remote::judge(step, error, &output.stderr, bucket, !self.read_only)),
        }
    }

    /// Did it lose its server?
    fn is_cut(&self, output: &Output) -> bool {
        self.is_remote() && words::trouble(&output.stderr).is_some()
    }
}

/// Did it end since nobody read on?
fn ended_by_pipe(output: &Output) -> bool {
    use std::os::unix::process::ExitStatusExt;
    output.status.signal() == Some(nix::libc::SIGPIPE) || String::from_utf8_lossy(&output.stderr).contains("broken pipe")
}

/// What an end of restic means (restic 0.18: 3 = something could not be read, 11 = locked, 12 = wrong key, 130 = asked to end; none = killed).
/// True = everything was read.
fn judge(step: &'static str, code: Option<i32>, stderr: &[u8]) -> Result<bool, Error> {
    let said = said(&String::from_utf8_lossy(stderr));
    // Where its work could not be given up in order, it ends as with any failure.
    let told_to_end = String::from_utf8_lossy(stderr).contains("signal terminated received");
    let full = said.contains("no space left on device") || said.contains("disk quota exceeded");
    match code {
        Some(0) => Ok(true),
        _ if full => Err(Error::Full(step, said)),
        Some(3) => Ok(false),
        Some(11) => Err(Error::Locked(step)),
        Some(12) => Err(Error::Key(step)),
        Some(130) | None => Err(Error::Interrupted(step)),
        _ if told_to_end => Err(Error::Interrupted(step)),
        Some(code) => Err(Error::Failed { step, code, said }),
    }
}

/// Where it was installed to, or in the operator's own image.
fn program(paths: &Paths) -> PathBuf {
    let [installed, own] = [layout::RESTIC, layout::RESTIC_IN_IMAGE].map(|place| paths.of(place));
    if !installed.exists() && own.exists() { own } else { installed }
}

/// The messages in restic's standard error, which mixes JSON with the lines of the program that it runs.
fn messages(stderr: &str) -> impl Iterator<Item = String> {
    #[derive(Deserialize)]
    struct Line {
        message: Option<String>,
        error: Option<Inner>,
    }
    #[derive(Deserialize)]
    struct Inner {
        message: String,
    }
    stderr.lines().map(|line| match serde_json::from_str::<Line>(line) {
        Ok(Line { message: Some(message), .. }) => message,
        Ok(Line { error: Some(error), .. }) => error.message,
        _ => line.to_owned(),
    })
}

fn said(stderr: &str) -> String {
    program::last_lines(&messages(stderr).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::failure::Failure;
    use crate::report::Refusal;

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
        let ended = b"signal terminated received, cleaning up\nFatal: config cannot be loaded: context canceled";
        for (code, said) in [(Some(130), &b""[..]), (None, b""), (Some(1), ended)] {
            assert!(
                matches!(judge("x", code, said), Err(Error::Interrupted(_))),
                "{code:?}: a pod that is ended says nothing of the repository"
            );
        }
    }

    #[test]
    fn something_else_in_the_place_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        fs::create_dir_all(paths.of(layout::REPOSITORY)).unwrap();
        fs::write(paths.of("/backups/repository/precious"), "").unwrap();
        let owner = Owner { instance: "uid-1", name: "demo/play", adopt: false };
        assert!(matches!(Repository::open(&Address::default(), &paths, &owner), Err(Error::Foreign(_))));
        assert!(paths.of("/backups/repository/precious").exists());
    }
}
