//! Somebody who uses the instance while it changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dhis2_e2e::site::Outcome;
use dhis2_e2e::site::door::{Answer, Door, Scheme};

/// Somebody who asks for a page all the time, on a connection of its own each time.
pub struct Visitor {
    stop: Arc<AtomicBool>,
    work: JoinHandle<Visits>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Visits {
    /// How often each answer came.
    pub answers: BTreeMap<String, usize>,
    /// Requests that were lost.
    pub cut: Vec<String>,
    /// How long there was no good answer.
    pub away: Duration,
}

impl Visitor {
    /// Begins to ask.
    pub fn begin(door: &Door) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (door, until) = (door.clone(), Arc::clone(&stop));
        let work = thread::spawn(move || {
            let mut visits = Visits::default();
            while !until.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let good = visits.take(&door.get(Scheme::Http, "/api/loginConfig", None));
                thread::sleep(Duration::from_millis(50));
                if !good {
                    visits.away += begun.elapsed();
                }
            }
            visits
        });
        Self { stop, work }
    }

    /// Stops, and tells.
    pub fn end(self) -> Outcome<Visits> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.work.join().map_err(|_| "the visitor panicked")?)
    }
}

impl Visits {
    /// A server that is away is told by the ingress controller (503, or 404 without endpoints); a request that it had taken
    /// and lost is a 502, or a connection that breaks.
    fn take(&mut self, asked: &Result<Answer, ureq::Error>) -> bool {
        let told = match asked {
            Ok(answer) => answer.status.to_string(),
            Err(error) => error.to_string(),
        };
        if asked.is_err() || told == "502" {
            self.cut.push(told.clone());
        }
        *self.answers.entry(told).or_default() += 1;
        matches!(asked, Ok(answer) if answer.status == 200)
    }
}
