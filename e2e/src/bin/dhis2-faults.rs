//! Kills the operator between any two of its writes, or lets a storm of faults break over it, and says what does not hold afterwards.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use dhis2_e2e::faults::breaks;
use dhis2_e2e::faults::campaign::{self, Fault, Point, Tally};
use dhis2_e2e::faults::flow::{self, Flow};
use dhis2_e2e::faults::run::Stage;
use dhis2_e2e::faults::storm::{
    self,
    all::{Storm, Verdict},
};
use dhis2_e2e::site::chance::Chance;
use dhis2_e2e::site::{Outcome, chain};
use futures::{StreamExt, stream};
use strum::IntoEnumIterator;

/// Kills the operator between any two of its writes, and says what does not hold afterwards.
#[derive(Debug, Parser)]
struct Args {
    /// Only this flow, or these, with commas in between.
    #[arg(long)]
    flow: Option<String>,
    /// Storms instead of flows: all, or this one.
    #[arg(long, num_args = 0..=1, default_missing_value = "all", conflicts_with_all = ["flow", "point", "sample"])]
    storm: Option<String>,
    /// Breaks the operator on purpose instead, in each way or in this one, and shows that the run that should notice it does.
    #[arg(long, num_args = 0..=1, default_missing_value = "all", conflicts_with_all = ["flow", "point", "sample", "storm", "operator"])]
    breaks: Option<String>,
    /// Only this point, as it was printed: `1 POST secrets/play-admin` is before that write, `1+ POST …` after it.
    #[arg(long, requires = "flow")]
    point: Option<Point>,
    /// Also break writes without killing: lose answers, refuse with conflicts, be busy.
    #[arg(long)]
    all_faults: bool,
    /// Only so many points of each flow, by chance.
    #[arg(long)]
    sample: Option<usize>,
    /// Seed of that chance; the clock when not given.
    #[arg(long)]
    seed: Option<u64>,
    /// So many seconds a run of each flow without faults is watched whether something is written when all is done.
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// Runs at a time.
    #[arg(long, default_value_t = 8)]
    at_a_time: usize,
    /// The operator to run, instead of that of this checkout.
    #[arg(long)]
    operator: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(all(&args))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Flows that go on side by side: enough for their runs to fill the places that there are, while some of them are only watched.
const FLOWS: usize = 5;

/// Runs the storms that are asked for. Says whether all holds.
async fn storms(args: &Args, name: &str) -> Outcome<bool> {
    let wanted = |storm: &Storm| name == "all" || name.split(',').any(|name| name == storm.name);
    let chosen: Vec<Storm> = storm::all::all().into_iter().filter(wanted).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = storm::all::all().iter().map(|storm| storm.name).collect();
        return Err(format!("no such storm; there are: {}", names.join(", ")).into());
    }
    let begun = Instant::now();
    let verdicts = Box::pin(storm::all::play(args.operator.clone(), chosen, args.at_a_time, tell_storm)).await?;
    let wrong = verdicts.iter().filter(|verdict| !verdict.report.wrong.is_empty()).count();
    println!("{} storms, {wrong} failed, {} s", verdicts.len(), begun.elapsed().as_secs());
    Ok(wrong == 0)
}

fn tell_storm(storm: &Verdict) {
    /// So much of what is wrong.
    const TOLD: usize = 6;
    println!("{:<4} {:<24} {} ({:.0} s)", storm.fault, storm.name, storm.report, storm.took.as_secs_f32());
    for wrong in storm.report.wrong.iter().take(TOLD) {
        println!("    STORM={}: {wrong}", storm.name);
    }
}

/// Shows that each break is noticed. Says whether all are.
fn breaks(name: &str) -> Outcome<bool> {
    /// Compilers at a time.
    const JOBS: usize = 2;
    let chosen: Vec<_> = breaks::all()?.into_iter().filter(|broken| name == "all" || name == broken.name).collect();
    if chosen.is_empty() {
        return Err(format!("no such break: {name}").into());
    }
    let copy = breaks::Copy::make()?;
    let mut unseen = 0;
    for broken in &chosen {
        let (noticed, said) = copy.shows(broken, JOBS)?;
        println!("{:<22} {} {}", broken.name, if noticed { "noticed:    " } else { "NOT noticed:" }, broken.what);
        if !noticed {
            unseen += 1;
            println!("    {} said nothing of {:?}:\n{said}", broken.run.join(" "), broken.notices);
        }
    }
    println!("{} breaks, {unseen} not noticed", chosen.len());
    Ok(unseen == 0)
}

/// Runs what is asked for. Says whether all holds.
async fn all(args: &Args) -> Outcome<bool> {
    if let Some(name) = &args.breaks {
        return tokio::task::block_in_place(|| breaks(name));
    }
    if let Some(name) = &args.storm {
        return Box::pin(storms(args, name)).await;
    }
    let wanted = |flow: &Flow| args.flow.as_deref().is_none_or(|names| names.split(',').any(|name| name == flow.name));
    let flows: Vec<Flow> = flow::all().into_iter().filter(wanted).collect();
    if flows.is_empty() {
        let names: Vec<&str> = flow::all().iter().map(|flow| flow.name).collect();
        return Err(format!("no such flow; there are: {}", names.join(", ")).into());
    }
    let begun = Instant::now();
    let seed = args.seed.unwrap_or_else(|| Chance::new().seed);
    if args.sample.is_some() {
        println!("seed {seed}");
    }
    let stage = Stage::build(args.operator.clone(), args.at_a_time).await?;
    let (mut points, mut wrong, mut missed) = (0, 0, 0);
    let faults: Vec<Fault> = if args.all_faults { Fault::iter().collect() } else { Fault::KILLS.into() };
    let run = async |flow: &Flow| {
        (flow.name, Box::pin(campaign::crash(&stage, flow, &faults, Duration::from_secs(args.idle), |all| chosen(args, seed, all))).await)
    };
    let mut tallies = std::pin::pin!(stream::iter(flows.iter().map(run)).buffer_unordered(FLOWS));
    while let Some((name, tally)) = tallies.next().await {
        match tally {
            Ok(tally) => {
                tell(&tally);
                points += tally.verdicts.len() - tally.missed();
                wrong += tally.failed();
                missed += tally.missed();
            }
            Err(error) => {
                println!("{name}: {}", chain(&*error));
                wrong += 1;
            }
        }
    }
    println!("{points} points over {} flows, {missed} more missed, {wrong} failed, {} s", flows.len(), begun.elapsed().as_secs());
    Ok(wrong == 0)
}

fn chosen(args: &Args, seed: u64, mut all: Vec<Point>) -> Vec<Point> {
    if let Some(point) = &args.point {
        return vec![point.clone()];
    }
    // The same ones, in whichever order they came.
    all.sort();
    let number = args.sample.unwrap_or(all.len());
    Chance::from(seed).some(all, number)
}

fn tell(tally: &Tally) {
    println!("{tally}");
    for complaint in tally.complaints() {
        println!("    {complaint}");
    }
}
