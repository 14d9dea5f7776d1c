//! What a restore begins with: a repository with two sets, and a pod with new volumes.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

use dhis2_operator::layout;

use super::Pod;
use super::sets::{SCHEMA, backup, filled, manifest};

/// An instance with two sets. Its database is stopped: what is restored comes from the repository alone.
pub struct Source {
    pub pod: Pod,
    /// Of which moments its sets are.
    pub created: [String; 2],
}

/// One for all tests that run at the same time.
pub fn source() -> Arc<Source> {
    static SHARED: Mutex<Weak<Source>> = Mutex::new(Weak::new());
    super::shared(&SHARED, make)
}

fn make() -> Source {
    let pod = filled();
    let serving = pod.serve();
    pod.owner().batch_execute(SCHEMA).unwrap();
    // As the check does before DHIS2 starts; the resource asks for 2.42.4.1 by now.
    pod.owner().batch_execute("INSERT INTO dhis2_operator.instance VALUES ('lastStarted', '2.42.4')").unwrap();
    backup(&pod, "set-1", "3").done();
    pod.owner().batch_execute("DELETE FROM datavalue WHERE id > 49999").unwrap();
    pod.write("/opt/dhis2/files/dataValue/present", "another file");
    backup(&pod, "set-2", "3").done();
    drop(serving);
    let created = ["set-1", "set-2"].map(|set| manifest(&pod, set)["created"].as_str().unwrap().to_owned());
    Source { pod, created }
}

/// A pod with two new volumes and the source's repository.
pub fn target(source: &Source) -> Pod {
    target_of(&source.pod)
}

/// A pod with two new volumes and another one's repository.
pub fn target_of(source: &Pod) -> Pod {
    let pod = Pod::new();
    pod.install(&super::restic(), layout::RESTIC);
    let copied = Command::new("cp").arg("-a").arg(source.path(layout::REPOSITORY)).arg(pod.path(layout::REPOSITORY)).status();
    assert!(copied.unwrap().success());
    // As Kubernetes mounts a new volume: it is the group's, and nobody's own.
    let files = pod.path(layout::FILES);
    if nix::unistd::geteuid().is_root() {
        chown(&files, Some(0), None).unwrap();
    }
    fs::set_permissions(&files, fs::Permissions::from_mode(0o2775)).unwrap();
    pod
}
