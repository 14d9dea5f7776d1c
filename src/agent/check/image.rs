//! Which DHIS2 an image holds.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::agent::failure::Failure;
use crate::dhis2::version::Version;
use crate::report::Refusal;

/// An image that does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The place is not there.
    #[error("find DHIS2 in the image: {0} can't be read; is it an image of DHIS2?")]
    Read(PathBuf, #[source] io::Error),
    /// No version there.
    #[error("find DHIS2's version in the image: there is no dhis-api-<version>.jar in {0}; is it an image of DHIS2?")]
    None(PathBuf),
    /// Another version there.
    #[error("the image holds DHIS2 {found}, the resource says {asked}: correct `version` or `image`")]
    Other {
        /// What the file names say.
        found: String,
        /// What the resource says.
        asked: Version,
    },
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        Some(Refusal::ImageVersionMismatch)
    }
}

/// Whether the image holds exactly `asked`.
pub fn holds(libraries: &Path, asked: Version) -> Result<(), Error> {
    let entries = std::fs::read_dir(libraries).map_err(|error| Error::Read(libraries.to_owned(), error))?;
    let versions: BTreeSet<String> = entries.flatten().filter_map(|entry| version(&entry.file_name().to_string_lossy())).collect();
    let mut found = versions.iter();
    match (found.next(), found.next()) {
        (None, _) => Err(Error::None(libraries.to_owned())),
        (Some(only), None) if only.parse() == Ok(asked) => Ok(()),
        _ => Err(Error::Other { found: versions.into_iter().collect::<Vec<_>>().join(" and "), asked }),
    }
}

fn version(file: &str) -> Option<String> {
    Some(file.strip_prefix("dhis-api-")?.strip_suffix(".jar")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(files: &[&str], asked: &str) -> Result<(), String> {
        let libraries = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::write(libraries.path().join(file), "").unwrap();
        }
        holds(libraries.path(), asked.parse().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_same_version_in_both_spellings_fits() {
        assert_eq!(told(&["dhis-api-2.42.1.jar", "dhis-service-core-2.42.1.jar"], "2.42.1.0"), Ok(()));
        assert_eq!(told(&["dhis-api-2.42.4.1.jar"], "2.42.4.1"), Ok(()));
    }

    #[test]
    fn another_one_is_named() {
        assert_eq!(
            told(&["dhis-api-2.42.2.jar"], "2.42.1").unwrap_err(),
            "the image holds DHIS2 2.42.2, the resource says 2.42.1: correct `version` or `image`"
        );
        assert!(told(&["dhis-api-2.43.0-SNAPSHOT.jar"], "2.43.0").unwrap_err().contains("2.43.0-SNAPSHOT"));
        assert!(told(&["dhis-api-2.42.1.jar", "dhis-api-2.42.2.jar"], "2.42.1").unwrap_err().contains("2.42.1 and 2.42.2"));
    }

    #[test]
    fn other_images_are_told_what_was_looked_for() {
        assert!(told(&["guava.jar"], "2.42.1").unwrap_err().contains("no dhis-api-<version>.jar in /"));
        let error = holds(Path::new("/nowhere/lib"), "2.42.1".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("/nowhere/lib"));
    }
}
