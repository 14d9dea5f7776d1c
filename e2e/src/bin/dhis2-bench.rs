//! The scale bench: `quick` for every change, `full` for the figures in `docs/performance.md`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser};
use dhis2_e2e::product::binaries;
use dhis2_e2e::scale::report::Report;
use dhis2_e2e::scale::run::{Options, Part};
use dhis2_e2e::scale::soak::run as soak;
use dhis2_e2e::scale::{plot, raw, run, twin};
use dhis2_e2e::site::{self, Outcome};
use dhis2_operator::operator::args::Defaults;
use dhis2_operator::operator::settings::Settings;

/// Measures the operator.
#[derive(Debug, Parser)]
#[command(version)]
enum Verb {
    /// A hundred instances: fails when the operator asks for more than it should, or takes more memory than it did.
    Quick(Program),
    /// Everything, in half an hour.
    Full(Full),
    /// The table and the curves of several runs of one program on one machine.
    Join(Join),
    /// Hours with many instances and two replicas, a change a second, cut connections and other leaders: fails when memory or the queue
    /// grows, when a change is lost, and when something is written that no change explains.
    Soak(Soak),
    /// The operator by the usual recipe; the bench starts it.
    #[command(hide = true)]
    Twin {
        /// As the operator has them.
        #[command(flatten)]
        defaults: Defaults,
    },
    /// The objects of so many instances and nothing else; the bench starts it.
    #[command(hide = true)]
    Raw {
        /// How many instances.
        instances: usize,
        /// As the operator has them.
        #[command(flatten)]
        defaults: Defaults,
    },
}

#[derive(Debug, Args)]
struct Program {
    /// The operator; without it, the release of this checkout is built.
    #[arg(long)]
    operator: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Full {
    #[command(flatten)]
    program: Program,
    /// Numbers of instances, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "100,1000,5000")]
    instances: Vec<usize>,
    /// How often each burst is repeated.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// How many seconds the operator is watched doing nothing.
    #[arg(long, default_value_t = 600)]
    idle: u64,
    /// What is measured, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::USUAL)]
    parts: Vec<Part>,
    /// Where the figures are written as JSON, as they come.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where the curves are drawn.
    #[arg(long)]
    plot: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Join {
    /// What the runs have written as JSON.
    #[arg(required = true)]
    reports: Vec<PathBuf>,
    /// Where the curves are drawn.
    #[arg(long)]
    plot: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Soak {
    #[command(flatten)]
    program: Program,
    /// How many instances.
    #[arg(long, default_value_t = 1000)]
    instances: usize,
    /// How many seconds.
    #[arg(long, default_value_t = 7200)]
    time: u64,
    /// For how many seconds each replica leads.
    #[arg(long, default_value_t = 600)]
    term: u64,
    /// What chance begins with: who is changed, and when connections are cut.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where all that was seen is written as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    match carry_out(Verb::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dhis2-bench: {}", site::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn carry_out(verb: Verb) -> Outcome {
    match verb {
        Verb::Quick(Program { operator }) => run::quick(&program(operator)?).await,
        Verb::Full(Full { program: Program { operator }, instances, repeats, idle, parts, json, plot }) => {
            let options = Options { instances, repeats, idle: Duration::from_secs(idle), parts, json, plot };
            run::full(&program(operator)?, &options).await
        }
        Verb::Join(Join { reports, plot }) => join(&reports, plot.as_deref()),
        Verb::Soak(Soak { program: Program { operator }, instances, time, term, seed, json }) => {
            let (time, term) = (Duration::from_secs(time), Duration::from_secs(term));
            soak::soak(&program(operator)?, &soak::Options { instances, time, term, seed, json }).await
        }
        Verb::Twin { defaults } => twin::run(Settings::from(&defaults)).await,
        Verb::Raw { instances, defaults } => raw::write(&Settings::from(&defaults), instances).await,
    }
}

fn program(given: Option<PathBuf>) -> Outcome<PathBuf> {
    Ok(given.map_or_else(|| binaries::build().map(|built| built.operator), Ok)?)
}

fn join(reports: &[PathBuf], plot: Option<&Path>) -> Outcome {
    let read = |path: &PathBuf| -> Outcome<Report> { Ok(serde_json::from_slice(&std::fs::read(path)?)?) };
    let report = Report::joined(reports.iter().map(read).collect::<Outcome<_>>()?)?;
    if let Some(path) = plot {
        std::fs::write(path, plot::draw(&report.panels()))?;
    }
    print!("{}", report.table());
    Ok(())
}
