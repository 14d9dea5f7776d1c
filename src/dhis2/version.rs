//! DHIS2's version numbers.
//!
//! A release is `2.<major>.<patch>`, a hotfix of it has a fourth part: `2.42.4.1` is major 42, patch 4, hotfix 1. Git tags and
//! `loginConfig` leave a zero hotfix out (`2.42.5`), image tags always carry it (`2.42.5.0`, `42.5.0`): dhis2-core,
//! jenkinsfiles/stable and docker/DOCKERHUB.md. A version before its release (`-SNAPSHOT`, `-rc`) is not one of these.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A released version of DHIS2, ordered as the releases are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    major: u16,
    patch: u16,
    hotfix: u16,
}

/// A text that is no DHIS2 version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a DHIS2 version: write 2.42.1, or 2.42.1.1 for a hotfix")]
pub struct NotAVersion(String);

/// The line of releases that a version belongs to, such as `2.42`: a database moves along lines in one direction only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line(u16);

impl Version {
    /// The line, such as `2.42`.
    pub fn line(self) -> Line {
        Line(self.major)
    }

    /// Whether the version is of a line before `2.<major>`.
    pub fn is_before_line(self, major: u16) -> bool {
        self.major < major
    }

    /// The tag of the image, `2.42.1.0`: always four parts.
    pub fn tag(self) -> String {
        format!("2.{}.{}.{}", self.major, self.patch, self.hotfix)
    }
}

/// What has used a database that is newer than `asked`, which therefore can't start on it: a version, or the line of a schema whose
/// version nobody noted. A hotfix is no newer than its release here: it changes no database.
pub fn newer(used: Option<Version>, schema: Option<&str>, asked: Version) -> Option<String> {
    if let Some(used) = used.filter(|used| *used > asked && !asked.is_hotfix_of(*used)) {
        return Some(used.to_string());
    }
    schema.and_then(Line::of_schema).filter(|line| *line > asked.line()).map(|line| line.to_string())
}

impl Line {
    /// The line `2.<major>`.
    pub const fn of(major: u16) -> Self {
        Self(major)
    }

    /// The line of a schema version of `flyway_schema_history`: DHIS2 numbers its migrations `2.<major>.<n>`
    /// (dhis2-core, `db/migration/2.42/V2_42_47__…`). `None` for a text of another shape.
    pub fn of_schema(version: &str) -> Option<Self> {
        let mut parts = version.split('.');
        (parts.next() == Some("2")).then(|| parts.next()?.parse().ok().map(Self))?
    }
}

impl Version {
    /// Are these the same release but for hotfixes, which change no database? Of the releases from 2.38 to 2.43 many a
    /// patch brought migrations, and no hotfix did (dhis2-core, the migrations at its tags).
    pub fn is_hotfix_of(self, other: Self) -> bool {
        (self.major, self.patch) == (other.major, other.patch)
    }
}

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let refused = || NotAVersion(text.to_owned());
        let parts: Vec<u16> = text.split('.').map(part).collect::<Option<_>>().ok_or_else(refused)?;
        match *parts.as_slice() {
            [2, major, patch] => Ok(Self { major, patch, hotfix: 0 }),
            [2, major, patch, hotfix] => Ok(Self { major, patch, hotfix }),
            _ => Err(refused()),
        }
    }
}

/// One part of a version: digits without sign and without leading zero, so that no two texts mean the same part.
fn part(text: &str) -> Option<u16> {
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    canonical.then(|| text.parse().ok())?
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "2.{}.{}", self.major, self.patch)?;
        if self.hotfix > 0 {
            write!(f, ".{}", self.hotfix)?;
        }
        Ok(())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "2.{}", self.0)
    }
}

impl TryFrom<String> for Version {
    type Error = NotAVersion;

    fn try_from(text: String) -> Result<Self, NotAVersion> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn three_parts_and_a_zero_hotfix_are_the_same_version() {
        assert_eq!(version("2.42.1"), version("2.42.1.0"));
        assert_eq!(version("2.42.1.0").to_string(), "2.42.1");
        assert_eq!(version("2.42.1").tag(), "2.42.1.0");
        assert_eq!(version("2.42.4.1").to_string(), "2.42.4.1");
        assert_eq!(version("2.42.4.1").line().to_string(), "2.42");
    }

    #[test]
    fn versions_are_ordered_by_number() {
        let ordered = ["2.41.9", "2.41.10", "2.42.0", "2.42.4", "2.42.4.1", "2.42.5", "2.100.0"].map(version);
        assert!(ordered.is_sorted());
        assert!(ordered.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "2",
            "2.42",
            "42.1.0",
            "2.42.1.0.0",
            "2.42.x",
            "2.42.-1",
            "2.42.+1",
            "2.042.1",
            "v2.42.1",
            "2.42.1-SNAPSHOT",
            "2.42.1 ",
            "2.99999.1",
        ] {
            assert_eq!(text.parse::<Version>(), Err(NotAVersion(text.to_owned())));
        }
    }

    #[test]
    fn the_schema_names_its_line() {
        assert_eq!(Line::of_schema("2.42.47"), Some(version("2.42.0").line()));
        assert_eq!(Line::of_schema("2.43"), Some(version("2.43.9").line()));
        assert_eq!(Line::of_schema("1"), None);
        assert!(Line::of_schema("2.42.47") < Line::of_schema("2.43.1"));
    }

    fn used(used: Option<&str>, schema: Option<&str>, asked: &str) -> Option<String> {
        newer(used.map(version), schema, version(asked))
    }

    #[test]
    fn only_forward() {
        assert_eq!(used(None, None, "2.42.1"), None);
        assert_eq!(used(Some("2.42.1"), Some("2.42.47"), "2.42.1"), None);
        assert_eq!(used(Some("2.42.1"), Some("2.42.47"), "2.43.0"), None);
        assert_eq!(used(Some("2.42.4.1"), Some("2.42.47"), "2.42.3"), Some("2.42.4.1".to_owned()));
        assert_eq!(used(Some("2.42.4.2"), Some("2.42.47"), "2.42.4"), None, "a hotfix that is taken back");
        // An imported database that this operator never started.
        assert_eq!(used(None, Some("2.43.12"), "2.42.5"), Some("2.43".to_owned()));
        assert_eq!(used(None, Some("2.42.99"), "2.42.1"), None);
    }
}
