//! The Rust programs that go into images: release builds, statically linked, since they run inside other
//! people's images.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::run;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Names of the programs in the order of [`build`]'s answer.
const PROGRAMS: [(&str, &str); 3] =
    [("dhis2-operator", "dhis2-operator"), ("dhis2-operator", "dhis2-agent"), ("dhis2-e2e", "dhis2-standin")];

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The operator.
    pub operator: PathBuf,
    /// The agent.
    pub agent: PathBuf,
    /// The DHIS2 stand-in.
    pub standin: PathBuf,
}

/// Builds the programs of this checkout.
///
/// # Errors
/// When a build fails.
pub fn build() -> Result<Binaries, run::Error> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&root).args(["build", "--release", "--target", TARGET]);
    for (package, program) in PROGRAMS {
        cargo.args(["--package", package, "--bin", program]);
    }
    // Host programs such as procedural macros can't be static: the flag is the target's alone.
    cargo.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-C target-feature=+crt-static");
    run::follow("build operator, agent and stand-in", &mut cargo)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let made = |name: &str| target.join(TARGET).join("release").join(name);
    Ok(Binaries { operator: made("dhis2-operator"), agent: made("dhis2-agent"), standin: made("dhis2-standin") })
}
