//! Runs programs and keeps what they said last.

use std::io;
use std::process::{Command, ExitStatus, Output};

use super::failure::Failure;

/// How many of a program's last lines an error repeats.
const LINES: usize = 4;

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

/// Runs `command` to its end and returns what it printed.
pub fn run(command: &mut Command) -> Result<Output, Error> {
    let program = name(command);
    let output = command.output().map_err(|source| Error::Start {
        program: program.clone(),
        source,
    })?;
    if output.status.success() {
        return Ok(output);
    }
    Err(Error::Ended {
        program,
        status: output.status,
        said: last_lines(&String::from_utf8_lossy(&output.stderr)),
    })
}

/// The program's name without its directory.
pub fn name(command: &Command) -> String {
    std::path::Path::new(command.get_program())
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The last lines that say something, joined.
pub fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines
        .iter()
        .skip(lines.len().saturating_sub(LINES))
        .copied()
        .collect::<Vec<_>>()
        .join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_in_the_error() {
        let error = run(Command::new("sh").args([
            "-c",
            "for i in 1 2 3 4 5 6; do echo line $i >&2; done; exit 7",
        ]))
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "sh ended with exit status: 7: line 3 | line 4 | line 5 | line 6"
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("/nowhere/initdb")).unwrap_err();
        assert_eq!(error.to_string(), "start initdb");
    }
}
