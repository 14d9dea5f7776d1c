//! The termination message of the container, and the request to end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use super::log::Log;
use super::program;
use crate::layout;
use crate::report::{Outcome, Report, Verb};

/// Where the report goes.
#[derive(Debug)]
pub struct Message {
    path: Option<PathBuf>,
    verb: Verb,
}

impl Message {
    /// The message at `path`, or at the place that Kubernetes reads. `database check` is a probe inside a running container
    /// and leaves that container's message alone.
    pub fn new(path: Option<&Path>, verb: Verb) -> Self {
        let path = match path {
            Some(path) => Some(path.to_owned()),
            None if verb == Verb::DatabaseCheck => None,
            None => Some(PathBuf::from(layout::REPORT)),
        };
        Self { path, verb }
    }

    /// Leaves the report. Outside a container the place may not exist: that changes nothing about the verb's result.
    pub fn leave(&self, report: &Report, log: Log) {
        let Some(path) = &self.path else { return };
        if let Err(error) = std::fs::write(path, report.to_json()) {
            log.warn(&format!("write the report to {}: {error}", path.display()));
        }
    }

    /// Tells what is waited for, for the case that the container is killed meanwhile.
    pub fn waiting(&self, message: &str, log: Log) {
        log.info(message);
        self.leave(&Report { verb: self.verb, outcome: Outcome::Waiting, reason: None, message: message.to_owned(), data: None }, log);
    }
}

/// How long the program that is running may take to end after a request: restic takes its lock away meanwhile.
const GRACE: Duration = Duration::from_secs(10);

/// Ends the program at SIGTERM or SIGINT. As PID 1 of a container it would otherwise ignore them until it is killed. A program that
/// is running is asked to end first.
pub fn end_when_told(log: Log) {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    if let Err(error) = signals.thread_block() {
        log.warn(&format!("block signals: {error}"));
        return;
    }
    std::thread::spawn(move || {
        if let Ok(signal) = signals.wait() {
            log.warn(&format!("ended by {signal}"));
            if program::end_running() {
                // The verb sees the program's end, fails by it and ends this process itself.
                std::thread::sleep(GRACE);
            }
            std::process::exit(128 + signal as i32);
        }
    });
}
