//! What the product promises, each promise on a real cluster: `cargo test --workspace --test stories [NAME]`.
//!
//! Without further words the cluster is our own, started when it is not up. `E2E_KUBECONFIG` names another one; see `site::given`
//! for what it has to be told.
//!
//! They begin in the order of their names: what takes long has an early one, so that the end is not one story alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test's way to fail

mod absent;
mod ailing;
mod backup;
mod bad_input;
mod blackout;
mod change;
mod copies;
mod crowd;
mod doors;
mod drift;
mod examples;
mod failed_start;
mod full;
mod handover;
mod hanging;
mod helm;
mod import;
mod killed;
mod last_migration;
mod leader;
mod leaving;
mod login;
mod loss;
mod neighbours;
mod power;
mod pressure;
mod proof;
mod refused_start;
mod restore;
mod rights;
mod rollback;
mod rotation;
mod s3;
mod sets;
mod upgrade;
mod vanishing;
mod walls;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dhis2_e2e::site::{Outcome, Site, Story, chain, story};

/// Tells a story, and fails the test with what went wrong.
fn tell<F>(name: &'static str, of: impl FnOnce(Arc<Story>) -> F)
where
    F: Future<Output = Outcome> + 'static,
{
    let tool = Path::new(env!("CARGO_BIN_EXE_dhis2-cluster"));
    let told = Site::shared(tool, &logs()).and_then(|site| story::run(name, site, of));
    assert!(told.is_ok(), "{}", told.err().unwrap_or_default());
}

/// Tells a story that ends all processes of its cluster: on one of its own, which goes with it.
fn tell_alone<F>(name: &'static str, of: impl FnOnce(Arc<Story>) -> F)
where
    F: Future<Output = Outcome> + 'static,
{
    let tool = Path::new(env!("CARGO_BIN_EXE_dhis2-cluster"));
    let told = Site::alone(name, tool, &logs()).and_then(|site| {
        story::run(name, Arc::clone(&site), of)?;
        site.own.iter().try_for_each(|own| own.cluster.down(true)).map_err(|error| chain(&error))
    });
    assert!(told.is_ok(), "{}", told.err().unwrap_or_default());
}

/// Where logs of failed stories go: beside what cargo builds.
fn logs() -> PathBuf {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    temporary.parent().unwrap_or(temporary).join("e2e-logs")
}
