//! `rehearse`: waits until a DHIS2 on a copy of the database serves, and tells how long that took; or why it does not. Runs beside it in a pod that
//! nothing else depends on: whatever it finds, the pod goes with all it holds.

mod cause;

use std::time::{Duration, Instant};

use super::Ended;
use super::args::Rehearse;
use super::dhis2::Dhis2;
use super::failure::Failure;
use super::log::Log;
use super::paths::Paths;
use super::termination::Message;
use crate::dhis2::version::Version;
use crate::layout;
use crate::report::{Data, Refusal, Rehearsed};

/// A request that takes longer hangs, as all do until DHIS2 has started.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often a server that answers at once is asked.
const ASK: Duration = Duration::from_secs(1);
/// How long it must answer 404 until that is believed: Tomcat answers so for a moment while it starts the application.
const FAILED: Duration = Duration::from_secs(5);

/// A DHIS2 that does not serve on the copy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its start has failed.
    #[error("DHIS2 {version} does not start on a copy of the database{cause}")]
    Failed {
        /// The version.
        version: Version,
        /// What its log says.
        cause: String,
    },
    /// It takes too long.
    #[error(
        "DHIS2 {version} does not serve on a copy of the database after {minutes} minutes: spec.upgrade.timeout says how long it may take{cause}"
    )]
    Late {
        /// The version.
        version: Version,
        /// How long it had.
        minutes: u64,
        /// What its log says.
        cause: String,
    },
    /// It is another one.
    #[error("what serves on a copy of the database says that it is DHIS2 {found}, not {version}: correct `version` or `image`")]
    Other {
        /// What it says.
        found: String,
        /// What it should be.
        version: Version,
    },
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        Some(Refusal::RehearsalFailed)
    }
}

/// Does DHIS2 serve, and after how long?
pub fn rehearse(arguments: &Rehearse, paths: &Paths, log: Log, reports: &Message) -> Result<Ended, Error> {
    let version = arguments.version;
    let seconds = seconds_until_it_serves(arguments, paths, log, reports)?;
    let message = format!("DHIS2 {version} serves on a copy of the database after {seconds} s");
    Ok((message, Some(Data::Rehearse(Rehearsed { version, seconds }))))
}

/// Waits until DHIS2 serves.
pub fn seconds_until_it_serves(arguments: &Rehearse, paths: &Paths, log: Log, reports: &Message) -> Result<u64, Error> {
    let version = arguments.version;
    reports.waiting(&format!("waiting for DHIS2 {version} to serve on a copy of the database"), log);
    let dhis2 = Dhis2::at(&arguments.url, PATIENCE);
    let start = Instant::now();
    let mut failing: Option<Instant> = None;
    loop {
        match dhis2.ping().map(|answer| answer.status) {
            Ok(200) => {
                if let Some(found) = dhis2.version() {
                    return if found.parse() == Ok(version) { Ok(start.elapsed().as_secs()) } else { Err(Error::Other { found, version }) };
                }
            }
            // The first one may have come at the end of a long hang.
            Ok(404) if failing.get_or_insert_with(Instant::now).elapsed() >= FAILED => {
                return Err(Error::Failed { version, cause: cause::told(&paths.of(layout::DHIS2_LOG)) });
            }
            _ => {}
        }
        if start.elapsed() >= Duration::from_secs(arguments.timeout) {
            let cause = cause::told(&paths.of(layout::DHIS2_LOG));
            return Err(Error::Late { version, minutes: arguments.timeout.div_ceil(60), cause });
        }
        std::thread::sleep(ASK);
    }
}

#[cfg(test)]
mod tests;
