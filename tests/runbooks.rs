//! Each reason has a page for the person who meets it, and a test that reaches it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use dhis2_operator::api::Reason;
use strum::IntoEnumIterator;

const HEADINGS: [&str; 4] = ["## What it means", "## What is safe", "## What to do", "## How to see that it is over"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn reasons() -> BTreeSet<String> {
    Reason::iter().map(|reason| reason.as_str().to_owned()).collect()
}

#[test]
fn every_reason_has_a_page_and_every_page_a_reason() {
    let pages = fs::read_dir(root().join("docs/runbooks")).unwrap().map(|entry| entry.unwrap().path());
    let names: BTreeSet<String> = pages.map(|page| page.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let known: BTreeSet<String> = reasons().into_iter().chain(["README".to_owned()]).collect();
    assert_eq!(names, known, "pages of docs/runbooks, and reasons");
}

#[test]
fn every_page_says_what_a_person_asks() {
    for reason in reasons() {
        let text = read(&root().join(format!("docs/runbooks/{reason}.md")));
        let headings: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
        assert_eq!(headings[0], format!("# {reason}"));
        assert_eq!(headings[1..], HEADINGS, "{reason}");
        for section in text.split("\n## ").skip(1) {
            let (heading, body) = section.split_once('\n').unwrap();
            assert!(!body.trim().is_empty(), "{reason}: nothing under {heading:?}");
        }
    }
}

#[test]
fn the_index_leads_to_every_page() {
    let index = read(&root().join("docs/runbooks/README.md"));
    for reason in reasons() {
        assert_eq!(index.matches(&format!("[{reason}]({reason}.md)")).count(), 1, "{reason} in docs/runbooks/README.md");
    }
}

/// Rust files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let nested = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    nested.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// The code of all tests: files of tests, and what follows `#[cfg(test)]` in others.
fn tests() -> String {
    let inside = sources(&root().join("src")).into_iter().map(|path| {
        let text = read(&path);
        if path.ends_with("tests.rs") {
            text
        } else {
            text.split_once("#[cfg(test)]").map_or_else(String::new, |(_, tests)| tests.to_owned())
        }
    });
    let outside = ["tests", "e2e/tests/stories"].into_iter().flat_map(|folder| sources(&root().join(folder))).map(|path| read(&path));
    inside.chain(outside).collect()
}

#[test]
fn every_reason_is_reached_by_a_test() {
    let tests = tests();
    let ends = |rest: &str| rest.starts_with(|c: char| !c.is_alphanumeric());
    let named = |reason: &String| {
        let words = ["Reason::", "Refusal::", "\""].map(|before| format!("{before}{reason}"));
        words.iter().any(|word| tests.split(word.as_str()).skip(1).any(ends))
    };
    let unreached: Vec<String> = reasons().into_iter().filter(|reason| !named(reason)).collect();
    assert!(unreached.is_empty(), "no test reaches {}", unreached.join(", "));
}
