//! The operator: what the cluster says → what it should say → the difference, written.

pub mod addresses;
pub mod answers;
pub mod apply;
pub mod args;
pub mod arrived;
pub mod ask;
mod backlog;
mod blocked;
mod brief;
mod census;
pub mod children;
pub mod compare;
pub mod contest;
pub mod controller;
pub mod crd;
mod cuts;
pub mod desired;
pub mod errands;
pub mod events;
pub mod fence;
mod fields;
pub mod fleet;
pub mod generate;
pub mod instance;
pub mod kind;
pub mod leader;
mod lean;
pub mod metrics;
mod missed;
#[cfg(test)]
mod model;
pub mod observe;
pub mod others;
pub mod ownership;
pub mod pace;
pub mod parse;
pub mod patience;
pub mod quantity;
mod queue;
pub mod reconcile;
pub mod relist;
pub mod render;
pub mod requests;
pub mod restart;
pub mod restores;
pub mod run;
mod secrets;
pub mod serve;
pub mod settings;
mod settled;
pub mod slot;
pub mod status;
pub mod telemetry;
mod tell;
pub mod trouble;
pub mod watch;
pub mod wish;
pub mod world;

/// How many random cases a test tries: as `PROPTEST_CASES` says, where it is set.
#[cfg(test)]
fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}
