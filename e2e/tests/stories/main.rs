//! What the product promises, each promise on a real cluster: `cargo test --workspace --test stories [NAME]`.
//!
//! Without further words the cluster is our own, started when it is not up. `E2E_KUBECONFIG` names another one; see `site::given`
//! for what it has to be told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test's way to fail

mod backup;
mod change;
mod crowd;
mod doors;
mod drift;
mod examples;
mod failed_start;
mod helm;
mod killed;
mod leaving;
mod login;
mod loss;
mod neighbours;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dhis2_e2e::site::{Outcome, Story, story};

/// Tells a story, and fails the test with what went wrong.
fn tell<F>(name: &'static str, of: impl FnOnce(Arc<Story>) -> F)
where
    F: Future<Output = Outcome> + 'static,
{
    let tool = Path::new(env!("CARGO_BIN_EXE_dhis2-cluster"));
    let told = story::run(name, tool, &logs(), of);
    assert!(told.is_ok(), "{}", told.err().unwrap_or_default());
}

/// Where logs of failed stories go: beside what cargo builds.
fn logs() -> PathBuf {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    temporary.parent().unwrap_or(temporary).join("e2e-logs")
}
