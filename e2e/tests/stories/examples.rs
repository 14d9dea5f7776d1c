//! Examples: the API server takes every one of them as it is, and refuses what they must not say.

use std::path::PathBuf;

use dhis2_e2e::cluster::run;
use dhis2_e2e::site::{Outcome, Story, checkout};
use serde_json::{Value, json};

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
        for (more, field) in wrong() {
            let said = try_out(&story, &story.manifest("play", &more).to_string());
            let said = said.err().map(|error| error.to_string());
            assert!(said.as_ref().is_some_and(|said| said.contains(field)), "{more} was to be refused with the path {field}: {said:?}");
        }
        Ok(())
    });
}

/// Specs that are refused before they are stored, and the path of the field that is wrong.
fn wrong() -> [(Value, &'static str); 5] {
    [
        (json!({ "version": "latest" }), "spec.version"),
        (json!({ "web": { "host": "*.example.org" } }), "spec.web.host"),
        (json!({ "config": { "connection.password": "x" } }), "spec.config"),
        (json!({ "backup": { "retention": { "last": 0 } } }), "spec.backup.retention.last"),
        (json!({ "web": { "tls": { "none": true, "upstream": true } } }), "spec.web.tls"),
    ]
}

/// The whole way through the API server, but for storing it.
fn try_out(story: &Story, manifest: &str) -> Outcome {
    let mut kubectl = story.site.kubectl();
    kubectl.args(["--namespace", &story.namespace, "apply", "--dry-run=server", "--filename", "-"]);
    run::feed(&mut kubectl, manifest.as_bytes())?;
    Ok(())
}
