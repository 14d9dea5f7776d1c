//! An operator that is broken on purpose, and what has to notice it. Each break is a patch beside this file, whose first lines say
//! what is wrong and which run must notice:
//!
//! ```text
//! A sentence about what the operator does wrong.
//! storm: burst-503
//! notices: the words of a complaint
//! ```
//!
//! or, for a write of a flow, `flow: create` and `point: 1+ POST secrets/play-admin`; or `soak: ` and the arguments of a soak.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::{files, run};
use crate::site::{Outcome, checkout};

/// An operator that is broken on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// Its name: that of the file.
    pub name: String,
    /// What is wrong with it.
    pub what: String,
    /// The program that must notice, one of this package.
    pub program: &'static str,
    /// Its arguments.
    pub run: Vec<String>,
    /// Words that the run must say.
    pub notices: String,
    patch: PathBuf,
}

/// The programs that notice.
const FAULTS: &str = "dhis2-faults";
const BENCH: &str = "dhis2-bench";

/// Where the patches are.
const FOLDER: &str = "e2e/src/faults/breaks";

impl Break {
    /// Reads a patch.
    ///
    /// # Errors
    /// When its first lines do not say what they should.
    fn read(patch: &Path) -> Outcome<Self> {
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = files::read(patch)?;
        Self::parse(&name, &text, patch)
            .ok_or_else(|| format!("{}: say storm, or flow and point, and what notices it", patch.display()).into())
    }

    fn parse(name: &str, text: &str, patch: &Path) -> Option<Self> {
        let (head, _) = text.split_once("\ndiff --git ")?;
        let said = |key: &str| head.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).map(str::to_owned);
        let (program, run) = match (said("storm"), said("flow"), said("point"), said("soak")) {
            (Some(storm), None, None, None) => (FAULTS, vec!["--storm".to_owned(), storm]),
            (None, Some(flow), Some(point), None) => (FAULTS, vec!["--flow".to_owned(), flow, "--point".to_owned(), point]),
            (None, None, None, Some(soak)) => (BENCH, ["soak"].into_iter().chain(soak.split(' ')).map(str::to_owned).collect()),
            _ => return None,
        };
        let (what, notices) = (head.lines().next()?.to_owned(), said("notices")?);
        Some(Self { name: name.to_owned(), what, program, run, notices, patch: patch.to_owned() })
    }
}

/// All of them, by name.
///
/// # Errors
/// When a patch can't be read.
pub fn all() -> Outcome<Vec<Break>> {
    let mut patches = files::list(&checkout(FOLDER))?;
    patches.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    patches.sort();
    patches.iter().map(|patch| Break::read(patch)).collect()
}

/// A copy of this checkout, in which operators are broken.
pub struct Copy {
    folder: tempfile::TempDir,
    target: PathBuf,
}

impl Copy {
    /// Copies what git knows of, as it is now.
    ///
    /// # Errors
    /// When a file can't be copied.
    pub fn make() -> Outcome<Self> {
        let root = checkout(".");
        let folder = tempfile::Builder::new().prefix("dhis2-operator-breaks-").tempdir()?;
        let known = run::output(Command::new("git").current_dir(&root).args(["ls-files", "-z"]))?;
        for name in known.split('\0').filter(|name| root.join(name).is_file()) {
            let to = folder.path().join(name);
            if let Some(above) = to.parent() {
                files::make_folder(above)?;
            }
            std::fs::copy(root.join(name), to)?;
        }
        // Kept from run to run: only what is broken is built anew.
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("breaks");
        Ok(Self { folder, target })
    }

    fn patch(&self, patch: &Path, arguments: &[&str]) -> Outcome {
        run::output(
            Command::new("git").current_dir(self.folder.path()).env("GIT_CEILING_DIRECTORIES", "/").arg("apply").args(arguments).arg(patch),
        )?;
        Ok(())
    }

    /// Breaks the operator, has the run look at it, and mends it. Says whether the run noticed, and what it said.
    ///
    /// # Errors
    /// When the patch does not fit, or the operator can't be built with it.
    pub fn shows(&self, broken: &Break, jobs: usize) -> Outcome<(bool, String)> {
        self.patch(&broken.patch, &[])?;
        let built = self.build(jobs);
        self.patch(&broken.patch, &["--reverse"])?;
        let operator = built?;
        let program = std::env::current_exe()?.with_file_name(broken.program);
        let told = Command::new(program).args(&broken.run).arg("--operator").arg(operator).output()?;
        let said = [told.stdout, told.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        Ok((told.status.code() == Some(1) && said.contains(&broken.notices), said))
    }

    fn build(&self, jobs: usize) -> Outcome<PathBuf> {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(self.folder.path()).env("CARGO_TARGET_DIR", &self.target);
        cargo.args(["build", "--quiet", "--locked", "--package", "dhis2-operator", "--bin", "dhis2-operator", "--jobs", &jobs.to_string()]);
        run::output(&mut cargo)?;
        Ok(self.target.join("debug/dhis2-operator"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_break_says_what_it_is_and_who_notices() {
        for broken in all().unwrap() {
            assert!(broken.what.ends_with('.') && broken.notices.len() > 8, "{broken:?}");
        }
    }

    #[test]
    fn each_break_fits_the_operator_as_it_is() {
        for broken in all().unwrap() {
            let check = run::output(Command::new("git").current_dir(checkout(".")).args(["apply", "--check"]).arg(&broken.patch));
            assert!(check.is_ok(), "{}: {}", broken.name, check.unwrap_err());
        }
    }

    #[test]
    fn the_head_of_a_patch_is_read() {
        let parse = |head: &str| Break::parse("a", &format!("{head}\n\ndiff --git a/b b/b\n"), Path::new("a.patch"));
        let storm = parse("It sleeps.\nstorm: slow\nnotices: not as without").unwrap();
        assert_eq!((storm.run, storm.what), (vec!["--storm".to_owned(), "slow".to_owned()], "It sleeps.".to_owned()));
        let flow = parse("It dies.\nflow: create\npoint: 1+ POST a/b\nnotices: ends").unwrap();
        assert_eq!(flow.run, ["--flow", "create", "--point", "1+ POST a/b"]);
        let soak = parse("It grows.\nsoak: --time 300\nnotices: memory").unwrap();
        assert_eq!((soak.program, soak.run), (BENCH, vec!["soak".to_owned(), "--time".to_owned(), "300".to_owned()]));
        for wrong in ["It sleeps.\nnotices: x", "It sleeps.\nstorm: slow", "It.\nstorm: a\nflow: b\npoint: c\nnotices: d"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
