//! What the documents promise of the tree: links and paths that exist, every reason explained, every field described.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use dhis2_operator::{api::Reason, operator::crd, yaml};
use serde_json::Value;
use strum::IntoEnumIterator;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(document: &str) -> String {
    fs::read_to_string(root().join(document)).unwrap_or_else(|error| panic!("{document}: {error}"))
}

/// What people read: the pages at the top, and those of `docs`.
fn documents() -> Vec<String> {
    let page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    let found: Vec<String> = ["", "docs", "docs/runbooks"]
        .into_iter()
        .flat_map(|folder| fs::read_dir(root().join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(page)
        .map(|path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned())
        .collect();
    assert!(found.len() > 50, "{found:?}");
    found
}

/// The text without its blocks of code.
fn prose(text: &str) -> String {
    let mut in_block = false;
    let outside = text.lines().filter(|line| {
        let fence = line.starts_with("```");
        in_block ^= fence;
        !in_block && !fence && !line.starts_with("    ")
    });
    outside.collect::<Vec<_>>().join("\n")
}

/// What stands between backticks.
fn code_spans(text: &str) -> Vec<String> {
    let prose = prose(text);
    let spans = prose.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    spans.map(str::to_owned).collect()
}

/// Where the links lead.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(str::to_owned).collect()
}

/// The anchors of the headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let prose = prose(text);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let title = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.collect::<String>().replace(' ', "-")
        })
        .collect()
}

#[test]
fn links_lead_somewhere() {
    for document in documents() {
        let folder = Path::new(&document).parent().map_or_else(PathBuf::new, Path::to_owned);
        for link in links(&read(&document)) {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { PathBuf::from(&document) } else { folder.join(path) };
            assert!(root().join(&target).exists(), "{document}: {link} leads nowhere");
            if !anchor.is_empty() {
                let text = read(target.to_str().unwrap());
                assert!(anchors(&text).contains(&anchor.to_owned()), "{document}: {link}: no such heading");
            }
        }
    }
}

#[test]
fn files_that_documents_name_exist() {
    let folders = ["src/", "e2e/", "charts/", "crds/", "examples/", "tests/", "docs/", ".ci/"];
    let mut named = 0;
    for document in documents() {
        for span in code_spans(&read(&document)) {
            if folders.iter().any(|folder| span.starts_with(folder)) && !span.contains(' ') {
                named += 1;
                assert!(root().join(&span).exists(), "{document}: there is no {span}");
            }
        }
    }
    assert!(named > 40, "the map of concepts names {named} files: is it still read?");
}

#[test]
fn every_reason_and_every_condition_is_explained() {
    let text = read("docs/operate.md");
    for reason in Reason::iter().map(Reason::as_str) {
        let row = format!("\n| [`{reason}`](runbooks/{reason}.md) | ");
        assert!(text.contains(&row), "docs/operate.md has no row {row:?}");
    }
    let description = described(&schema(crd::instance()), &["status", "conditions"]);
    let conditions = description.split('`').skip(1).step_by(2);
    for condition in conditions.filter(|word| word.chars().all(char::is_alphabetic)) {
        assert!(text.contains(&format!("\n| `{condition}` | ")), "docs/operate.md says nothing of the condition {condition}");
    }
}

#[test]
fn no_reason_is_explained_that_does_not_exist() {
    let text = read("docs/operate.md");
    let (_, table) = text.split_once("| reason |").expect("the table of reasons");
    let (table, _) = table.split_once("\n\n").expect("the end of the table");
    let told: Vec<&str> = table.lines().filter_map(|row| row.strip_prefix("| [`")?.split('`').next()).collect();
    assert!(!told.is_empty());
    for reason in told {
        assert!(reason.parse::<Reason>().is_ok(), "docs/operate.md explains {reason}, which is no reason");
    }
}

