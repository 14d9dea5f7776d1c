//! The version of DHIS2 that this process plays: read, as an operator would, from the name of a file of the exploded WAR
//! (`WEB-INF/lib/dhis-api-<version>.jar`), so that one binary serves images of every version.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where the exploded WAR keeps its libraries, below Tomcat's home.
pub const LIBRARIES: &str = "webapps/ROOT/WEB-INF/lib";

/// `2.<major>.<patch>[.<hotfix>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 42 in 2.42.4.1.
    pub major: u16,
    /// 4 in 2.42.4.1.
    pub patch: u16,
    /// 1 in 2.42.4.1; 0 when it is left out.
    pub hotfix: u16,
}

/// Why no version could be told.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// The text is no version.
    #[error("read version {0:?}: want 2.<major>.<patch>[.<hotfix>]")]
    Malformed(String),
    /// The folder of the libraries can't be read.
    #[error("list {path}")]
    List {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// No file there is named `dhis-api-<version>.jar`.
    #[error("find dhis-api-<version>.jar in {0}: there is none")]
    NoJar(PathBuf),
}

impl Version {
    /// The version in the name of `dhis-api-<version>.jar` below `catalina_home`.
    ///
    /// # Errors
    /// When the folder can't be read, holds no such file, or the name holds no version.
    pub fn installed(catalina_home: &Path) -> Result<Self, VersionError> {
        let path = catalina_home.join(LIBRARIES);
        let entries = fs::read_dir(&path).map_err(|source| VersionError::List { path: path.clone(), source })?;
        entries
            .flatten()
            .find_map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                Some(name.strip_prefix("dhis-api-")?.strip_suffix(".jar")?.to_owned())
            })
            .ok_or(VersionError::NoJar(path))?
            .parse()
    }

    /// Path of the login page: `/login/` from 2.43 on (dhis2-core jenkinsfiles and tags, read).
    pub fn login_page(self) -> &'static str {
        if self.major >= 43 { "/login/" } else { "/dhis-web-login/" }
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let malformed = || VersionError::Malformed(text.to_owned());
        let numbers: Vec<u16> = text.split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| malformed())?;
        match *numbers.as_slice() {
            [2, major, patch] => Ok(Self { major, patch, hotfix: 0 }),
            [2, major, patch, hotfix] => Ok(Self { major, patch, hotfix }),
            _ => Err(malformed()),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "2.{}.{}", self.major, self.patch)?;
        if self.hotfix > 0 { write!(f, ".{}", self.hotfix) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jar_tells_the_version() {
        let home = tempfile::tempdir().unwrap();
        assert!(matches!(Version::installed(home.path()), Err(VersionError::List { .. })));
        let lib = home.path().join(LIBRARIES);
        fs::create_dir_all(&lib).unwrap();
        assert!(matches!(Version::installed(home.path()), Err(VersionError::NoJar(_))));
        fs::write(lib.join("dhis-service-core-2.42.4.1.jar"), "").unwrap();
        fs::write(lib.join("dhis-api-2.42.4.1.jar"), "").unwrap();
        assert_eq!(Version::installed(home.path()).unwrap().to_string(), "2.42.4.1");
        assert!("2.42".parse::<Version>().is_err());
        assert_eq!("2.43.1.0".parse::<Version>().unwrap().to_string(), "2.43.1");
    }
}
