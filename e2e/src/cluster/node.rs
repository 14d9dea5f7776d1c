//! Programs run against a cluster from the machine: in its namespaces, on its containerd, on its API.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::archive::{self, Named, UNNAMED};
use super::run;
use super::state::{self, FirstProcess, Place};

/// Why the cluster could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not run.
    #[error("the cluster {0} is not up: start it with `make cluster CLUSTER={0}`")]
    Down(String),
    /// Its state.
    #[error(transparent)]
    State(#[from] state::Error),
    /// An image archive.
    #[error(transparent)]
    Archive(#[from] archive::Unusable),
    /// A program.
    #[error(transparent)]
    Run(#[from] run::Error),
}

/// The first process of a cluster that runs.
pub fn first_process(place: &Place) -> Result<FirstProcess, Error> {
    place.running()?.ok_or_else(|| Error::Down(place.name.clone()))
}

/// A program in the namespaces of the node: sees its network, mounts and processes.
pub fn inside(process: FirstProcess, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command
        .args(["--target", &process.pid.to_string()])
        .args(["--mount", "--net", "--pid", "--ipc", "--uts", "--cgroup", "--"])
        .arg(program);
    command
}

/// kubectl as the cluster's administrator. `programs` are the folders that [`super::build`] told.
pub fn kubectl(place: &Place, programs: &[PathBuf]) -> Command {
    let mut command = Command::new(find(programs, "kubectl"));
    command.env("KUBECONFIG", place.kubeconfig());
    command
}

/// A built program.
pub fn find(programs: &[PathBuf], name: &str) -> PathBuf {
    programs.iter().map(|folder| folder.join(name)).find(|path| path.exists()).unwrap_or_else(|| PathBuf::from(name))
}

/// Where the machine finds the node's containerd.
pub fn containerd_socket(process: FirstProcess) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root/run/containerd/containerd.sock", process.pid))
}

fn ctr(process: FirstProcess, programs: &[PathBuf]) -> Command {
    let mut command = Command::new(find(programs, "ctr"));
    command.arg("--address").arg(containerd_socket(process)).args(["--namespace", "k8s.io", "images"]);
    command
}

/// Loads an OCI archive into the node, unless the same image is there, and returns its name.
pub fn load(process: FirstProcess, programs: &[PathBuf], archive: &Path) -> Result<String, Error> {
    let image = Named::read(archive)?;
    let name = image.reference();
    let there = run::output(ctr(process, programs).args(["list", &format!("name=={name}")]))?;
    if there.contains(&image.digest) {
        return Ok(name);
    }
    let mut import = ctr(process, programs);
    import.args(["import", "--all-platforms"]);
    if image.is_tag() {
        import.args(["--base-name", UNNAMED]);
    }
    run::output(import.arg(archive))?;
    if !image.is_tag() && image.told != name {
        run::output(ctr(process, programs).args(["tag", "--force", &image.told, &name]))?;
    }
    Ok(name)
}

/// Writes an image of the node to an OCI archive.
///
/// # Errors
/// When the node has no such image.
pub fn save(process: FirstProcess, programs: &[PathBuf], image: &str, archive: &Path) -> Result<(), Error> {
    // Without `--local` it was seen to end before the last of it was in the file.
    run::output(ctr(process, programs).args(["export", "--local"]).arg(archive).arg(image))?;
    Ok(())
}

/// Brings an image of a registry to the node, unless it is there. The machine fetches it: the cluster has no way out.
///
/// # Errors
/// When the machine does not reach the registry, or the registry has no such image.
pub fn pull(process: FirstProcess, programs: &[PathBuf], image: &str) -> Result<(), Error> {
    let there = run::output(ctr(process, programs).args(["list", "--quiet", &format!("name=={image}")]))?;
    if there.trim().is_empty() {
        run::follow(&format!("pull {image}"), ctr(process, programs).args(["pull", "--local", image]))?;
    }
    Ok(())
}

/// Gives an image of the node a further name.
///
/// # Errors
/// When the node has no such image.
pub fn name_too(process: FirstProcess, programs: &[PathBuf], image: &str, name: &str) -> Result<(), Error> {
    run::output(ctr(process, programs).args(["tag", "--force", image, name]))?;
    Ok(())
}
