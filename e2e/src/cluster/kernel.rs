//! What the cluster needs of the machine's kernel.

use std::path::Path;
use std::process::Command;

use super::files;

/// What is missing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the kernel.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// A part of the kernel, as a module that could be loaded or built in.
    #[error("the kernel lacks {0}, and `modprobe {0}` does not bring it")]
    Lacks(&'static str),
}

/// Looks for what is needed and loads what comes as a module.
pub fn check() -> Result<(), Error> {
    for part in ["overlay", "xfs", "br_netfilter", "loop"] {
        if !is_there(part)? {
            // A machine without modules has no such program, and needs none.
            let _ = Command::new("modprobe").arg(part).output();
            if !is_there(part)? {
                return Err(Error::Lacks(part));
            }
        }
    }
    Ok(())
}

fn is_there(part: &str) -> Result<bool, Error> {
    Ok(match part {
        "br_netfilter" => Path::new("/proc/sys/net/bridge").exists(),
        "loop" => Path::new("/dev/loop-control").exists(),
        filesystem => {
            files::read(Path::new("/proc/filesystems"))?.lines().any(|line| line.split_whitespace().next_back() == Some(filesystem))
        }
    })
}
