//! What people type, as it is printed for them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Outcome, Story};
use crate::cluster::run;

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
