//! Holds a program back until the API server answers, then becomes that program.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::ready;

/// Why the program did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server.
    #[error(transparent)]
    Ready(#[from] ready::Error),
    /// The runtime.
    #[error("start waiting")]
    Runtime(#[source] io::Error),
    /// The program.
    #[error("start {0:?}")]
    Start(OsString, #[source] io::Error),
}

/// Waits, then runs `command` in this process's place; returns only when that fails.
pub fn become_after_api(kubeconfig: &Path, command: &[OsString]) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    runtime.block_on(ready::api(kubeconfig, Duration::from_hours(1)))?;
    drop(runtime);
    if let [program, arguments @ ..] = command {
        let failed = Command::new(program).args(arguments).exec();
        return Err(Error::Start(program.clone(), failed));
    }
    Ok(())
}
