//! `startup`: the startup probe of DHIS2's container. A start that fails leaves Tomcat alive, answering 404 for ever (dhis2-core at
//! 2.42.4.1, observed), which a probe of Kubernetes can't tell from a migration of hours. So a DHIS2 whose start has failed is
//! ended here: the kubelet starts it again, and its termination message tells the operator.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Ended;
use super::args::Startup;
use super::dhis2::Dhis2;
use super::failure::Failure;
use super::log::Log;
use super::termination::Message;
use crate::report::Refusal;

/// Kubernetes ends a probe after its own time limit; this one ends first and says what it saw.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long it must answer 404 until that is believed: Tomcat answers so for a moment while it starts the application.
const FAILED: Duration = Duration::from_secs(5);
/// How often a server that answers at once is asked.
const ASK: Duration = Duration::from_secs(1);

/// A DHIS2 that has not started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its start has failed.
    #[error("the start of DHIS2 has failed (it answers 404); the end of its log, `kubectl logs --previous`, says why; it is tried again")]
    Failed,
    /// Its start has failed, and it can't be ended.
    #[error("the start of DHIS2 has failed (it answers 404), and its process {0} can't be ended: delete the pod when its cause is removed")]
    Kept(i32, #[source] Errno),
    /// It is at work.
    #[error("DHIS2 is starting: no answer yet ({0})")]
    Hangs(#[from] ureq::Error),
    /// It answers something else.
    #[error("DHIS2 is starting: it answers {0}")]
    Answers(u16),
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Failed | Self::Kept(..) => Some(Refusal::StartFailed),
            Self::Hangs(_) | Self::Answers(_) => None,
        }
    }
}

/// Has DHIS2 started?
pub fn startup(arguments: &Startup, log: Log, reports: &Message) -> Result<Ended, Error> {
    let dhis2 = Dhis2::at(&arguments.url, PATIENCE);
    let mut failing: Option<Instant> = None;
    loop {
        match dhis2.ping()?.status {
            200 => return Ok((format!("DHIS2 at {dhis2} has started"), None)),
            // The first one may have come at the end of a long hang.
            404 if failing.get_or_insert_with(Instant::now).elapsed() < FAILED => std::thread::sleep(ASK),
            404 => return Err(end(arguments.process, log, reports)),
            other => return Err(Error::Answers(other)),
        }
    }
}

fn end(process: i32, log: Log, reports: &Message) -> Error {
    // Told first: this process ends with PID 1.
    reports.failing(&Error::Failed, log);
    match kill(Pid::from_raw(process), Signal::SIGTERM) {
        Ok(()) => Error::Failed,
        Err(error) => Error::Kept(process, error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::os::unix::process::ExitStatusExt;
    use std::path::Path;
    use std::process::{Child, Command};

    use super::*;
    use crate::report::{Outcome, Report, Verb};

    /// A server that answers in turn, the first time after a while, the last answer for ever; none at all where there is no answer.
    fn server(answers: &'static [u16], first: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/ctx", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 1024]).unwrap();
                std::thread::sleep(if number == 0 { first } else { Duration::ZERO });
                match answers.get(number).or(answers.last()) {
                    Some(status) => write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap(),
                    None => kept.push(stream),
                }
            }
        });
        url
    }

    fn looked_at(answers: &'static [u16], first: Duration, report: &Path) -> (Result<Ended, Error>, Child) {
        let process = Command::new("sleep").arg("60").spawn().unwrap();
        let arguments = Startup { url: server(answers, first), process: process.id().cast_signed() };
        let reports = Message::new(Some(report), Verb::Startup);
        (startup(&arguments, Log::new(Verb::Startup), &reports), process)
    }

    fn looked(answers: &'static [u16]) -> (Result<Ended, Error>, Child) {
        looked_at(answers, Duration::ZERO, Path::new("/dev/null"))
    }

    fn alive(mut process: Child) -> bool {
        let alive = process.try_wait().unwrap().is_none();
        process.kill().unwrap();
        process.wait().unwrap();
        alive
    }

    #[test]
    fn a_failed_start_is_told_and_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report");
        let (result, mut process) = looked_at(&[404], Duration::ZERO, &path);
        assert_eq!(result.unwrap_err().reason(), Some(Refusal::StartFailed));
        let report = Report::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!((report.outcome, report.reason), (Outcome::Failed, Some(Refusal::StartFailed)));
        assert_eq!(process.wait().unwrap().signal(), Some(Signal::SIGTERM as i32));
    }

    #[test]
    fn a_migration_is_left_alone() {
        let (result, process) = looked(&[]);
        assert!(matches!(result, Err(Error::Hangs(_))));
        assert!(alive(process));
    }

    #[test]
    fn a_moment_of_404_is_none() {
        let (result, process) = looked(&[404, 404, 200]);
        assert!(result.is_ok());
        assert!(alive(process));
    }

    #[test]
    fn a_moment_of_404_after_a_long_hang_is_none() {
        let (result, process) = looked_at(&[404, 200], FAILED + ASK, Path::new("/dev/null"));
        assert!(result.is_ok());
        assert!(alive(process));
    }

    #[test]
    fn an_answer_of_another_kind_ends_nothing() {
        let (result, process) = looked(&[503]);
        assert_eq!(result.unwrap_err().reason(), None);
        assert!(alive(process));
    }
}
