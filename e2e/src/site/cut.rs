//! A pod of our own cluster that is cut off from the API server, and from nothing else.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

use super::{Outcome, process};
use crate::cluster::run;

/// Drops what goes to the ports of an API server, before and after the Service's translation. Established connections are cut as well,
/// without a word, as by a line that is broken.
const RULES: &str = "table inet cut { chain output { type filter hook output priority 0; tcp dport { 443, 6443 } drop; }; }";

/// The cut, which heals when it is told to.
#[derive(Debug)]
pub struct Cut {
    /// The network namespace of the pod: kept open, since the process that showed the way to it may end.
    network: File,
}

impl Cut {
    /// Cuts off the pod in which this program runs.
    ///
    /// # Errors
    /// When it does not run there, or the kernel refuses.
    pub fn off(pod: &str, program: &str) -> Outcome<Self> {
        let process = process::of(pod, program)?.into_iter().next().ok_or("nothing runs in the pod")?;
        let cut = Self { network: File::open(format!("/proc/{process}/ns/net"))? };
        run::output(cut.nft().arg(RULES))?;
        Ok(cut)
    }

    /// Connects it again.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn heal(self) -> Outcome {
        run::output(self.nft().args(["delete", "table", "inet", "cut"]))?;
        Ok(())
    }

    /// nft in the network of the pod.
    fn nft(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/fd/{}", std::process::id(), self.network.as_raw_fd())).arg("nft");
        command
    }
}
