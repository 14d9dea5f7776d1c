//! Examples: the API server takes every one of them as it is; and the one that says everything runs, with all that it says.

mod everything;
mod live;

use std::path::PathBuf;

use dhis2_e2e::cluster::run;
use dhis2_e2e::site::{Outcome, Story, checkout};

#[test]
fn examples() {
    crate::tell("examples", |story| async move {
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(checkout("examples"))? {
            files.push(entry?.path());
        }
        assert!(files.len() > 2, "examples are missing: {files:?}");
        for file in &files {
            try_out(&story, &std::fs::read_to_string(file)?).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Box::pin(everything::runs(&story)).await
    });
}

/// The whole way through the API server, but for storing it.
fn try_out(story: &Story, manifest: &str) -> Outcome {
    let mut kubectl = story.site.kubectl();
    kubectl.args(["--namespace", &story.namespace, "apply", "--dry-run=server", "--validate=strict", "--filename", "-"]);
    run::feed(&mut kubectl, manifest.as_bytes())?;
    Ok(())
}
