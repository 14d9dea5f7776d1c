//! The termination message of the container, and the request to end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use super::failure::{Failure, told};
use super::log::Log;
use super::program;
use crate::layout;
use crate::report::{Outcome, Report, Verb};

/// Where the report goes.
#[derive(Debug)]
pub struct Message {
    path: PathBuf,
    verb: Verb,
    only_reasons: bool,
}

impl Message {
    /// The message at `path`, or at the place that Kubernetes reads. That of a probe belongs to the container that it looks at, that
    /// of a sheet to whatever container a person prints it in: it is only touched by what ends that container.
    pub fn new(path: Option<&Path>, verb: Verb) -> Self {
        let only_reasons = path.is_none() && matches!(verb, Verb::DatabaseCheck | Verb::Startup | Verb::RecoverySheet);
        Self { path: path.map_or_else(|| PathBuf::from(layout::REPORT), Path::to_owned), verb, only_reasons }
    }

    /// Leaves the report. Outside a container the place may not exist: that changes nothing about the verb's result.
    pub fn leave(&self, report: &Report, log: Log) {
        if self.only_reasons && report.reason.is_none() {
            return;
        }
        if let Err(error) = std::fs::write(&self.path, report.to_json()) {
            log.warn(&format!("write the report to {}: {error}", self.path.display()));
        }
    }

    /// Tells a failure whose consequence ends this process.
    pub fn failing(&self, failure: &dyn Failure, log: Log) {
        let (reason, message) = (failure.reason(), told(failure));
        self.leave(&Report { verb: self.verb, outcome: Outcome::Failed, reason, message, data: None }, log);
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
