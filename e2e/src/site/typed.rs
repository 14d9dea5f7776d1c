//! What people type, as it is printed for them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Outcome, Story};
use crate::cluster::cache::Cache;
use crate::cluster::programs::Program;
use crate::cluster::{build, run};

/// The commands that a document prints, of a part of it.
pub fn commands(text: &str) -> String {
    let blocks = text.split("\n```sh\n").skip(1);
    blocks.filter_map(|part| part.split_once("```").map(|(block, _)| block)).collect()
}

/// The folder of restic, plain as its makers publish it.
///
/// # Errors
/// When it can't be built.
pub fn restic() -> Outcome<PathBuf> {
    let program = Program::named("restic").ok_or("no module builds restic")?;
    Ok(build::program(&Cache::locate()?, program)?)
}

/// The first number that follows these words.
pub fn number_after(text: &str, words: &str) -> Option<u64> {
    let (_, rest) = text.split_once(words)?;
    let digits: String = rest.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

impl Story {
    /// Runs commands in this folder, with kubectl and what is in `programs` on the search path.
    ///
    /// # Errors
    /// The first that fails.
    pub fn types(&self, folder: &Path, programs: &[PathBuf], script: &str) -> Outcome<String> {
        let kubectl = self.site.kubectl.parent().map(Path::to_owned);
        // One that is found on the search path anyway has an empty parent.
        let kubectl = kubectl.filter(|folder| !folder.as_os_str().is_empty());
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(kubectl.into_iter().chain(programs.iter().cloned()).chain(std::env::split_paths(&inherited)))?;
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", script]).current_dir(folder).env("PATH", path).env("KUBECONFIG", &self.site.kubeconfig);
        Ok(run::output(bash.env("NAMESPACE", &self.namespace).env("INSTANCE", "play"))?)
    }
}
