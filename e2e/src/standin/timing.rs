//! How long things take, from the environment, so that an image for tests can be quick. The defaults are what a real
//! 2.42.4.1 took on two cores.

use std::time::Duration;

/// Durations of the imitated work.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// From the start of the process until the port opens.
    pub port: Duration,
    /// From the start of the process until it serves, on a migrated database.
    pub start: Duration,
    /// Added by the migrations, when there are any to do; spent inside their transaction.
    pub migrate: Duration,
    /// From the start of the process until a start that fails is over.
    pub fail: Duration,
    /// From asking for analytics until the run begins, and between two looks at the queue.
    pub analytics_wait: Duration,
    /// A run of analytics on an empty database.
    pub analytics: Duration,
    /// How long a job may show no sign of life before another may run in its place.
    pub job_dead: Duration,
    /// What an idle server needs to end.
    pub stop: Duration,
    /// How long a running request is left alone once the server is told to end.
    pub cut: Duration,
}

impl Timing {
    /// Reads `STANDIN_<NAME>_SECONDS` (fractions allowed).
    pub fn read(lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        let seconds = |name: &str, default: f64| {
            let given = lookup(&format!("STANDIN_{name}_SECONDS")).and_then(|text| text.parse().ok());
            Duration::try_from_secs_f64(given.unwrap_or(default)).unwrap_or_default()
        };
        Self {
            port: seconds("PORT", 2.2),
            start: seconds("START", 45.0),
            migrate: seconds("MIGRATE", 20.0),
            fail: seconds("FAIL", 22.0),
            analytics_wait: seconds("ANALYTICS_WAIT", 20.0),
            analytics: seconds("ANALYTICS", 12.0),
            job_dead: seconds("JOB_DEAD", 600.0),
            stop: seconds("STOP", 1.6),
            cut: seconds("CUT", 4.0),
        }
    }
}
