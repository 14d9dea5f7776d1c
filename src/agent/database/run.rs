//! `database run`: PID 1 of the database container.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::postmaster::{LastWords, Postmaster};
use super::{mark, steward};
use crate::agent::Ended;
use crate::agent::args::Run;
use crate::agent::failure::Failure;
use crate::agent::log::Log;
use crate::agent::paths::Paths;
use crate::agent::postgres::lock_file;
use crate::agent::postgres::programs::{self, Programs};
use crate::agent::{digest, volume};
use crate::layout;
use crate::report::Refusal;

/// The pod before this one may still be stopping its server.
const LOCK_PATIENCE: Duration = Duration::from_secs(20);

/// What PostgreSQL needs to start after a crash, in bytes: one more segment of the write-ahead log. Without it it would end, and be
/// started again after longer and longer waits, even when there is room at last.
const LEAST_ROOM: u64 = 16 << 20;

/// A server that does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The volume is not what it should be.
    #[error(transparent)]
    Mark(#[from] mark::Error),
    /// The volume can't be used.
    #[error(transparent)]
    Volume(#[from] volume::Error),
    /// The image has no fitting PostgreSQL.
    #[error(transparent)]
    Programs(#[from] programs::Error),
    /// The data directory's mode could not be set.
    #[error("close {0} to other users")]
    Close(PathBuf, #[source] io::Error),
    /// What a killed server has left could not be taken away.
    #[error("take away {0}, the lock of a server that is gone")]
    Clear(PathBuf, #[source] io::Error),
    /// The program did not start.
    #[error("start PostgreSQL")]
    Start(#[source] io::Error),
    /// Signals or configuration can't be watched.
    #[error("watch {0}")]
    Watch(String, #[source] Errno),
    /// The server was killed.
    #[error("PostgreSQL was killed, as the kernel does when memory is used up: look at the node, and choose a larger size")]
    Killed,
    /// The server ended by itself, or not cleanly.
    #[error("PostgreSQL ended with {status}: {}: {}", last.advice, last.said)]
    Ended {
        /// How.
        status: String,
        /// Why.
        last: LastWords,
    },
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Mark(error) => error.reason(),
            Self::Programs(error) => error.reason(),
            Self::Ended { last, .. } => last.reason,
            Self::Killed => Some(Refusal::Killed),
            Self::Volume(_) | Self::Close(..) | Self::Clear(..) | Self::Start(_) | Self::Watch(..) => None,
        }
    }
}

/// Serves the volume until it is told to stop or the server ends.
pub fn run(arguments: &Run, paths: &Paths, log: Log) -> Result<Ended, Error> {
    // Before the first thread and the first child: none of them may take a signal that is meant for the loop below.
    let events = Events::watch(paths)?;
    let mark = mark::finished(paths, &arguments.instance)?;
    let _lock = volume::lock(&paths.of(layout::DATA_LOCK), LOCK_PATIENCE)?;
    let pgdata = paths.of(layout::PGDATA);
    // Kubernetes opens directories to the pod's group; PostgreSQL refuses to start on such a one.
    fs::set_permissions(&pgdata, Permissions::from_mode(0o700)).map_err(|error| Error::Close(pgdata.clone(), error))?;
    let programs = Programs::find(mark.postgresql)?;
    if !events.wait_for_room(paths, log)? {
        return Ok(("ended while it waited for room on the volume".to_owned(), None));
    }
    log.info(&format!("starting PostgreSQL {} for {}", mark.postgresql, mark.name));
    for left in [lock_file::of_data(&pgdata), lock_file::of_socket(&paths.of(layout::SOCKETS), layout::POSTGRES_PORT)] {
        lock_file::clear(&left).map_err(|error| Error::Clear(left, error))?;
    }
    let postmaster = Postmaster::start(&programs, paths).map_err(Error::Start)?;
    steward::look_after(paths.clone(), log);
    supervise(&events, &postmaster, arguments.quit_after.map(Duration::from_secs), log)
}

/// What the loop waits for.
struct Events {
    signals: SignalFd,
    configuration: Inotify,
    configuration_files: [PathBuf; 2],
}

impl Events {
    fn watch(paths: &Paths) -> Result<Self, Error> {
        let mask: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGCHLD].into_iter().collect();
        let failed = |errno| Error::Watch("signals".to_owned(), errno);
        mask.thread_block().map_err(failed)?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).map_err(failed)?;
        let directory = paths.of(layout::POSTGRES_CONFIG);
        let failed = |errno| Error::Watch(directory.display().to_string(), errno);
        let configuration = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).map_err(failed)?;
        // Kubernetes changes a ConfigMap by renaming the link `..data`; people write files.
        let changes = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE;
        configuration.add_watch(&directory, changes).map_err(failed)?;
        Ok(Self { signals, configuration, configuration_files: [layout::POSTGRESQL_CONF, layout::PG_HBA_CONF].map(|file| paths.of(file)) })
    }

    /// Waits for an event or the end of `limit`.
    fn wait(&self, limit: Option<Duration>) -> Result<(), Error> {
        let timeout = limit.map_or(PollTimeout::NONE, |limit| PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX));
        let mut descriptors =
            [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN), PollFd::new(self.configuration.as_fd(), PollFlags::POLLIN)];
        match poll(&mut descriptors, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(Error::Watch("signals and configuration".to_owned(), errno)),
        }
    }

    fn signal(&self) -> Option<Signal> {
        let info = self.signals.read_signal().ok().flatten()?;
        Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()
    }

    /// Waits until PostgreSQL can start on the volume; no when it is told to end meanwhile. `watch` tells of it.
    fn wait_for_room(&self, paths: &Paths, log: Log) -> Result<bool, Error> {
        let mut told = false;
        while volume::space(&paths.of(layout::DATA))?.free < LEAST_ROOM {
            if !told {
                log.error(
                    "the database volume is full: PostgreSQL starts as soon as there is room; raise spec.database.bundled.storage.size",
                );
                told = true;
            }
            self.wait(Some(Duration::from_secs(1)))?;
            if self.signal().is_some_and(|signal| !matches!(signal, Signal::SIGCHLD | Signal::SIGHUP)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether something has happened in the configuration's directory since the last question.
    fn configuration_touched(&self) -> bool {
        self.configuration.read_events().is_ok_and(|events| !events.is_empty())
    }

    fn configuration_digest(&self) -> String {
        digest::sha256(&self.configuration_files.iter().flat_map(|file| fs::read(file).unwrap_or_default()).collect::<Vec<_>>())
    }
}

fn supervise(events: &Events, postmaster: &Postmaster, quit_after: Option<Duration>, log: Log) -> Result<Ended, Error> {
    let mut configuration = events.configuration_digest();
    let mut asked_to_stop: Option<Instant> = None;
    let mut quit = false;
    loop {
        let left = asked_to_stop.filter(|_| !quit).and_then(|asked| quit_after.map(|grace| grace.saturating_sub(asked.elapsed())));
        events.wait(left)?;
        while let Some(signal) = events.signal() {
            match signal {
                Signal::SIGCHLD => {}
                Signal::SIGHUP => postmaster.signal(Signal::SIGHUP),
                _ => {
                    log.info(&format!("{signal}: stopping PostgreSQL, ending open sessions"));
                    asked_to_stop.get_or_insert_with(Instant::now);
                    postmaster.signal(if signal == Signal::SIGQUIT { Signal::SIGQUIT } else { Signal::SIGINT });
                }
            }
        }
        if let Some(status) = reap(postmaster) {
            return ended(status, asked_to_stop.is_some(), postmaster);
        }
        if events.configuration_touched() {
            let now = events.configuration_digest();
            if now != configuration {
                log.info("the configuration has changed: PostgreSQL reads it again");
                postmaster.signal(Signal::SIGHUP);
                configuration = now;
            }
        }
        if left.is_some_and(|left| left.is_zero()) {
            log.warn("PostgreSQL has not stopped in time: ending it at once, it will recover at its next start");
            postmaster.signal(Signal::SIGQUIT);
            quit = true;
        }
    }
}

/// Takes note of every ended child, adopted ones too; the server's status when it was among them.
fn reap(postmaster: &Postmaster) -> Option<WaitStatus> {
    let mut found = None;
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        match status.pid() {
            None => break,
            Some(pid) if pid == postmaster.pid => found = Some(status),
            Some(_) => {}
        }
    }
    found
}

fn ended(status: WaitStatus, asked: bool, postmaster: &Postmaster) -> Result<Ended, Error> {
    let status = match status {
        WaitStatus::Exited(_, 0) if asked => {
            return Ok(("PostgreSQL has stopped as it was asked to".to_owned(), None));
        }
        WaitStatus::Signaled(_, Signal::SIGKILL, _) => return Err(Error::Killed),
        WaitStatus::Exited(_, code) => format!("exit code {code}"),
        WaitStatus::Signaled(_, signal, _) => signal.to_string(),
        other => format!("{other:?}"),
    };
    Err(Error::Ended { status, last: postmaster.last_words() })
}
