//! The order of a run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;

use super::contender::Contender;
use super::figure::{Figure, Goal};
use super::machine::Machine;
use super::measure::contest::Contest;
use super::measure::{change, check, create, foreign, idle, poison, restart, single, size, whole};
use super::plot;
use super::report::Report;
use super::stand::Stand;
use crate::cluster::files;
use crate::site::Outcome;

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The program, its start, and one instance at a time.
    Small,
    /// Many instances: requests, memory, passes without work, idle time, a restart, a change.
    Many,
    /// Instances whose pods are played, until they serve and when they do.
    Whole,
    /// A burst by the operator, its twin and the raw writer.
    Contest,
    /// A new instance amid a burst.
    Amid,
    /// Instances that fail for ever amid a burst; half an hour.
    Poison,
    /// A cluster full of objects of others; half an hour.
    Foreign,
}

impl Part {
    /// What is measured unless somebody asks for something else.
    pub const USUAL: [Self; 5] = [Self::Small, Self::Many, Self::Whole, Self::Contest, Self::Amid];
}

/// How much of everything.
#[derive(Clone, Debug)]
pub struct Options {
    /// Numbers of instances.
    pub instances: Vec<usize>,
    /// How often each burst is repeated.
    pub repeats: usize,
    /// How long the operator is watched doing nothing.
    pub idle: Duration,
    /// What is measured.
    pub parts: Vec<Part>,
    /// Where the figures are written as JSON.
    pub json: Option<PathBuf>,
    /// Where the curves are drawn.
    pub plot: Option<PathBuf>,
}

/// Instances of the quick bench.
const FEW: usize = 100;

/// The memory, in MiB, that they took when this was last looked at, and how much more is let pass: another allocation here and there.
const FEW_MEMORY: f64 = 21.5;
const MORE: f64 = 1.1;

/// Instances of a burst into which others come.
const BURST: usize = 1000;

impl Options {
    /// Adds figures to a report, and writes it: a run that breaks off leaves what it found.
    fn keep(&self, report: &mut Report, figures: impl IntoIterator<Item = Figure>) -> Outcome {
        report.figures.extend(figures);
        for folder in [&self.json, &self.plot].into_iter().flatten().filter_map(|path| path.parent()) {
            files::make_folder(folder)?;
        }
        if let Some(path) = &self.json {
            files::write(path, serde_json::to_vec_pretty(report)?)?;
        }
        if let Some(path) = &self.plot {
            files::write(path, plot::draw(&report.panels()))?;
        }
        Ok(())
    }
}

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
    figures.push(create::memory(&running, FEW).goal(Goal::AtMost(FEW_MEMORY * MORE)));
    figures.extend(idle::idle(&mut stand, &running, FEW, Duration::from_secs(30)).await?);
    conclude(&Report { machine: machine(&stand).await?, figures })
}

/// Measures everything.
///
/// # Errors
/// When something could not be measured; what was is in the report's file.
pub async fn full(operator: &Path, options: &Options) -> Outcome {
    let mut report = Report { machine: machine(&Stand::build(operator).await?).await?, figures: Vec::new() };
    let asked = |part| options.parts.contains(&part);
    if asked(Part::Small) {
        small(operator, options, &mut report).await?;
    }
    for instances in &options.instances {
        if asked(Part::Many) {
            many(operator, *instances, options, &mut report).await?;
        }
        if asked(Part::Whole) {
            options.keep(&mut report, whole::whole(&mut Stand::build(operator).await?, *instances, options.idle).await?)?;
        }
        if asked(Part::Contest) {
            let contest = Contest::hold(operator, *instances, options.repeats).await?;
            options.keep(&mut report, contest.figures(*instances))?;
        }
    }
    if asked(Part::Amid) || asked(Part::Poison) {
        amid(operator, options, &mut report).await?;
    }
    if asked(Part::Foreign) {
        options.keep(&mut report, foreign::foreign(&mut Stand::build(operator).await?).await?)?;
    }
    print!("{}", report.table());
    for miss in report.misses() {
        eprintln!("{miss}");
    }
    Ok(())
}

/// What is measured with no instance and with one at a time.
async fn small(operator: &Path, options: &Options, report: &mut Report) -> Outcome {
    let mut stand = Stand::build(operator).await?;
    options.keep(report, size::size(&stand, operator).await?)?;
    let running = stand.run(Contender::Operator, 0).await?;
    options.keep(report, [create::memory(&running, 0)])?;
    let mark = create::burst(&mut stand, &running, FEW).await?;
    options.keep(report, create::requests(&stand, &running, mark, FEW)?)?;
    options.keep(report, [create::memory(&running, FEW)])?;
    options.keep(report, single::alone(&mut stand, &running, FEW).await?)
}

/// What is measured with many instances.
async fn many(operator: &Path, instances: usize, options: &Options, report: &mut Report) -> Outcome {
    let mut stand = Stand::build(operator).await?;
    let running = stand.run(Contender::Operator, 0).await?;
    let mark = create::burst(&mut stand, &running, instances).await?;
    options.keep(report, create::requests(&stand, &running, mark, instances)?)?;
    options.keep(report, [create::memory(&running, instances)])?;
    options.keep(report, change::nothing(&mut stand, &running, instances).await?)?;
    options.keep(report, idle::idle(&mut stand, &running, instances, options.idle).await?)?;
    drop(running);
    options.keep(report, restart::restart(&mut stand, instances).await?)?;
    options.keep(report, check::check(&mut stand, instances).await?)?;
    let running = stand.run(Contender::Operator, 0).await?;
    options.keep(report, change::field(&mut stand, &running, instances).await?)
}

/// New instances amid others, and amid some that fail.
async fn amid(operator: &Path, options: &Options, report: &mut Report) -> Outcome {
    let mut stand = Stand::build(operator).await?;
    let running = stand.run(Contender::Operator, 0).await?;
    let (figure, clean) = single::amid(&mut stand, &running, BURST).await?;
    options.keep(report, [figure])?;
    drop((running, stand));
    if options.parts.contains(&Part::Poison) {
        let mut stand = Stand::build(operator).await?;
        let running = stand.run(Contender::Operator, 0).await?;
        options.keep(report, poison::poison(&mut stand, &running, BURST, clean, options.idle).await?)?;
    }
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
