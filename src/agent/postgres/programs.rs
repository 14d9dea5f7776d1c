//! Finds PostgreSQL's programs in an image that others have made.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::agent::failure::Failure;
use crate::agent::program;
use crate::report::Refusal;

/// Where distributions put them: `/usr/lib/postgresql/17/bin` (Debian), `/usr/pgsql-17/bin` (PGDG on RHEL).
const ROOTS: [(&str, &str); 2] = [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")];

/// The programs of one PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    directory: PathBuf,
}

/// No such programs.
#[derive(Debug, thiserror::Error)]
#[error("find PostgreSQL {major} in the image: {}", found(.others))]
pub struct Error {
    major: u32,
    others: BTreeSet<u32>,
}

fn found(others: &BTreeSet<u32>) -> String {
    if others.is_empty() {
        return "there is no PostgreSQL at all (looked for `postgres` in PATH, by pg_config, in /usr/lib/postgresql/*/bin and /usr/pgsql-*/bin)".to_owned();
    }
    let list: Vec<String> = others.iter().map(u32::to_string).collect();
    format!("it has {}; use an image with the right major version", list.join(" and "))
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        Some(Refusal::PostgresVersionMismatch)
    }
}

impl Programs {
    /// The programs of major version `major`.
    pub fn find(major: u32) -> Result<Self, Error> {
        let mut others = BTreeSet::new();
        for directory in candidates() {
            match major_of(&directory) {
                Some(found) if found == major => return Ok(Self { directory }),
                Some(other) => _ = others.insert(other),
                None => {}
            }
        }
        Err(Error { major, others })
    }

    /// One of them, ready for arguments. It gets no environment but a path and the C locale: messages are read by people and by us.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.directory.join(name));
        command.env_clear().env("PATH", &self.directory).env("LC_ALL", "C").env("HOME", "/tmp");
        command
    }
}

fn candidates() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(output) = program::run(Command::new("pg_config").arg("--bindir")) {
        directories.insert(0, PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    for (root, prefix) in ROOTS {
        let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
        let versions = entries.filter(|entry| is_version(&entry.file_name().to_string_lossy(), prefix));
        directories.extend(versions.map(|entry| entry.path().join("bin")));
    }
    directories
}

fn is_version(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.parse::<u32>().is_ok())
}

/// The major version of the `postgres` in a directory; `initdb` lies beside it in every server package.
fn major_of(directory: &Path) -> Option<u32> {
    let postgres = directory.join("postgres");
    let complete = postgres.is_file() && directory.join("initdb").is_file();
    let output = complete.then(|| program::run(Command::new(postgres).arg("--version")))?.ok()?;
    major(&String::from_utf8_lossy(&output.stdout))
}

/// `postgres (PostgreSQL) 17.12 (Debian 17.12-0+deb13u1)` or `postgres (PostgreSQL) 18beta1`.
fn major(version: &str) -> Option<u32> {
    let number = version.split("(PostgreSQL) ").nth(1)?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read() {
        assert_eq!(major("postgres (PostgreSQL) 17.12 (Debian 17.12-0+deb13u1)\n"), Some(17));
        assert_eq!(major("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major("postgres: could not find itself"), None);
    }

    #[test]
    fn only_versioned_directories_count() {
        assert!(is_version("17", "") && is_version("pgsql-17", "pgsql-"));
        assert!(!is_version("pgsql-latest", "pgsql-") && !is_version("lib", ""));
    }

    #[test]
    fn the_error_says_what_there_is() {
        let none = Error { major: 17, others: BTreeSet::new() };
        assert!(none.to_string().starts_with("find PostgreSQL 17 in the image: there is no PostgreSQL at all"));
        let others = Error { major: 17, others: [15, 16].into() };
        assert_eq!(others.to_string(), "find PostgreSQL 17 in the image: it has 15 and 16; use an image with the right major version");
    }
}
