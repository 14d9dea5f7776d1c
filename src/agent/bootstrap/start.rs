//! Waits until DHIS2 has started. A first start takes a minute, a migration may take hours: no answer means that it is at work,
//! and only 404 on its own ping means that it has failed (dhis2-core at 2.42.4.1, observed).

use std::time::{Duration, Instant};

use super::dhis2::Dhis2;
use crate::agent::failure::Failure;
use crate::agent::log::Log;
use crate::agent::termination::Message;
use crate::report::Refusal;

/// How often a server that answers at once is asked.
const ASK: Duration = Duration::from_secs(1);
/// How long it must answer 404 until that is believed: Tomcat answers so for a moment while it starts the application.
const FAILED: Duration = Duration::from_secs(5);
/// How often the wait is told.
const TELL: Duration = Duration::from_secs(30);

/// A DHIS2 that did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its start has failed.
    #[error("wait for DHIS2 at {0}: its start has failed (it answers 404); the log of its pod says why, it will not try again by itself")]
    Failed(String),
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Failed(_) => Some(Refusal::StartFailed),
        }
    }
}

/// Waits, and returns the version that runs by its own word.
pub fn wait(dhis2: &Dhis2, log: Log, reports: &Message) -> Result<String, Error> {
    reports.waiting(&format!("waiting for DHIS2 at {dhis2} to start"), log);
    let start = Instant::now();
    let mut told = start;
    let mut failing: Option<Instant> = None;
    let mut ready = None;
    loop {
        let state = match dhis2.ping() {
            Ok(answer) if answer.status == 404 => {
                let since = *failing.get_or_insert_with(Instant::now);
                if since.elapsed() >= FAILED {
                    return Err(Error::Failed(dhis2.to_string()));
                }
                "it answers 404".to_owned()
            }
            Ok(answer) if answer.status == 200 => {
                failing = None;
                match (version(dhis2), ready.take()) {
                    (Some(version), Some(before)) if version == before => return Ok(version),
                    (now, _) => ready = now,
                }
                "it has started, its database does not answer yet".to_owned()
            }
            Ok(answer) => {
                failing = None;
                format!("it answers {}", answer.status)
            }
            Err(error) => {
                failing = None;
                format!("no answer yet ({error})")
            }
        };
        if told.elapsed() >= TELL {
            log.info(&format!("still waiting for DHIS2 after {} s: {state}", start.elapsed().as_secs()));
            told = Instant::now();
        }
        std::thread::sleep(ASK);
    }
}

fn version(dhis2: &Dhis2) -> Option<String> {
    let answer = dhis2.login_config().ok().filter(|answer| answer.status == 200)?;
    let body: serde_json::Value = serde_json::from_str(&answer.body).ok()?;
    Some(body.get("apiVersion")?.as_str()?.to_owned())
}
