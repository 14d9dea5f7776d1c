//! What a soak found.

use std::time::Duration;

use serde::Serialize;

use super::life::{End, Growth, Life, Sample, leak};
use crate::scale::contender::mebibytes;
use crate::scale::machine::Machine;

/// An instance that waits this long is not looked after.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a soak found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// How many instances.
    pub instances: usize,
    /// How long, in seconds.
    pub seconds: u64,
    /// What chance began with.
    pub seed: u64,
    /// Changes that were made.
    pub changes: usize,
    /// Times that all connections of a replica were cut.
    pub cuts: usize,
    /// Times that the leader was ended.
    pub handovers: usize,
    /// Writes of the operator.
    pub writes: usize,
    /// Those that no change explains, with the time of each.
    pub unexplained: Vec<String>,
    /// Changes that were not carried out.
    pub lost: Vec<String>,
    /// The trends of memory.
    pub growths: Vec<Growth>,
    /// All processes.
    pub lives: Vec<Life>,
}

impl Report {
    /// For people.
    pub fn told(&self) -> String {
        let samples = || self.lives.iter().flat_map(|life| &life.samples);
        let most = |value: &dyn Fn(&Sample) -> f64| samples().map(value).fold(0.0, f64::max);
        let lines = [
            format!(
                "{} instances, {} s, {} changes, {} cuts, {} changes of the leader",
                self.instances, self.seconds, self.changes, self.cuts, self.handovers
            ),
            format!("writes: {}, not explained: {}; changes that were lost: {}", self.writes, self.unexplained.len(), self.lost.len()),
            format!(
                "memory at most: {:.1} MiB; all second halves together: {} KiB in {:.0} s",
                most(&|sample| mebibytes(sample.resident)),
                self.growths.iter().map(|growth| growth.kib).sum::<f64>().round(),
                self.growths.iter().map(|growth| growth.seconds).sum::<f64>(),
            ),
            format!(
                "queue at most: {:.0}, oldest at most: {:.1} s",
                most(&|sample| f64::from(sample.queue)),
                most(&|sample| sample.oldest)
            ),
        ];
        let processes = self.lives.iter().map(|life| {
            let end = |sample: Option<&Sample>| sample.map_or(0.0, |sample| mebibytes(sample.resident));
            let grown: Vec<String> = life
                .growths()
                .iter()
                .map(|growth| format!("{:+.0} KiB{}", growth.kib, if growth.leads { " leading" } else { "" }))
                .collect();
            format!(
                "{}: {} samples, {:.1} to {:.1} MiB, {}; {:?}",
                life.pod,
                life.samples.len(),
                end(life.samples.first()),
                end(life.samples.last()),
                grown.join(", "),
                life.end
            )
        });
        lines.into_iter().chain(processes).map(|line| line + "\n").collect()
    }

    /// What is not as it has to be, a line each.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for (what, list) in [("no change explains", &self.unexplained), ("this change was not carried out:", &self.lost)] {
            failures.extend(list.iter().take(20).map(|one| format!("{what} {one}")));
        }
        for leads in [true, false] {
            let growths: Vec<Growth> = self.growths.iter().copied().filter(|growth| growth.leads == leads).collect();
            let who = if leads { "leaders" } else { "standbys" };
            failures.extend(leak(&growths).map(|kib| format!("memory of {who} grows: {kib:.0} KiB in {} second halves", growths.len())));
        }
        for life in &self.lives {
            if life.queue_grows() {
                failures.push(format!("the queue of {} never empties", life.pod));
            }
            if let Some(sample) = life.samples.iter().find(|sample| sample.oldest > PATIENCE.as_secs_f64()) {
                failures.push(format!("an instance waited {:.0} s for a pass of {}", sample.oldest, life.pod));
            }
            if let End::ByItself(words) = &life.end {
                failures.push(format!("{} ended by itself: {words}", life.pod));
            }
        }
        if !self.growths.iter().any(|growth| growth.leads) {
            failures.push("no process led long enough for its memory to tell anything".to_owned());
        }
        failures
    }
}
