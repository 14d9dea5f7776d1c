//! Memory of a container of our own cluster that is used up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Outcome;
use crate::cluster::{cgroups, files};

/// So much more than it has now, in bytes, is the limit: little has to be used up then.
const ROOM: u64 = 8 << 20;
const LIMIT: Duration = Duration::from_secs(30);

/// Uses up the memory of the container in which a process runs, until the kernel has killed the process for it.
///
/// # Errors
/// When the kernel does not.
pub fn use_up(process: i32) -> Outcome {
    let group = group(process)?;
    let (limit, now) = if group.join("memory.max").exists() {
        ("memory.max", "memory.current")
    } else {
        ("memory.limit_in_bytes", "memory.usage_in_bytes")
    };
    let used: u64 = files::read(&group.join(now))?.trim().parse()?;
    files::write(&group.join(limit), (used + ROOM).to_string())?;
    // Whoever uses it up is the last that the kernel would kill.
    let eat = format!("echo -1000 > /proc/self/oom_score_adj; echo $$ > {}/cgroup.procs; exec tail /dev/zero", group.display());
    let mut eater = Command::new("sh").args(["-c", &eat]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let begun = Instant::now();
    let lives = || is_alive(process);
    while lives() && begun.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(50));
    }
    let survived = lives();
    eater.kill()?;
    eater.wait()?;
    if survived { Err("the kernel killed nothing although memory was used up".into()) } else { Ok(()) }
}

/// A process that has ended and was not waited for is none any more.
fn is_alive(process: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The control group that limits the memory of a process.
fn group(process: i32) -> Outcome<PathBuf> {
    let groups = files::read(Path::new(&format!("/proc/{process}/cgroup")))?;
    for hierarchy in cgroups::hierarchies()? {
        let controllers = if hierarchy.kind == "cgroup" { hierarchy.options.as_str() } else { "" };
        let path = groups.lines().find_map(|line| {
            let (names, path) = line.split_once(':')?.1.split_once(':')?;
            (names == controllers).then(|| hierarchy.mount_point.join(path.trim_start_matches('/')))
        });
        let limits = |path: &PathBuf| ["memory.max", "memory.limit_in_bytes"].iter().any(|file| path.join(file).exists());
        if let Some(path) = path.filter(limits) {
            return Ok(path);
        }
    }
    Err(format!("no control group limits the memory of process {process}").into())
}
