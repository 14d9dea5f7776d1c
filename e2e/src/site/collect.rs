//! What is kept of a story that failed: objects, events and logs, in one folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Story;
use crate::cluster::run;

/// What is listed; of Secrets only the names.
const KINDS: &str = "dhis2instances,pods,persistentvolumeclaims,statefulsets,deployments,jobs,cronjobs,services,endpointslices,ingresses,networkpolicies,configmaps,leases";

/// Collects and returns the folder. What can't be had is left out: the failure itself counts for more.
pub fn collect(story: &Story) -> PathBuf {
    let folder = story.site.logs.join(story.name);
    let _ = fs::remove_dir_all(&folder);
    for namespace in [story.namespace.clone(), story.operator_namespace()] {
        let place = folder.join(&namespace);
        if fs::create_dir_all(&place).is_err() {
            return folder;
        }
        let kubectl = |arguments: &[&str]| {
            let mut command = story.site.kubectl();
            command.args(["--namespace", &namespace]).args(arguments);
            command
        };
        keep(&place.join("objects.yaml"), &mut kubectl(&["get", KINDS, "--output", "yaml"]));
        keep(&place.join("overview.txt"), &mut kubectl(&["get", KINDS, "--output", "wide"]));
        keep(&place.join("secrets.txt"), &mut kubectl(&["get", "secrets", "--output", "name"]));
        keep(&place.join("events.txt"), &mut kubectl(&["get", "events", "--sort-by", ".metadata.creationTimestamp"]));
        let pods = run::output(&mut kubectl(&["get", "pods", "--output", "name"])).unwrap_or_default();
        for pod in pods.lines() {
            let name = pod.trim_start_matches("pod/");
            let logs = ["logs", pod, "--all-containers", "--prefix", "--timestamps"];
            keep(&place.join(format!("{name}.log")), &mut kubectl(&logs));
            keep(&place.join(format!("{name}.previous.log")), kubectl(&logs).arg("--previous"));
        }
    }
    audit(story, &folder.join("audit.log"));
    folder
}

fn keep(file: &Path, command: &mut Command) {
    let said = run::output(command).unwrap_or_else(|error| super::chain(&error));
    let _ = fs::write(file, said);
}

/// What the audit log says about the story's namespaces.
fn audit(story: &Story, file: &Path) {
    let Some(own) = &story.site.own else { return };
    let log = fs::read_to_string(own.place().logs().join("audit.log")).unwrap_or_default();
    let about: Vec<&str> = log.lines().filter(|line| line.contains(&story.namespace)).collect();
    let _ = fs::write(file, about.join("\n"));
}
