//! The life of a process, and whether its memory grows.

use serde::Serialize;

/// What was seen of a process at a moment.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Seconds since the soak began.
    pub at: f64,
    /// Resident memory, in KiB.
    pub resident: u64,
    /// Threads.
    pub threads: u64,
    /// Does it lead?
    pub leads: bool,
    /// Instances that wait for a pass.
    pub queue: u32,
    /// Seconds that the oldest of them has waited.
    pub oldest: f64,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum End {
    /// The soak was over.
    Over,
    /// It was killed.
    Killed,
    /// It was told to end.
    Told,
    /// Nobody asked it to; its last words.
    ByItself(String),
}

/// A process, from its start to its end.
#[derive(Clone, Debug, Serialize)]
pub struct Life {
    /// The pod that it stands for.
    pub pod: &'static str,
    /// What was seen of it, in order.
    pub samples: Vec<Sample>,
    /// How it ended.
    pub end: End,
}

/// Fewer samples tell nothing about a trend.
const ENOUGH: usize = 6;

/// What the memory of a process may grow in half of a phase without anybody losing any: its allocator takes from the system in pieces of
/// 128 KiB, for each of the two threads that do the work.
const NOISE: f64 = 256.0;

/// By how many KiB the memory of one process grew in the second half of the time in which it led, or stood by: what is there after the
/// first half is what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Growth {
    /// Did it lead?
    pub leads: bool,
    /// Length of that half in seconds.
    pub seconds: f64,
    /// KiB.
    pub kib: f64,
}

impl Life {
    /// The trend of each of its phases that was long enough.
    pub fn growths(&self) -> Vec<Growth> {
        let phases = self.samples.chunk_by(|before, after| before.leads == after.leads);
        phases.filter_map(growth).collect()
    }

    /// Samples of a phase in which instances wait all the time of its second half: more comes than is done.
    pub fn queue_grows(&self) -> bool {
        let mut phases = self.samples.chunk_by(|before, after| before.leads == after.leads);
        phases.any(|phase| second_half(phase).is_some_and(|half| half.iter().all(|sample| sample.queue > 0)))
    }
}

fn second_half(phase: &[Sample]) -> Option<&[Sample]> {
    let half = phase.get(phase.len() / 2..)?;
    (half.len() >= ENOUGH).then_some(half)
}

fn growth(phase: &[Sample]) -> Option<Growth> {
    let half = second_half(phase)?;
    let seconds = half.last()?.at - half.first()?.at;
    Some(Growth { leads: half.first()?.leads, seconds, kib: slope(half)? * seconds })
}

/// The middle of the slopes between any two samples (Theil and Sen): a single step, such as a table that got larger, is none.
fn slope(samples: &[Sample]) -> Option<f64> {
    let kib = |sample: &Sample| u32::try_from(sample.resident).map_or(f64::MAX, f64::from);
    let pairs = samples.iter().enumerate().flat_map(|(number, before)| samples.iter().skip(number + 1).map(move |after| (before, after)));
    let mut slopes: Vec<f64> = pairs
        .filter(|(before, after)| after.at > before.at)
        .map(|(before, after)| (kib(after) - kib(before)) / (after.at - before.at))
        .collect();
    slopes.sort_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied()
}

/// What all processes together grew by beyond noise, in KiB; none when that is not so. Noise of many adds up to that of one by the root of
/// their number; what is lost adds up by the number itself.
pub fn leak(growths: &[Growth]) -> Option<f64> {
    let count = u32::try_from(growths.len()).map_or(f64::MAX, f64::from);
    let all: f64 = growths.iter().map(|growth| growth.kib).sum();
    (all > NOISE * count.sqrt()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(resident: impl Fn(u32) -> u64, queue: impl Fn(u32) -> u32) -> Life {
        let sample = |number: u32| Sample {
            at: f64::from(number) * 5.0,
            resident: resident(number),
            threads: 3,
            leads: number >= 40,
            queue: queue(number),
            oldest: 0.0,
        };
        Life { pod: "operator-0", samples: (0..160).map(sample).collect(), end: End::Over }
    }

    #[test]
    fn what_is_taken_once_is_no_growth_and_what_is_taken_again_and_again_is() {
        let step = life(|number| if number < 150 { 40_000 } else { 41_000 }, |_| 0).growths();
        assert_eq!(step.len(), 2);
        assert_eq!(leak(&step), None);
        let warm = life(|number| 20_000 + u64::from(number.min(99)) * 300, |_| 0).growths();
        assert_eq!(leak(&warm[1..]), None, "the first half is not looked at: {warm:?}");
        let lost = life(|number| 40_000 + u64::from(number) * 8, |_| 0).growths();
        assert!(leak(&lost).is_some_and(|kib| kib > 450.0), "{lost:?}");
    }

    #[test]
    fn many_that_grow_a_little_are_a_leak() {
        let little = life(|number| 40_000 + u64::from(number) * 2, |_| 0).growths();
        assert_eq!(leak(&little), None);
        assert!(leak(&little.repeat(12)).is_some());
        let up_and_down: Vec<Growth> = (0..12).map(|n| Growth { kib: if n % 2 == 0 { 200.0 } else { -180.0 }, ..little[0] }).collect();
        assert_eq!(leak(&up_and_down), None);
    }

    #[test]
    fn a_queue_that_never_empties_grows() {
        assert!(!life(|_| 1, |number| number % 7).queue_grows());
        assert!(life(|_| 1, |number| number).queue_grows());
    }
}
