//! Somebody who enters data all the time and remembers what DHIS2 has acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use super::Outcome;
use super::door::{Account, Door, Scheme};

/// Somebody who enters organisation units, one after the other.
pub struct Writer {
    stop: Arc<AtomicBool>,
    work: JoinHandle<Vec<String>>,
}

impl Writer {
    /// Begins to write.
    pub fn begin(door: &Door, admin: &Account) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (door, admin, until) = (door.clone(), admin.clone(), Arc::clone(&stop));
        let work = thread::spawn(move || {
            let mut acknowledged = Vec::new();
            while !until.load(Ordering::Relaxed) {
                acknowledged.extend(enter(&door, &admin));
                // As fast as a person types, and no faster: the cluster has other work.
                thread::sleep(Duration::from_millis(100));
            }
            acknowledged
        });
        Self { stop, work }
    }

    /// Stops, and tells the uids that were acknowledged.
    ///
    /// # Errors
    /// When the writer had to give up.
    pub fn end(self) -> Outcome<Vec<String>> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.work.join().map_err(|_| "the writer panicked")?)
    }
}

fn enter(door: &Door, admin: &Account) -> Option<String> {
    let unit = json!({ "name": "Posto", "shortName": "Posto", "openingDate": "2020-01-01" });
    let answer = door.send("POST", Scheme::Http, "/api/organisationUnits", Some(admin), Some(&unit)).ok()?;
    let body: Value = serde_json::from_str(&answer.body).ok()?;
    (answer.status == 201).then(|| body.pointer("/response/uid")?.as_str().map(str::to_owned))?
}

/// Whether all of them are there.
///
/// # Errors
/// When one is missing, or DHIS2 does not say.
pub fn kept(door: &Door, admin: &Account, acknowledged: &[String]) -> Outcome {
    let answer = door.get(Scheme::Http, "/api/organisationUnits?fields=id&paging=false", Some(admin))?;
    let missing = acknowledged.iter().filter(|uid| !answer.body.contains(uid.as_str())).count();
    match missing {
        0 if answer.status == 200 => Ok(()),
        _ => Err(format!("{missing} of {} acknowledged rows are not there (status {})", acknowledged.len(), answer.status).into()),
    }
}
