//! What people type, as it is printed for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Outcome, Story, checkout};
use crate::cluster::cache::Cache;
use crate::cluster::programs::Program;
use crate::cluster::{build, run};

/// The commands that a document prints, of a part of it.
pub fn commands(text: &str) -> String {
    let blocks = text.split("\n```sh\n").skip(1);
    blocks.filter_map(|part| part.split_once("```").map(|(block, _)| block)).collect()
}

/// The block of commands of a page that begins with these words, with what a reader puts in the place of what is printed. What goes on for
/// ever (`-w`) is left out.
///
/// # Errors
/// When the page prints something else.
pub fn printed(page: &str, begins: &str, put: &[(&str, &str)]) -> Outcome<String> {
    let text = fs::read_to_string(checkout(page))?;
    let begins = format!("    {begins}");
    let block = text.split("\n\n").find(|block| block.starts_with(&begins));
    let lines = block.ok_or_else(|| format!("{page} prints no {begins}"))?.lines().map(|line| line.strip_prefix("    ").unwrap_or(line));
    let mut commands = lines.filter(|line| !line.split(' ').any(|word| word == "-w")).collect::<Vec<_>>().join("\n");
    for (printed, meant) in put {
        if !commands.contains(printed) {
            return Err(format!("{page} does not print {printed}:\n{commands}").into());
        }
        commands = commands.replace(printed, meant);
    }
    Ok(commands)
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
    /// Runs a block of commands of a page, as [`printed`], where the page's paths lead somewhere.
    ///
    /// # Errors
    /// When there is none, or a command fails.
    pub fn types_of(&self, page: &str, begins: &str, put: &[(&str, &str)]) -> Outcome<String> {
        self.types(&checkout(""), &[], &printed(page, begins, put)?)
    }

    /// Runs commands in this folder, with kubectl and what is in `programs` on the search path, where the current namespace is the story's.
    ///
    /// # Errors
    /// The first that fails.
    pub fn types(&self, folder: &Path, programs: &[PathBuf], script: &str) -> Outcome<String> {
        let kubectl = self.site.kubectl.parent().map(Path::to_owned);
        // One that is found on the search path anyway has an empty parent.
        let kubectl = kubectl.filter(|folder| !folder.as_os_str().is_empty());
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(kubectl.into_iter().chain(programs.iter().cloned()).chain(std::env::split_paths(&inherited)))?;
        let config = tempfile::NamedTempFile::new()?;
        fs::write(config.path(), run::output(self.site.kubectl().args(["config", "view", "--raw", "--flatten", "--minify"]))?)?;
        let here = ["config", "set-context", "--current", "--namespace", &self.namespace];
        run::output(Command::new(&self.site.kubectl).arg("--kubeconfig").arg(config.path()).args(here))?;
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", script]).current_dir(folder).env("PATH", path).env("KUBECONFIG", config.path());
        Ok(run::output(bash.env("NAMESPACE", &self.namespace).env("INSTANCE", "play"))?)
    }
}
