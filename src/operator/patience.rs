//! Passes that failed one after the other, and when the next one is due.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::world::Key;

/// Longest wait before a failing instance is tried again.
const LONGEST: Duration = Duration::from_mins(5);

/// Failures of one instance.
#[derive(Debug)]
struct Failing {
    times: u32,
    due: Instant,
}

/// Failures of all instances.
#[derive(Debug, Default)]
pub struct Patience(Mutex<HashMap<Key, Failing>>);

impl Patience {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Failing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often it failed in a row.
    pub fn failures(&self, key: &Key) -> u32 {
        self.lock().get(key).map(|failing| failing.times).unwrap_or_default()
    }

    /// A pass failed. Returns how long is waited before the next one: 1 s, doubling, at most five minutes. A pass that something asked
    /// for before the wait was over does not make it longer: what changes often would be tried seldom.
    pub fn failed(&self, key: &Key) -> Duration {
        let now = Instant::now();
        let mut all = self.lock();
        let failing = all.entry(key.clone()).or_insert(Failing { times: 0, due: now });
        if now >= failing.due {
            failing.times += 1;
            failing.due = now + Duration::from_secs(1 << (failing.times - 1).min(9)).min(LONGEST);
        }
        failing.due - now
    }

    /// A pass did not fail, or the instance is gone.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_double_and_what_comes_early_makes_none_longer() {
        let patience = Patience::default();
        let key = Key { namespace: "ns".into(), name: "play".into() };
        let mut waits = Vec::new();
        for _ in 0..10 {
            let wait = patience.failed(&key);
            waits.push(wait.as_secs());
            let half = wait / 2;
            tokio::time::advance(half).await;
            assert_eq!(patience.failed(&key), half, "an event in between");
            tokio::time::advance(half).await;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(patience.failures(&key), 10);
        patience.forget(&key);
        assert_eq!((patience.failures(&key), patience.failed(&key).as_secs()), (0, 1));
    }
}
