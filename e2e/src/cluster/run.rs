//! Other programs: run to their end, with what they said when they fail.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How often a long step says how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(20);

/// So many of a program's last lines are kept for its error.
const KEPT_LINES: usize = 40;

/// A program that could not be run or did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started.
    #[error("start {program}")]
    Start {
        /// Its name.
        program: String,
        /// The cause.
        source: io::Error,
    },
    /// It ended with another status than 0.
    #[error("{program} ended with {status}:\n{said}")]
    Failed {
        /// Its name.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines that it wrote.
        said: String,
    },
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// Runs a program and returns what it wrote to standard output.
pub fn output(command: &mut Command) -> Result<String, Error> {
    let program = name(command);
    let output = command.output().map_err(|source| Error::Start { program: program.clone(), source })?;
    check(program, &output)
}

/// Runs a program that reads `input`.
pub fn feed(command: &mut Command, input: &[u8]) -> Result<String, Error> {
    let program = name(command);
    let start = |source| Error::Start { program: program.clone(), source };
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends early closes its end; its status tells more than the broken pipe.
        let _ = io::Write::write_all(&mut stdin, input);
    }
    let output = child.wait_with_output().map_err(start)?;
    check(program, &output)
}

fn check(program: String, output: &Output) -> Result<String, Error> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(Error::Failed { program, status: output.status, said: said.trim_end().to_owned() })
}

/// A long-running program with the given arguments, which is ended when this process is.
pub fn tied(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command
}

/// Runs a program that takes minutes: says at the start and the end, and in between how many lines
/// it wrote and the last of them.
pub fn follow(what: &str, command: &mut Command) -> Result<(), Error> {
    let program = what.to_owned();
    let begun = Instant::now();
    eprintln!("{what} …");
    let (reader, writer) = io::pipe().map_err(|source| Error::Start { program: program.clone(), source })?;
    let mut child = writer
        .try_clone()
        .and_then(|second| command.stdout(writer).stderr(second).stdin(Stdio::null()).spawn())
        .map_err(|source| Error::Start { program: program.clone(), source })?;
    // The command holds the writing ends of the pipe, which would keep it open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let said = tell(what, begun, BufReader::new(reader));
    let status = child.wait().map_err(|source| Error::Start { program: program.clone(), source })?;
    if !status.success() {
        let said = said.into_iter().collect::<Vec<_>>().join("\n");
        return Err(Error::Failed { program, status, said });
    }
    eprintln!("{what}: done in {} s", begun.elapsed().as_secs());
    Ok(())
}

fn tell(what: &str, begun: Instant, lines: impl BufRead + Send + 'static) -> VecDeque<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let (mut count, mut kept, mut told) = (0, VecDeque::new(), Instant::now());
    loop {
        match receiver.recv_timeout(REPORT_EVERY.saturating_sub(told.elapsed())) {
            Ok(line) => {
                count += 1;
                kept.push_back(line);
                if kept.len() > KEPT_LINES {
                    kept.pop_front();
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                let last = kept.back().map_or("", String::as_str);
                let last: String = last.chars().take(70).collect();
                eprintln!("{what}: {} s, {count} steps, now {last}", begun.elapsed().as_secs());
                told = Instant::now();
            }
            Err(RecvTimeoutError::Disconnected) => return kept,
        }
    }
}
