//! Where and of what a report is.

use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::site::checkout;

/// The machine and the versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Processors that this process may use.
    pub processors: usize,
    /// Model of the processor.
    pub model: String,
    /// Memory in GiB.
    pub memory: u64,
    /// Linux.
    pub kernel: String,
    /// Commit of the checkout.
    pub commit: String,
    /// Version of the API server.
    pub kubernetes: String,
}

impl Machine {
    /// This one, with an API server of this version.
    pub fn here(kubernetes: String) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
            line.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = value(&read("/proc/meminfo"), "MemTotal");
        let kib: u64 = memory.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default();
        Self {
            processors: std::thread::available_parallelism().map_or(1, Into::into),
            model: value(&read("/proc/cpuinfo"), "model name"),
            memory: kib >> 20,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            commit: commit(),
            kubernetes,
        }
    }
}

/// Empty outside a checkout.
fn commit() -> String {
    let answer = Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(checkout("")).output();
    answer.map(|answer| String::from_utf8_lossy(&answer.stdout).trim().to_owned()).unwrap_or_default()
}
