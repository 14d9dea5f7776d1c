//! The definitions' chart, the plain manifest, and that one version is everywhere.
use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::helm::{chart, kubectl, objects, of, rendered, root};

fn plain() -> PathBuf {
    root().join("charts/plain")
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder");
    let mut names: Vec<String> = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn the_definitions_chart_holds_every_definition_and_nothing_else() {
    let templates = chart("dhis2-operator-crds").join("templates");
    assert_eq!(files(&templates), files(&root().join("crds")));
    for name in files(&templates) {
        let target = fs::canonicalize(templates.join(&name)).expect("the link leads somewhere");
        assert_eq!(target, fs::canonicalize(root().join("crds").join(&name)).expect("the definition"));
        let text = fs::read_to_string(target).expect("the definition");
        assert!(!text.contains("{{"), "{name}: helm would take a description for a template");
        // It keeps what was applied in an annotation, and all annotations together may have 256 KiB.
        assert!(text.len() < 200_000, "{name}: {} bytes are too many for `kubectl apply`", text.len());
    }
}

#[test]
fn definitions_come_with_the_operator_and_stay_when_it_goes() {
    let with = objects(&rendered(&[]));
    let definitions = of("CustomResourceDefinition", &with);
    assert_eq!(definitions.len(), files(&root().join("crds")).len());
    for definition in definitions {
        assert_eq!(definition["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    }
    assert!(of("CustomResourceDefinition", &objects(&rendered(&["--set", "crds.install=false"]))).is_empty());
}

#[test]
fn the_plain_manifest_is_what_the_chart_renders_without_definitions() {
    let plain = fs::read_to_string(plain().join("install.yaml")).expect("install.yaml");
    let fresh = rendered(&["--set", "crds.install=false", "--skip-tests"]);
    assert!(plain == fresh, "charts/plain/install.yaml is out of date: make generate");
}

#[test]
fn kustomize_puts_one_image_into_the_operator_and_its_instances() {
    let copy = tempfile::tempdir().expect("a temporary folder");
    for name in files(&plain()) {
        let text = fs::read_to_string(plain().join(&name)).expect("a file");
        let named = text.replace("newName: dhis2-operator", "newName: registry.example.org/mirror/dhis2-operator");
        fs::write(copy.path().join(name), named).expect("the copy is written");
    }
    let output = kubectl().arg("kustomize").arg(copy.path()).output().expect("kubectl starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let objects = objects(&String::from_utf8(output.stdout).expect("UTF-8"));
    assert!(of("CustomResourceDefinition", &objects).is_empty(), "deleting it would delete every instance");
    assert_eq!(of("Namespace", &objects).len(), 1);
    let container = &of("Deployment", &objects)[0]["spec"]["template"]["spec"]["containers"][0];
    let told = container["env"].as_array().expect("env").iter().find(|entry| entry["name"] == "OPERATOR_IMAGE").expect("the image");
    let image = concat!("registry.example.org/mirror/dhis2-operator:", env!("CARGO_PKG_VERSION"));
    assert_eq!((&container["image"], &told["value"]), (&image.into(), &image.into()));
}

#[test]
fn one_version_is_everywhere() {
    let read = |name: &str| -> Value {
        serde_yaml::from_str(&fs::read_to_string(chart(name).join("Chart.yaml")).expect("Chart.yaml")).expect("YAML")
    };
    let (operator, definitions) = (read("dhis2-operator"), read("dhis2-operator-crds"));
    let versions = [
        &operator["version"],
        &operator["appVersion"],
        &definitions["version"],
        &definitions["appVersion"],
        &operator["dependencies"][0]["version"],
    ];
    for version in versions {
        assert_eq!(version, env!("CARGO_PKG_VERSION"));
    }
}
