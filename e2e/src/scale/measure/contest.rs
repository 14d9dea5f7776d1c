//! The same burst by the operator, its twin and the raw writer, in turn: how near is the operator to what nobody can beat?

use std::path::Path;

use super::create;
use crate::scale::contender::{Contender, mebibytes};
use crate::scale::crowd;
use crate::scale::figure::{Figure, Goal};
use crate::scale::spread::Spread;
use crate::scale::stand::Stand;
use crate::scale::traffic::{made, span};
use crate::site::Outcome;

/// What one run of one of them came to.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// From the first request to the last object, in seconds.
    seconds: f64,
    /// Memory at most, in MiB.
    memory: f64,
    /// Time on a processor, in seconds.
    processor: f64,
}

/// All runs.
#[derive(Clone, Debug, Default)]
pub struct Contest {
    operator: Vec<Run>,
    twin: Vec<Run>,
    raw: Vec<Run>,
}

impl Contest {
    /// Holds it so often, each time in another order.
    ///
    /// # Errors
    /// When one of them does not come to its end.
    pub async fn hold(operator: &Path, instances: usize, times: usize) -> Outcome<Self> {
        let mut contest = Self::default();
        let mut order = [Contender::Raw, Contender::Operator, Contender::Twin];
        for _ in 0..times {
            for contender in order {
                let run = run(operator, contender, instances).await?;
                eprintln!("{contender:?}, {instances} instances: {run:?}");
                match contender {
                    Contender::Operator => contest.operator.push(run),
                    Contender::Twin => contest.twin.push(run),
                    Contender::Raw => contest.raw.push(run),
                }
            }
            order.rotate_left(1);
        }
        Ok(contest)
    }

    /// What came of it.
    pub fn figures(&self, instances: usize) -> Vec<Figure> {
        let figure = |name: &str, unit: &'static str, of: &dyn Fn(&Run) -> f64| {
            let spread = |runs: &[Run]| Spread::of(&runs.iter().map(of).collect::<Vec<_>>());
            let figure = Figure::new(name, instances, unit, spread(&self.operator)?);
            Some(figure.twin(spread(&self.twin)).raw(spread(&self.raw)))
        };
        let time = figure("burst: until all objects are there", "s", &|run| run.seconds);
        let memory = figure("burst: memory at most (VmHWM)", "MiB", &|run| run.memory);
        // The raw writer has all that it will send in its memory before it begins.
        let memory = memory.map(|figure| create::with_memory_goal(figure.raw(None), instances));
        let processor = figure("burst: processor", "s", &|run| run.processor);
        let share = |runs: &[Run]| Spread::of(&self.raw.iter().zip(runs).map(|(raw, run)| raw.seconds / run.seconds).collect::<Vec<_>>());
        let efficiency = share(&self.operator).map(|ours| {
            Figure::new("burst: efficiency against the raw writer", instances, "", ours).twin(share(&self.twin)).goal(Goal::AtLeast(0.8))
        });
        [time, efficiency, memory, processor].into_iter().flatten().collect()
    }
}

async fn run(operator: &Path, contender: Contender, instances: usize) -> Outcome<Run> {
    let mut stand = Stand::build(operator).await?;
    let mark = stand.traffic.mark()?;
    let running = stand.run(contender, instances).await?;
    if contender != Contender::Raw {
        crowd::create(&stand.rig.client(), 0..instances).await?;
    }
    stand.traffic.until_made(running.user(), mark, instances * create::objects()?, create::limit(instances)).await?;
    let asked = stand.traffic.by(running.user(), mark);
    let objects = made(asked.into_iter());
    let begun =
        stand.traffic.since(mark).iter().filter(|request| request.verb == "create" && request.object().resource == "dhis2instances");
    let both: Vec<_> = begun.chain(objects).collect();
    let seconds = span(both.into_iter()).ok_or("nothing was made")?;
    let usage = running.usage();
    Ok(Run { seconds, memory: mebibytes(usage.peak), processor: create::seconds(usage.ticks) })
}
