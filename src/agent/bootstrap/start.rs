//! Waits until DHIS2 has started. A first start takes a minute, a migration may take hours; one whose start has failed answers 404
//! until the startup probe of its pod has ended it, and starts again (dhis2-core at 2.42.4.1, observed).

use std::time::{Duration, Instant};

use crate::agent::dhis2::Dhis2;
use crate::agent::log::Log;
use crate::agent::termination::Message;

/// How often a server that answers at once is asked.
const ASK: Duration = Duration::from_secs(1);
/// How often the wait is told.
const TELL: Duration = Duration::from_secs(30);

/// Waits, and returns the version that runs by its own word.
pub fn wait(dhis2: &Dhis2, log: Log, reports: &Message) -> String {
    reports.waiting(&format!("waiting for DHIS2 at {dhis2} to start"), log);
    let start = Instant::now();
    let mut told = start;
    let mut ready = None;
    loop {
        let state = match dhis2.ping() {
            Ok(answer) if answer.status == 200 => {
                match (dhis2.version(), ready.take()) {
                    (Some(version), Some(before)) if version == before => return version,
                    (now, _) => ready = now,
                }
                "it has started, its database does not answer yet".to_owned()
            }
            Ok(answer) => format!("it answers {}", answer.status),
            Err(error) => format!("no answer yet ({error})"),
        };
        if told.elapsed() >= TELL {
            log.info(&format!("still waiting for DHIS2 after {} s: {state}", start.elapsed().as_secs()));
            told = Instant::now();
        }
        std::thread::sleep(ASK);
    }
}
