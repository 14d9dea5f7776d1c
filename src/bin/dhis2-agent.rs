//! The agent: one verb a run, inside an instance's pods.

use std::process::ExitCode;

use clap::Parser;
use dhis2_operator::agent::{self, args::Arguments};

fn main() -> ExitCode {
    agent::run(&Arguments::parse())
}
