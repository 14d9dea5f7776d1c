//! What became of a storm.

use std::fmt;
use std::time::{Duration, Instant};

use super::replica::Replica;
use crate::faults::weather::busiest;

/// What was seen of a storm.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Requests that something befell; of storms that are not made of requests, how often they struck.
    pub struck: usize,
    /// The most requests within ten seconds.
    pub busiest: usize,
    /// How long after its beginning it was told, where that is asked for.
    pub told: Option<Duration>,
    /// How long after its end all was as without it.
    pub calm: Duration,
    /// What does not hold.
    pub wrong: Vec<String>,
}

/// The time over which requests are counted.
pub const WINDOW: Duration = Duration::from_secs(10);

impl Report {
    /// Counts what the operators asked since a moment.
    pub fn count(&mut self, replicas: &[Replica], since: Instant, most: usize) {
        for replica in replicas {
            let asked = replica.proxy.weather.since(since);
            self.struck += replica.proxy.weather.struck_since(since);
            self.busiest = self.busiest.max(busiest(&asked, WINDOW));
        }
        if self.busiest > most {
            self.wrong.push(format!("{} requests within {} s, more than {most}", self.busiest, WINDOW.as_secs()));
        }
        if self.struck == 0 {
            self.wrong.push("nothing befell any request".to_owned());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.told.map_or(String::new(), |told| format!(", told after {:.1} s", told.as_secs_f32()));
        write!(
            f,
            "struck {:>4}, at most {:>3} requests in {} s, calm after {:>4.1} s{told}",
            self.struck,
            self.busiest,
            WINDOW.as_secs(),
            self.calm.as_secs_f32()
        )
    }
}
