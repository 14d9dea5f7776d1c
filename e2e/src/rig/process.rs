//! Child processes that end with this one, however it ends.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{OnceLock, mpsc};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cluster::{files, run};

/// A child process. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory that it has now (`VmRSS`), in KiB.
    pub resident: u64,
    /// Memory that it had at most (`VmHWM`), in KiB.
    pub peak: u64,
    /// Time on a processor, in clock ticks of 10 ms: its own and the kernel's for it.
    pub ticks: u64,
    /// Threads.
    pub threads: u64,
}

type Order = (Command, mpsc::Sender<io::Result<Child>>);

/// The kernel ends a child when the *thread* that started it does, not the process: one that lives as long as the process starts all.
fn nursery() -> &'static mpsc::Sender<Order> {
    static NURSERY: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    NURSERY.get_or_init(|| {
        let (orders, taken) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in taken {
                // Who asked may have gone; then the child goes as well.
                if let Err(mpsc::SendError(Ok(mut child))) = answer.send(command.spawn()) {
                    let _ = child.kill();
                }
            }
        });
        orders
    })
}

impl Process {
    /// Starts a program with these arguments and variables; what it says is added to `log`.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(program: &Path, arguments: &[String], environment: &[(String, String)], log: &Path) -> Result<Self, files::Error> {
        let failed = |error| files::Error::new("start", program, error);
        let said = File::options().create(true).append(true).open(log).map_err(|e| files::Error::new("open", log, e))?;
        let mut command = run::tied(&program.to_string_lossy());
        command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(std::process::Stdio::null()).stdout(said.try_clone().map_err(failed)?).stderr(said);
        let (answer, child) = mpsc::channel();
        let gone = || failed(io::Error::other("no thread starts processes any more"));
        nursery().send((command, answer)).map_err(|_| gone())?;
        let child = child.recv().map_err(|_| gone())?.map_err(failed)?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it says what it does.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The end of what it said.
    pub fn last_words(&self) -> String {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = said.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        // One that has ended needs none: it is reaped by `ended`, `wait` or `drop`, and until then its number is its own.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), signal);
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> Option<ExitStatus> {
        self.child.wait().ok()
    }

    /// What it uses; nothing once it has ended.
    pub fn usage(&self) -> Usage {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap_or_default();
        let (status, stat) = (read("status"), read("stat"));
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
        };
        // The name in parentheses may hold anything; the fields after it are plain.
        let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
        let ticks = after.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Usage { resident: field("VmRSS:"), peak: field("VmHWM:"), ticks, threads: field("Threads:") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_outlives_the_thread_that_asked_for_it_and_not_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let start = move || Process::start(Path::new("sleep"), &["60".to_owned()], &[], &log).unwrap();
        let mut process = thread::spawn(start).join().unwrap();
        assert_eq!(process.ended(), None);
        let id = process.id();
        while process.usage().resident == 0 {
            thread::yield_now();
        }
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }
}
