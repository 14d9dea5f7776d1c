//! The programs that the charts are checked with, built from their pinned modules unless `HELM`, `KUBECONFORM` and `KUBECTL` name them.
use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use dhis2_e2e::cluster::{build, cache::Cache, programs::Program};
use serde::Deserialize;
use serde_json::Value;

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("e2e has a parent")
}

/// The folder of a chart.
pub fn chart(name: &str) -> PathBuf {
    root().join("charts").join(name)
}

fn program(variable: &str, module: &str, name: &str) -> PathBuf {
    if let Some(given) = env::var_os(variable) {
        return given.into();
    }
    let cache = Cache::locate().expect("a cache folder");
    let module = Program::named(module).expect("a pinned module");
    build::program(&cache, module).expect("the program builds").join(name)
}

/// kubeconform.
pub fn kubeconform() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    Command::new(PROGRAM.get_or_init(|| program("KUBECONFORM", "kubeconform", "kubeconform")))
}

/// kubectl.
pub fn kubectl() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    Command::new(PROGRAM.get_or_init(|| program("KUBECTL", "kubernetes", "kubectl")))
}

/// Runs helm.
pub fn helm<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(arguments: I) -> Output {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let mut helm = Command::new(PROGRAM.get_or_init(|| program("HELM", "helm", "helm")));
    helm.args(arguments).output().expect("helm starts")
}

/// Renders the operator's chart as release `dhis2-operator` in the namespace of that name.
pub fn template(arguments: &[&str]) -> Output {
    let chart = chart("dhis2-operator");
    let fixed = ["template", "dhis2-operator", chart.to_str().expect("a path in UTF-8"), "--namespace", "dhis2-operator"];
    helm(fixed.iter().chain(arguments))
}

/// What [`template`] prints, when it succeeds.
pub fn rendered(arguments: &[&str]) -> String {
    let output = template(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The values file that sets every key to something else than its default.
pub fn everything() -> String {
    format!("--values={}/tests/charts/everything.yaml", env!("CARGO_MANIFEST_DIR"))
}

/// The documents of a text.
pub fn objects(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).expect("YAML"))
        .filter(|object| !object.is_null())
        .collect()
}

/// Those of one kind.
pub fn of<'a>(kind: &str, objects: &'a [Value]) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}
