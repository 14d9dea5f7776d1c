//! `watch`: the container beside a server that sees what no probe of Kubernetes can: a frozen or read-only database, a volume without
//! room, a file store that loses uploads (dhis2-core at 2.42.4.1, observed: none of them shows in DHIS2's own answers).
//!
//! Its port is open while all is well, and a probe asks for no more. When all is not well it ends, once for each cause, so that its
//! termination message tells the operator which; the kubelet starts it again, and it waits with a closed port until all is well.
//! What hangs where no signal reaches keeps it from ending: then the closed port alone tells, and the operator knows what it means.

mod database;
mod door;
mod files;
mod look;

use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use super::Ended;
use super::args::Watched;
use super::failure::{Failure, told};
use super::log::Log;
use super::paths::Paths;
use crate::layout;
use crate::report::Refusal;
use door::Door;
use look::Look;

/// How often it looks while all is well; five times as often while somebody waits for that.
const EVERY: Duration = Duration::from_secs(5);
/// How long a look may take: what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(4);
/// How many looks in a row have to be bad until that is believed.
const BELIEVED: u32 = 2;

/// What is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// The file store.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// The port can't be opened.
    #[error("listen on port {0}")]
    Listen(u16, #[source] io::Error),
    /// What was told can't be remembered.
    #[error("remember in {0} what was told")]
    Remember(PathBuf, #[source] io::Error),
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Database(error) => error.reason(),
            Self::Files(error) => error.reason(),
            Self::Listen(..) | Self::Remember(..) => None,
        }
    }
}

/// Watches until there is something to tell.
pub fn watch(watched: &Watched, paths: &Paths, log: Log) -> Result<Ended, Error> {
    let (subject, paths) = (watched.subject, paths.clone());
    let told = Told(paths.of(layout::WATCH_TOLD));
    let look = Look::new(move || subject.look(&paths), move || subject.hangs());
    watch_with(look, Door::at(watched.port), &told, EVERY, log)
}

fn watch_with(mut look: Look, mut door: Door, known: &Told, every: Duration, log: Log) -> Result<Ended, Error> {
    let mut bad = 0;
    loop {
        match look.ask(PATIENCE) {
            Ok(()) => {
                bad = 0;
                known.forget()?;
                door.open()?;
            }
            Err(error) => {
                bad += 1;
                if bad >= BELIEVED && door.close() {
                    log.warn(&told(&error));
                }
                if bad >= BELIEVED && error.reason().is_some_and(|reason| known.is_other(reason)) {
                    known.remember(&error)?;
                    return Err(error);
                }
            }
        }
        sleep(if door.is_open() { every } else { every / 5 });
    }
}

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Subject {
    /// PostgreSQL and its volume
    Database,
    /// DHIS2's file store
    Files,
}

impl Subject {
    fn look(self, paths: &Paths) -> Result<(), Error> {
        match self {
            Self::Database => Ok(database::look(paths)?),
            Self::Files => Ok(files::look(paths)?),
        }
    }

    fn hangs(self) -> Error {
        match self {
            Self::Database => database::Error::Hangs.into(),
            Self::Files => files::Error::Hangs.into(),
        }
    }
}

/// The cause that the last end told, so that the same is not told again: each end is followed by a longer wait of the kubelet's.
struct Told(PathBuf);

impl Told {
    fn is_other(&self, reason: Refusal) -> bool {
        std::fs::read_to_string(&self.0).unwrap_or_default() != reason.to_string()
    }

    fn remember(&self, error: &Error) -> Result<(), Error> {
        let reason = error.reason().map(|reason| reason.to_string()).unwrap_or_default();
        std::fs::write(&self.0, reason).map_err(|error| self.failed(error))
    }

    fn forget(&self) -> Result<(), Error> {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(error)),
            _ => Ok(()),
        }
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::Remember(Path::to_owned(&self.0), error)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::report::Verb;

    const SOON: Duration = Duration::from_millis(20);

    fn bad() -> Error {
        files::Error::Hangs.into()
    }

    /// Watches with these answers, one a look; returns the port, and how it ended once the answers are used up or it tells.
    fn watched(told: &Path, answers: Vec<bool>) -> (u16, Receiver<Result<Ended, Error>>) {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let answers = Mutex::new(answers.into_iter());
        let last = move || answers.lock().unwrap().next().unwrap_or(true);
        let look = Look::new(move || if last() { Ok(()) } else { Err(bad()) }, bad);
        let (end, ended) = channel();
        let told = Told(told.to_owned());
        std::thread::spawn(move || {
            // Nobody may wait for it any more.
            let _ = end.send(watch_with(look, Door::at(port), &told, SOON, Log::new(Verb::Watch)));
        });
        (port, ended)
    }

    fn is_open(port: u16) -> bool {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    }

    fn until(what: impl Fn() -> bool) {
        let begun = std::time::Instant::now();
        while !what() {
            assert!(begun.elapsed() < Duration::from_secs(10));
            sleep(SOON);
        }
    }

    #[test]
    fn a_cause_is_told_once_and_waited_out() {
        let folder = tempfile::tempdir().unwrap();
        let told = folder.path().join("told");
        let (_, ended) = watched(&told, vec![true, false, false]);
        let error = ended.recv_timeout(Duration::from_secs(10)).unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Refusal::FilesNotWritable));
        // Started again: closed while it is bad, without another end; open as soon as it is good.
        let (port, ended) = watched(&told, vec![false; 20]);
        assert!(!is_open(port));
        until(|| is_open(port));
        assert!(ended.try_recv().is_err());
        assert!(!told.exists(), "the next time it is told again");
    }

    #[test]
    fn one_bad_look_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let (port, ended) = watched(&folder.path().join("told"), [true, false, true, false, true].repeat(4));
        until(|| is_open(port));
        assert!(ended.recv_timeout(SOON * 30).is_err());
        assert!(is_open(port));
    }
}
