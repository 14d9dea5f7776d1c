//! Processes of pods, as the machine under our own cluster sees them.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cluster::files;

/// Numbers of the processes of a pod that run this program.
///
/// # Errors
/// When `/proc` can't be listed.
pub fn of(pod: &str, program: &str) -> Result<Vec<i32>, files::Error> {
    let runs = |folder: &Path| {
        // A process that ends meanwhile is none of them.
        let groups = fs::read_to_string(folder.join("cgroup")).unwrap_or_default();
        let executable = fs::read_link(folder.join("exe")).unwrap_or_default();
        let name = executable.file_name().unwrap_or_default().to_string_lossy();
        // systemd's driver writes the uid with underscores.
        (groups.contains(pod) || groups.contains(&pod.replace('-', "_"))) && name.trim_end_matches(" (deleted)") == program
    };
    let found = files::list(Path::new("/proc"))?.into_iter().filter(|folder| runs(folder));
    Ok(found.filter_map(|folder| folder.file_name()?.to_str()?.parse().ok()).collect())
}

/// The arguments of all processes, one process a line.
///
/// # Errors
/// When `/proc` can't be listed.
pub fn arguments() -> Result<String, files::Error> {
    // A process that ends meanwhile has none any more.
    let of = |folder: &Path| fs::read(folder.join("cmdline")).unwrap_or_default();
    let all = files::list(Path::new("/proc"))?.into_iter().map(|folder| String::from_utf8_lossy(&of(&folder)).replace('\0', " "));
    Ok(all.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n"))
}

/// What a DHIS2 container's first process runs: the stand-in's name, and that of the image of DHIS2.
const DHIS2: [&str; 2] = ["catalina.sh", "java"];

/// Number of the DHIS2 process of a pod.
///
/// # Errors
/// When there is none, or `/proc` can't be listed.
pub fn dhis2(pod: &str) -> super::Outcome<i32> {
    for program in DHIS2 {
        if let Some(process) = of(pod, program)?.into_iter().next() {
            return Ok(process);
        }
    }
    Err("DHIS2 does not run".into())
}

/// Sends them a signal: `SIGKILL`, as a lack of memory does, or another one. Returns whether there was any.
///
/// # Errors
/// When `/proc` can't be listed, or the kernel refuses.
pub fn signal(pod: &str, program: &str, signal: Signal) -> io::Result<bool> {
    let mut reached = false;
    for process in of(pod, program).map_err(io::Error::other)? {
        match kill(Pid::from_raw(process), signal) {
            Ok(()) => reached = true,
            Err(Errno::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(reached)
}

/// The most memory that a process ever had, in KiB.
pub fn peak_memory(process: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