#[test]
fn values_that_the_documents_name_exist() {
    let values: Vec<Value> = yaml::read(&read("charts/dhis2-operator/values.yaml")).unwrap();
    let text = read("docs/install.md");
    let (_, table) = text.split_once("| value | default |").expect("the table of values");
    let (table, _) = table.split_once("\n\n").expect("the end of the table");
    let cells = table.lines().skip(2).filter_map(|row| row.split('|').nth(1));
    let names: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(names.len() > 8, "{names:?}");
    for name in names {
        let pointer = format!("/{}", name.replace('.', "/"));
        assert!(values[0].pointer(&pointer).is_some(), "docs/install.md names {name}, which values.yaml does not have");
    }
}

#[test]
fn tests_that_hold_threats_exist() {
    let text = read("docs/security.md");
    let (_, table) = text.split_once("| threat |").expect("the table of threats");
    let (table, _) = table.split_once("\n\n").expect("the end of the table");
    let tests = tests();
    let rows: Vec<&str> = table.lines().skip(2).collect();
    assert!(rows.len() > 12, "{} rows", rows.len());
    for row in rows {
        let holding = row.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap();
        let names: Vec<&str> = holding.split('`').skip(1).step_by(2).filter(|name| !name.contains(' ')).collect();
        assert!(!names.is_empty(), "held by nothing: {row}");
        for name in names {
            assert!(tests.contains(name), "docs/security.md names {name}, which is no test");
        }
    }
}

#[test]
fn every_story_is_told_in_a_line() {
    let (stories, page) = (read("e2e/tests/stories/main.rs"), read("e2e/README.md"));
    let modules = stories.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    let untold: Vec<_> = modules.filter(|story| !page.contains(&format!("\n| {} | ", story.replace('_', "-")))).collect();
    assert!(untold.is_empty(), "e2e/README.md says nothing of {untold:?}");
}

/// Names of all tests of the workspace.
fn tests() -> BTreeSet<String> {
    let sources = ["src", "tests", "e2e/src", "e2e/tests"].into_iter().flat_map(|folder| rust_files(&root().join(folder)));
    let mut names = BTreeSet::new();
    for text in sources.map(|path| fs::read_to_string(path).unwrap()) {
        let mut marked = false;
        for line in text.lines().map(str::trim) {
            marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            if let Some((_, name)) = line.split_once("fn ").filter(|_| marked && !line.starts_with("//")) {
                names.insert(name.split('(').next().unwrap().to_owned());
                marked = false;
            }
        }
    }
    names
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let nested = entries.flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] });
    nested.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

#[test]
fn the_definition_is_small_and_no_template() {
    for definition in crd::all() {
        let text = yaml::write(&definition).unwrap();
        // `kubectl apply` keeps it in an annotation, and all annotations together may have 256 KiB.
        assert!(text.len() < 200_000, "{} bytes", text.len());
        assert!(!text.contains("{{"), "Helm would take it for a template");
    }
}

/// Fields whose own fields are Kubernetes' and documented there.
const KUBERNETES_OWN: [&str; 5] = ["affinity", "allowFrom", "conditions", "tolerations", "topologySpreadConstraints"];

#[test]
fn every_field_is_described() {
    let mut missing = Vec::new();
    for definition in crd::all() {
        undescribed(&schema(definition), "", &mut missing);
    }
    missing.retain(|path| !["apiVersion", "kind", "metadata"].contains(&path.trim_start_matches('.')));
    assert!(missing.is_empty(), "no description: {}", missing.join(", "));
}

fn undescribed(schema: &Value, path: &str, missing: &mut Vec<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if field["description"].as_str().is_none_or(str::is_empty) {
            missing.push(path.clone());
        }
        if KUBERNETES_OWN.contains(&name.as_str()) {
            continue;
        }
        for inner in [field, &field["items"], &field["additionalProperties"]] {
            undescribed(inner, &path, missing);
        }
    }
}

fn schema(definition: impl serde::Serialize) -> Value {
    let definition = serde_json::to_value(definition).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

fn described(schema: &Value, path: &[&str]) -> String {
    let field = path.iter().fold(schema, |schema, name| &schema["properties"][*name]);
    field["description"].as_str().unwrap().to_owned()
}
