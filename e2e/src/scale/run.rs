//! The order of a run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::contender::Contender;
use super::figure::Figure;
use super::machine::Machine;
use super::measure::contest::Contest;
use super::measure::{change, create, idle, restart, single, size};
use super::plot;
use super::report::Report;
use super::stand::Stand;
use crate::cluster::files;
use crate::site::Outcome;

/// How much of everything.
#[derive(Clone, Debug)]
pub struct Options {
    /// Numbers of instances.
    pub instances: Vec<usize>,
    /// How often each burst is repeated.
    pub repeats: usize,
    /// How long the operator is watched doing nothing.
    pub idle: Duration,
    /// Where the figures are written as JSON.
    pub json: Option<PathBuf>,
    /// Where the curves are drawn.
    pub plot: Option<PathBuf>,
}

/// Instances of the quick bench.
const FEW: usize = 100;

/// Counts what a hundred instances cost.
///
/// # Errors
/// When a goal is missed.
pub async fn quick(operator: &Path) -> Outcome {
    let mut stand = Stand::build(operator).await?;
    let running = stand.run(Contender::Operator, 0).await?;
    let mut figures = vec![create::memory(&running, 0)];
    let mark = create::burst(&mut stand, &running, FEW).await?;
    figures.extend(create::requests(&stand, &running, mark, FEW)?);
    figures.push(create::memory(&running, FEW));
    figures.extend(idle::idle(&mut stand, &running, FEW, Duration::from_secs(30)).await?);
    conclude(&Report { machine: machine(&stand).await?, figures })
}

/// Measures everything.
///
/// # Errors
/// When something could not be measured.
pub async fn full(operator: &Path, options: &Options) -> Outcome {
    let mut figures = Vec::new();
    let machine = small(operator, options, &mut figures).await?;
    for instances in &options.instances {
        large(operator, *instances, options, &mut figures).await?;
        let contest = Contest::hold(operator, *instances, options.repeats).await?;
        figures.extend(contest.figures(*instances));
    }
    let report = Report { machine, figures };
    if let Some(path) = &options.json {
        files::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    if let Some(path) = &options.plot {
        files::write(path, plot::draw(&report.panels()))?;
    }
    print!("{}", report.table());
    for miss in report.misses() {
        eprintln!("{miss}");
    }
    Ok(())
}

/// What is measured with no instance and with one at a time.
async fn small(operator: &Path, options: &Options, figures: &mut Vec<Figure>) -> Outcome<Machine> {
    let mut stand = Stand::build(operator).await?;
    figures.extend(size::size(&stand, operator).await?);
    let running = stand.run(Contender::Operator, 0).await?;
    figures.push(create::memory(&running, 0));
    let mark = create::burst(&mut stand, &running, FEW).await?;
    figures.extend(create::requests(&stand, &running, mark, FEW)?);
    figures.push(create::memory(&running, FEW));
    figures.extend(single::alone(&mut stand, &running, FEW).await?);
    let amid = options.instances.first().copied().unwrap_or(FEW);
    drop(running);
    let machine = machine(&stand).await?;
    drop(stand);
    let mut stand = Stand::build(operator).await?;
    let running = stand.run(Contender::Operator, 0).await?;
    figures.push(single::amid(&mut stand, &running, amid).await?);
    Ok(machine)
}

/// What is measured with many instances.
async fn large(operator: &Path, instances: usize, options: &Options, figures: &mut Vec<Figure>) -> Outcome {
    let mut stand = Stand::build(operator).await?;
    let running = stand.run(Contender::Operator, 0).await?;
    let mark = create::burst(&mut stand, &running, instances).await?;
    figures.extend(create::requests(&stand, &running, mark, instances)?);
    figures.push(create::memory(&running, instances));
    figures.extend(change::nothing(&mut stand, &running, instances).await?);
    figures.extend(idle::idle(&mut stand, &running, instances, options.idle).await?);
    drop(running);
    figures.extend(restart::restart(&mut stand, instances).await?);
    let running = stand.run(Contender::Operator, 0).await?;
    figures.extend(change::field(&mut stand, &running, instances).await?);
    Ok(())
}

async fn machine(stand: &Stand) -> Outcome<Machine> {
    Ok(Machine::here(stand.rig.client().apiserver_version().await?.git_version))
}

fn conclude(report: &Report) -> Outcome {
    print!("{}", report.table());
    let misses = report.misses();
    if misses.is_empty() { Ok(()) } else { Err(misses.join("\n").into()) }
}
