//! Runs programs and keeps what they said last.

use std::io::{self, Write};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::failure::Failure;

/// How many of a program's last lines an error repeats.
const LINES: usize = 4;

/// The program that is running, so that a request to end can be passed on.
static RUNNING: Mutex<Option<Pid>> = Mutex::new(None);

/// A program that did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started.
    #[error("start {program}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended badly.
    #[error("{program} ended with {status}: {said}")]
    Ended {
        /// The program.
        program: String,
        /// Exit code or signal.
        status: ExitStatus,
        /// The last lines of its standard error.
        said: String,
    },
}

impl Failure for Error {}

/// Runs `command` to its good end and returns what it printed.
pub fn run(command: &mut Command) -> Result<Output, Error> {
    let output = finish(command, None)?;
    if output.status.success() {
        return Ok(output);
    }
    let said = last_lines(&String::from_utf8_lossy(&output.stderr));
    Err(Error::Ended { program: name(command), status: output.status, said })
}

/// Runs `command` to whatever end, giving it `input` to read.
pub fn finish(command: &mut Command, input: Option<&[u8]>) -> Result<Output, Error> {
    let program = name(command);
    let failed = |source| Error::Start { program, source };
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let spawned = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return Err(failed(error)),
    };
    note(i32::try_from(child.id()).ok().map(Pid::from_raw));
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        // A program that ended early tells why by its status; that it no longer reads says less.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output();
    note(None);
    output.map_err(failed)
}

fn note(pid: Option<Pid>) {
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = pid;
}

/// Passes a request to end on to the program that is running. False when there is none.
pub fn end_running() -> bool {
    let pid = *RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    pid.is_some_and(|pid| kill(pid, Signal::SIGTERM).is_ok())
}

/// The program's name without its directory.
fn name(command: &Command) -> String {
    std::path::Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The last lines that say something, joined.
pub fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines.iter().skip(lines.len().saturating_sub(LINES));
    last.copied().collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_in_the_error() {
        let script = "for i in 1 2 3 4 5 6; do echo line $i >&2; done; exit 7";
        let error = run(Command::new("sh").args(["-c", script])).unwrap_err();
        assert_eq!(error.to_string(), "sh ended with exit status: 7: line 3 | line 4 | line 5 | line 6");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("/nowhere/initdb")).unwrap_err();
        assert_eq!(error.to_string(), "start initdb");
    }

    #[test]
    fn input_reaches_the_program() {
        let output = finish(&mut Command::new("cat"), Some(b"a manifest")).unwrap();
        assert_eq!(output.stdout, b"a manifest");
    }
}
