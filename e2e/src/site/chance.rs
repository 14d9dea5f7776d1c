//! Chance that can be had again: a seed gives the same numbers each time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::given;

/// Numbers from a seed.
#[derive(Clone, Debug)]
pub struct Chance {
    state: u64,
    /// Where they come from.
    pub seed: u64,
}

impl Chance {
    /// From `E2E_SEED`, or from the clock.
    pub fn new() -> Self {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let seed = given::text("E2E_SEED").and_then(|text| text.parse().ok()).unwrap_or_else(clock);
        Self::from(seed)
    }

    /// From this seed.
    pub fn from(seed: u64) -> Self {
        Self { state: seed, seed }
    }

    /// So many of these, or all of them.
    pub fn some<T>(&mut self, mut all: Vec<T>, number: usize) -> Vec<T> {
        let mut chosen = Vec::new();
        while chosen.len() < number && !all.is_empty() {
            let index = self.number() % all.len() as u64;
            chosen.push(all.swap_remove(usize::try_from(index).unwrap_or_default()));
        }
        chosen
    }

    /// The next number (`SplitMix64`).
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A time below `most`, in milliseconds.
    pub fn moment(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.number() % most.max(1))
    }
}

impl Default for Chance {
    fn default() -> Self {
        Self::new()
    }
}
