//! The Rust programs that go into images, statically linked, since they run inside other people's images.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::run;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Where the programs that are shipped are.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The operator.
    pub operator: PathBuf,
    /// The agent.
    pub agent: PathBuf,
}

/// Builds what is shipped, and nothing beside it: another package of the same build would bring its features along.
///
/// # Errors
/// When a build fails.
pub fn build() -> Result<Binaries, run::Error> {
    let folder = cargo("build operator and agent", "release", &["--package", "dhis2-operator", "--bins"])?;
    Ok(Binaries { operator: folder.join("dhis2-operator"), agent: folder.join("dhis2-agent") })
}

/// Builds the DHIS2 stand-in.
///
/// # Errors
/// When the build fails.
pub fn standin() -> Result<PathBuf, run::Error> {
    let folder = cargo("build the stand-in", "standin", &["--package", "dhis2-e2e", "--bin", "dhis2-standin"])?;
    Ok(folder.join("dhis2-standin"))
}

/// Builds with this profile. Returns the folder of the programs.
fn cargo(what: &str, profile: &str, programs: &[&str]) -> Result<PathBuf, run::Error> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&root).args(["build", "--locked", "--profile", profile, "--target", TARGET]).args(programs);
    // Host programs such as procedural macros can't be static: the flag is the target's alone.
    cargo.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-C target-feature=+crt-static");
    run::follow(what, &mut cargo)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join(TARGET).join(profile))
}
