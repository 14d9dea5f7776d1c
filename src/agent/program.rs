//! Runs programs and keeps what they said last.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::failure::Failure;

/// How many of a program's last lines an error repeats.
const LINES: usize = 4;

/// What a program that is to end may take for it: to give up a lock, say, of a server that does not answer.
const GRACE: Duration = Duration::from_secs(5);

/// The programs that are running, so that a request to end can be passed on.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

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

/// Hears each line that a program says on its standard error; true = it is to end.
pub type Listener = Box<dyn FnMut(&str) -> bool + Send>;

/// Runs `command` to whatever end, giving it `input` to read.
pub fn finish(command: &mut Command, input: Option<&[u8]>) -> Result<Output, Error> {
    listen(command, input, None)
}

/// Runs `command` to whatever end, giving it `input` to read, and `listener` what it says.
pub fn listen(command: &mut Command, input: Option<&[u8]>, listener: Option<Listener>) -> Result<Output, Error> {
    let program = name(command);
    let failed = |source| Error::Start { program, source };
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = spawn(command, stdin)?;
    let (id, given) = (child.id(), child.stdin.take());
    let output = thread::scope(|scope| {
        let ended = scope.spawn(|| collect(child, listener));
        if let (Some(input), Some(mut stdin)) = (input, given) {
            // A program that ended early tells why by its status; that it no longer reads says less.
            let _ = stdin.write_all(input);
        }
        ended.join().unwrap_or_else(|_| Err(io::Error::other("the thread that waits for it ended")))
    });
    forget(id);
    output.map_err(failed)
}

/// Waits for its end, and keeps what it says.
fn collect(mut child: Child, listener: Option<Listener>) -> io::Result<Output> {
    let Some(listener) = listener else { return child.wait_with_output() };
    let (id, stderr) = (child.id(), child.stderr.take());
    let hearing = thread::spawn(move || stderr.map_or_else(Vec::new, |stderr| hear(stderr, id, listener)));
    let output = child.wait_with_output()?;
    let stderr = hearing.join().unwrap_or_default();
    Ok(Output { stderr, ..output })
}

fn hear(stderr: impl Read, id: u32, mut listener: Listener) -> Vec<u8> {
    let (mut all, mut ending) = (Vec::new(), false);
    let mut stderr = BufReader::new(stderr);
    loop {
        let begin = all.len();
        if !stderr.read_until(b'\n', &mut all).is_ok_and(|read| read > 0) {
            return all;
        }
        let line = all.get(begin..).map(String::from_utf8_lossy).unwrap_or_default();
        if !ending && listener(&line) {
            ending = true;
            end(id);
        }
    }
}

/// Ends it; at once, if it takes too long to end by itself.
fn end(id: u32) {
    let Some(pid) = pid(id) else { return };
    let _ = kill(pid, Signal::SIGTERM);
    thread::spawn(move || {
        thread::sleep(GRACE);
        if running().contains(&pid) {
            let _ = kill(pid, Signal::SIGKILL);
        }
    });
}

/// Runs both to whatever ends, what the first one prints being what the second one reads; `listener` hears what the first one says.
pub fn pipe(mut first: Command, mut second: Command, listener: Option<Listener>) -> Result<(Output, Output), Error> {
    let (source, sink) = (name(&first), name(&second));
    let mut writing = spawn(&mut first, Stdio::null())?;
    let stdin = writing.stdout.take().map_or_else(Stdio::null, Stdio::from);
    let reading = spawn(&mut second, stdin);
    // It holds the end that is read: with it, the first one would wait for ever for somebody to read on.
    drop(second);
    let reading = match reading {
        Ok(reading) => reading,
        Err(error) => {
            let _ = writing.kill();
            let _ = writing.wait();
            forget(writing.id());
            return Err(error);
        }
    };
    let ids = [writing.id(), reading.id()];
    let wait = thread::spawn(move || collect(writing, listener));
    let read = reading.wait_with_output();
    let written = wait.join().unwrap_or_else(|_| Err(io::Error::other("the thread that waits for it ended")));
    ids.into_iter().for_each(forget);
    let lost = |program| move |source| Error::Start { program, source };
    Ok((written.map_err(lost(source))?, read.map_err(lost(sink))?))
}

fn spawn(command: &mut Command, stdin: Stdio) -> Result<Child, Error> {
    let program = name(command);
    let child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.map_err(|source| Error::Start { program, source })?;
    running().extend(pid(child.id()));
    Ok(child)
}

fn running() -> MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pid(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().map(Pid::from_raw)
}

fn forget(id: u32) {
    running().retain(|running| Some(*running) != pid(id));
}

/// Passes a request to end on to the programs that are running. False when there is none.
pub fn end_running() -> bool {
    running().iter().filter(|pid| kill(**pid, Signal::SIGTERM).is_ok()).count() > 0
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
    fn one_that_says_the_wrong_thing_is_ended_and_what_it_said_is_kept() {
        let script = "echo out; echo fine >&2; echo wrong >&2; exec sleep 60";
        let listener: Listener = Box::new(|line| line.starts_with("wrong"));
        let output = listen(Command::new("sh").args(["-c", script]), None, Some(listener)).unwrap();
        assert_eq!(output.status.code(), None, "ended by a signal");
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"fine\nwrong\n"[..]));
    }

    #[test]
    fn input_reaches_the_program() {
        let output = finish(&mut Command::new("cat"), Some(b"a manifest")).unwrap();
        assert_eq!(output.stdout, b"a manifest");
    }
}
