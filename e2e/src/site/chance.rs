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
        Self { state: seed, seed }
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
