//! The PostgreSQL server as a child process: its log passes through, and its last words are kept.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::agent::paths::Paths;
use crate::agent::postgres::programs::Programs;
use crate::layout;
use crate::report::Refusal;

/// What a line about the server's own end may contain. Errors of statements are not among it.
const TROUBLE: [&str; 6] =
    ["PANIC:", "FATAL:", "was terminated by signal", "could not", "unrecognized configuration parameter", "invalid value for parameter"];
/// How many lines of trouble are kept.
const KEPT: usize = 4;

/// A running server.
#[derive(Debug)]
pub struct Postmaster {
    /// Its process.
    pub pid: Pid,
    trouble: Arc<Mutex<VecDeque<String>>>,
    log_ended: Receiver<()>,
}

/// Why a server ended, as far as its log tells.
#[derive(Debug, PartialEq, Eq)]
pub struct LastWords {
    /// Its last lines of trouble.
    pub said: String,
    /// What they mean, if that is known.
    pub reason: Option<Refusal>,
    /// What to do.
    pub advice: &'static str,
}

impl Postmaster {
    /// Starts the server on the volume, with the mounted configuration.
    pub fn start(programs: &Programs, paths: &Paths) -> io::Result<Self> {
        let mut command = programs.command("postgres");
        arguments(&mut command, paths);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let trouble = Arc::new(Mutex::new(VecDeque::new()));
        let (ended, log_ended) = channel();
        if let Some(log) = child.stderr.take() {
            let kept = Arc::clone(&trouble);
            std::thread::spawn(move || {
                pass_on(log, &kept);
                drop(ended);
            });
        }
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        Ok(Self { pid: Pid::from_raw(pid), trouble, log_ended })
    }

    /// Sends it a signal. A server that has ended meanwhile is told by its end, not here.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(self.pid, signal);
    }

    /// What it said last, after its end.
    pub fn last_words(&self) -> LastWords {
        // Its end of the pipe closes with its last child; the bound is for a child that refuses to die.
        let _ = self.log_ended.recv_timeout(Duration::from_secs(2));
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        interpret(&trouble.iter().cloned().collect::<Vec<_>>().join(" | "))
    }
}

fn arguments(command: &mut Command, paths: &Paths) {
    command.arg("-D").arg(paths.of(layout::PGDATA));
    for (setting, place) in
        [("config_file", layout::POSTGRESQL_CONF), ("hba_file", layout::PG_HBA_CONF), ("unix_socket_directories", layout::SOCKETS)]
    {
        command.arg("-c").arg(format!("{setting}={}", paths.of(place).display()));
    }
}

fn pass_on(log: ChildStderr, trouble: &Mutex<VecDeque<String>>) {
    for line in BufReader::new(log).split(b'\n') {
        let Ok(line) = line else { return };
        // Nobody reading the container's log must not stop the server from writing it.
        let _ = io::stderr().lock().write_all(&[&line, b"\n".as_slice()].concat());
        let text = String::from_utf8_lossy(&line);
        if TROUBLE.iter().any(|word| text.contains(word)) {
            let mut kept = trouble.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push_back(text.trim().to_owned());
            if kept.len() > KEPT {
                kept.pop_front();
            }
        }
    }
}

fn interpret(said: &str) -> LastWords {
    let any = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let (reason, advice) = if super::says_full(said) {
        (Some(Refusal::DiskFull), "the database volume is full: enlarge it (database.bundled.storage.size)")
    } else if any(&[
        "could not locate a valid checkpoint record",
        "invalid primary checkpoint record",
        "control file appears to be corrupt",
        "incorrect checksum in control file",
        "database files are incompatible with server",
    ]) {
        (Some(Refusal::VolumeDamaged), "the data directory is damaged: restore a backup")
    } else if any(&["Cannot allocate memory", "out of memory", "could not map anonymous shared memory"]) {
        (None, "the container has too little memory for PostgreSQL's parameters: choose a larger size")
    } else if any(&["was terminated by signal 9"]) {
        (
            Some(Refusal::Killed),
            "a process was killed, as the kernel does when memory is used up: choose a larger size, or a node with more",
        )
    } else if any(&["unrecognized configuration parameter", "invalid value for parameter", "configuration file"]) {
        (None, "PostgreSQL does not take its configuration: correct database.bundled.parameters")
    } else {
        (None, "see the log lines before this one")
    };
    LastWords { said: said.to_owned(), reason, advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_understood() {
        let reason = |said: &str| interpret(said).reason;
        assert_eq!(reason("PANIC:  could not write to file \"pg_wal/xlogtemp.29\": No space left on device"), Some(Refusal::DiskFull));
        assert_eq!(reason("PANIC:  could not locate a valid checkpoint record"), Some(Refusal::VolumeDamaged));
        assert_eq!(reason("FATAL:  could not map anonymous shared memory: Cannot allocate memory"), None);
        assert!(interpret("FATAL:  could not map anonymous shared memory: Cannot allocate memory").advice.contains("memory"));
        assert_eq!(reason("LOG:  server process (PID 71) was terminated by signal 9: Killed"), Some(Refusal::Killed));
        assert!(interpret("FATAL:  configuration file \"/etc/x\" contains errors").advice.contains("configuration"));
        assert_eq!(interpret(""), LastWords { said: String::new(), reason: None, advice: "see the log lines before this one" });
    }
}
