//! `install`: puts the agent and restic where the other containers of the pod find them.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Ended;
use super::failure::Failure;
use super::paths::Paths;
use crate::layout;

/// An installation that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The running program could not be found.
    #[error("find the agent's own program file")]
    Find(#[source] io::Error),
    /// A program could not be copied.
    #[error("copy {from} to {to}")]
    Copy {
        /// The program in this image.
        from: PathBuf,
        /// Where it should go.
        to: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Failure for Error {}

/// Copies the agent and restic into `directory`.
pub fn install(directory: &Path, paths: &Paths) -> Result<Ended, Error> {
    let agent = std::env::current_exe().map_err(Error::Find)?;
    copy(&agent, &directory.join(name(layout::AGENT)))?;
    copy(&paths.of(layout::RESTIC_IN_IMAGE), &directory.join(name(layout::RESTIC)))?;
    Ok((format!("installed the agent and restic in {}", directory.display()), None))
}

fn name(place: &str) -> &Path {
    Path::new(Path::new(place).file_name().unwrap_or_default())
}

/// Copies beside the target and renames: a container that starts meanwhile sees the old program or the new one.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let new = to.with_extension("new");
    let copied = || -> io::Result<()> {
        if fs::exists(&new)? {
            fs::remove_file(&new)?;
        }
        io::copy(&mut File::open(from)?, &mut File::create(&new)?)?;
        fs::set_permissions(&new, Permissions::from_mode(0o555))?;
        fs::rename(&new, to)
    };
    copied().map_err(|source| Error::Copy { from: from.to_owned(), to: to.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_programs_arrive_executable_and_again() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        let restic = paths.of(layout::RESTIC_IN_IMAGE);
        fs::create_dir_all(restic.parent().unwrap()).unwrap();
        fs::write(&restic, "restic").unwrap();
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            install(directory.path(), &paths).unwrap();
        }
        let mode = |name: &str| fs::metadata(directory.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("dhis2-agent"), mode("restic")), (0o555, 0o555));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_missing_program_is_named() {
        let root = tempfile::tempdir().unwrap();
        let error = install(root.path(), &Paths::new(root.path())).unwrap_err();
        assert!(error.to_string().contains("usr/local/bin/restic"), "{error}");
    }
}
