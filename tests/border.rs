//! The borders inside the product: the operator speaks to the Kubernetes API and to nothing else, the agent to everything but that, and
//! what decides is pure. They keep the operator small and safe, so they are held here and not by good will.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every Rust file of `part`, a file or a folder below `src`.
fn files(part: &str) -> Vec<PathBuf> {
    let mut waiting = vec![source().join(part)];
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            waiting.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    assert!(!found.is_empty(), "src/{part} holds no Rust file: the test looks in the wrong place");
    found
}

/// The places in `parts` that mention one of `words` outside of comments.
fn mentions(parts: &[&str], words: &[&str]) -> Vec<String> {
    let files = parts.iter().flat_map(|part| files(part));
    files
        .flat_map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            mentions_in(&text, words).into_iter().map(|(line, word)| format!("{}:{line}: {word}", path.display())).collect::<Vec<_>>()
        })
        .collect()
}

fn mentions_in(text: &str, words: &[&str]) -> Vec<(usize, String)> {
    let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.flat_map(|(number, line)| words.iter().filter(move |word| line.contains(**word)).map(move |word| (number + 1, (*word).to_owned())))
        .collect()
}

fn none(found: &[String], why: &str) {
    assert!(found.is_empty(), "{why}:\n{}", found.join("\n"));
}

#[test]
fn the_search_sees_code_and_no_comments() {
    let text = "//! kube::Api\nuse kube::Api;\n    // kube::\n";
    assert_eq!(mentions_in(text, &["kube::", "ureq::"]), [(2, "kube::".to_owned())]);
}

#[test]
fn the_operator_speaks_to_kubernetes_only() {
    let clients = ["postgres::", "use postgres", "ureq::", "use ureq", "agent::", "process::Command", "tokio::process"];
    let mut found = mentions(&["operator", "api", "bin/dhis2-operator.rs"], &clients);
    // A test: it reads the agent's command line to hold the pods to it.
    found.retain(|place| !place.contains("desired/agreement.rs"));
    none(&found, "the operator must not touch databases, DHIS2 or repositories: that is the agent's work");
}

#[test]
fn the_agent_knows_no_kubernetes() {
    let clients = ["kube::", "use kube", "k8s_openapi", "crate::operator", " operator::", "{operator::"];
    none(
        &mentions(&["agent", "bin/dhis2-agent.rs", "layout.rs", "report.rs", "report"], &clients),
        "the agent runs where tenants' data is: it must not be able to speak to the API server",
    );
}

#[test]
fn what_decides_is_pure() {
    let parts = [
        "dhis2",
        "operator/addresses.rs",
        "operator/desired",
        "operator/parse.rs",
        "operator/parse",
        "operator/status.rs",
        "operator/status",
        "operator/compare.rs",
        "operator/instance.rs",
        "operator/ownership.rs",
        "operator/quantity.rs",
        "operator/restart.rs",
        "operator/trouble.rs",
        "operator/wish.rs",
    ];
    let effects =
        ["kube::Client", "Client,", "Api<", "async ", ".await", "Timestamp::now", "Instant::now", "SystemTime", "env::", "getrandom"];
    let pure = mentions(&parts, &effects);
    none(&pure, "the same input must give the same output: hand in what the cluster, the clock and the environment say");
}
