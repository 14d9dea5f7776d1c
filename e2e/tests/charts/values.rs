//! The values: few, each explained, each checked, each reaching its flag.
use std::{collections::BTreeSet, fs};

use clap::CommandFactory;
use dhis2_operator::operator::args::Args;
use serde_json::Value;

use crate::helm::{chart, everything, objects, of, rendered, template};

fn values() -> String {
    fs::read_to_string(chart("dhis2-operator").join("values.yaml")).expect("values.yaml")
}

fn schema() -> Value {
    let text = fs::read_to_string(chart("dhis2-operator").join("values.schema.json")).expect("values.schema.json");
    serde_json::from_str(&text).expect("JSON")
}

/// `image.tag` and the like, as deep as the schema names them.
fn keys(value: &Value, schema: &Value, prefix: &str) -> BTreeSet<String> {
    let named = schema["properties"].as_object();
    let fields = value.as_object().filter(|_| named.is_some());
    let Some(fields) = fields else {
        return BTreeSet::from([prefix.trim_end_matches('.').to_owned()]);
    };
    fields.iter().flat_map(|(key, inner)| keys(inner, &schema["properties"][key], &format!("{prefix}{key}."))).collect()
}

fn names(map: &Value) -> BTreeSet<&str> {
    map.as_object().expect("a map").keys().map(String::as_str).collect()
}

#[test]
fn there_are_few_and_each_has_a_comment() {
    let text = values();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() <= 100, "{} lines", lines.len());
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        let above = index.checked_sub(1).is_some_and(|above| lines[above].starts_with('#'));
        let group = ["crds:", "networkPolicy:"].contains(line);
        assert!(line.contains(" # ") || above || group, "line {}: {line}", index + 1);
    }
}

#[test]
fn values_schema_and_the_test_of_everything_know_the_same_keys() {
    let read = |text: &str| serde_yaml::from_str::<Value>(text).expect("YAML");
    let file = everything().replacen("--values=", "", 1);
    let (given, all) = (read(&values()), read(&fs::read_to_string(file).expect("everything.yaml")));
    let schema = schema();
    assert_eq!(keys(&given, &schema, ""), keys(&all, &schema, ""));
    let named: BTreeSet<&str> = names(&schema["properties"]);
    let unused: Vec<&str> = named.difference(&names(&given)).copied().collect();
    assert_eq!(unused, ["dhis2-operator-crds", "global"], "helm adds these two itself");
}

#[test]
fn a_key_or_value_that_is_none_is_refused() {
    for wrong in [
        "bogus=1",
        "image.tagg=1",
        "crds.instal=true",
        "replicas=many",
        "image.pullPolicy=Sometimes",
        "leaseTtl=1",
        "ingressCidrs={10.0.0.0}",
    ] {
        let output = template(&["--set", wrong]);
        assert!(!output.status.success(), "{wrong} is taken");
        assert!(String::from_utf8_lossy(&output.stderr).contains("schema"), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_flag_of_run_can_be_set() {
    let objects = objects(&rendered(&[&everything()]));
    let container = &of("Deployment", &objects)[0]["spec"]["template"]["spec"]["containers"][0];
    let set: BTreeSet<&str> =
        container["env"].as_array().expect("env").iter().map(|entry| entry["name"].as_str().expect("a name")).collect();
    let command = Args::command();
    let run = command.find_subcommand("run").expect("run");
    let flags: BTreeSet<&str> = command
        .get_arguments()
        .chain(run.get_arguments())
        .filter_map(|flag| flag.get_env())
        .map(|name| name.to_str().expect("UTF-8"))
        .collect();
    let left: Vec<&str> = flags.difference(&set).copied().collect();
    assert_eq!(left, ["LEASE_NAMESPACE", "LISTEN"], "these two are not to be set");
    assert!(set.is_subset(&flags), "{set:?} are not all flags: {flags:?}");
}

#[test]
fn what_the_chart_sets_is_what_run_understands() {
    for arguments in [vec![], vec![everything()]] {
        let objects = objects(&rendered(&arguments.iter().map(String::as_str).collect::<Vec<_>>()));
        let container = &of("Deployment", &objects)[0]["spec"]["template"]["spec"]["containers"][0];
        let mut line = vec!["dhis2-operator".to_owned(), "run".to_owned()];
        for entry in container["env"].as_array().expect("env") {
            let name = entry["name"].as_str().expect("a name").to_lowercase().replace('_', "-");
            let flag = if name == "operator-image" { "image" } else { name.as_str() };
            line.push(format!("--{flag}={}", entry["value"].as_str().unwrap_or("pod")));
        }
        let read = Args::read(line.iter().map(Into::into));
        assert!(read.is_ok(), "{:?}", read.err().map(|error| error.to_string()));
    }
}

#[test]
fn the_image_is_named_by_digest_before_tag() {
    let image = |arguments: &[&str]| {
        of("Deployment", &objects(&rendered(arguments)))[0]["spec"]["template"]["spec"]["containers"][0]["image"].clone()
    };
    assert_eq!(image(&[]), concat!("dhis2-operator:", env!("CARGO_PKG_VERSION")));
    assert_eq!(image(&["--set", "image.tag=x"]), "dhis2-operator:x");
    assert!(image(&[&everything()]).as_str().is_some_and(|name| name.contains("@sha256:")));
}
