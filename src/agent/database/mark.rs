//! The mark of a finished database volume: written last, so that a volume without it has never held a whole database of ours.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::agent::failure::Failure;
use crate::agent::paths::Paths;
use crate::agent::volume;
use crate::dhis2::version::Version;
use crate::layout;
use crate::report::Refusal;

/// What the mark says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// Version of this document.
    pub format: u32,
    /// Uid of the instance that the volume belongs to.
    pub instance: String,
    /// Its namespace and name when the volume was built, for people.
    pub name: String,
    /// Major version of PostgreSQL.
    pub postgresql: u32,
    /// PostgreSQL's own identifier of the data directory.
    pub system_identifier: String,
    /// When it was finished, RFC 3339.
    pub built_at: String,
    /// What it was built from.
    pub source: Source,
}

/// What a volume was built from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// Nothing: a new database.
    Empty,
    /// A backup set.
    Set(Box<Origin>),
    /// A dump that people brought.
    Dump(Box<Loaded>),
}

impl Source {
    /// What a volume of PostgreSQL `major` holds, for people.
    pub fn told(&self, major: u32) -> String {
        match self {
            Self::Empty => format!("the database of PostgreSQL {major}"),
            Self::Set(origin) => format!("a database of PostgreSQL {major} that was restored from set {}", origin.set),
            Self::Dump(loaded) => format!("a database of PostgreSQL {major} that was loaded from {}", loaded.dump),
        }
    }
}

/// The dump that a volume was built from, and what was found while it was: a later run tells the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Loaded {
    /// Its path on the claim that people brought it on.
    pub dump: String,
    /// The newest of DHIS2's migrations in it.
    pub schema: String,
    /// How long it took to load database and files, in seconds.
    pub seconds: u64,
    /// Size of the database in bytes.
    pub database_bytes: u64,
    /// Files beside it.
    pub files: u64,
    /// Their size in bytes.
    pub file_bytes: u64,
    /// Rows of `fileresource`.
    pub references: u64,
    /// Those of them whose file is not there.
    pub references_without_file: u64,
}

/// The set that a volume was built from, and what was found while it was: a later run tells the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// Its name.
    pub set: String,
    /// The moment of which it is, RFC 3339.
    pub created: String,
    /// The newest DHIS2 that its database was started with.
    pub dhis2: Version,
    /// How long it took to restore it, in seconds.
    pub seconds: u64,
    /// Size of the database in bytes.
    pub database_bytes: u64,
    /// Rows in it.
    pub rows: u64,
    /// Files beside it.
    pub files: u64,
    /// Their size in bytes.
    pub file_bytes: u64,
}

/// The form of the mark that this agent writes and reads.
pub const FORMAT: u32 = 1;

/// A volume that is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The mark could not be read.
    #[error("read the mark {0}: is the volume mounted?")]
    Read(PathBuf, #[source] io::Error),
    /// The mark makes no sense.
    #[error("understand the mark {0}: it was damaged, or written by a newer release; nothing is done with this volume")]
    Understand(PathBuf, #[source] serde_json::Error),
    /// A mark of a later form.
    #[error("understand the mark {0}: it has format {1}, this release knows {FORMAT}; use a newer release")]
    Newer(PathBuf, u32),
    /// No mark.
    #[error(
        "the volume at {0} has no mark of a finished build ({1}): nothing is initialised over it or served from it; if it is the right volume, look at it by hand, else give back the right one"
    )]
    Unmarked(PathBuf, String),
    /// Another instance's mark.
    #[error("the volume belongs to instance {owner} ({name}), not to {asked}; to take it over, set `adopt: true`")]
    Foreign {
        /// Whose it is.
        owner: String,
        /// Its name.
        name: String,
        /// Who asked.
        asked: String,
    },
    /// The mark without the data.
    #[error("the volume is marked as finished, but {0} is missing or incomplete: restore a backup, nothing is made again over it")]
    Damaged(PathBuf),
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Read(..) => None,
            Self::Unmarked(..) => Some(Refusal::VolumeUnmarked),
            Self::Foreign { .. } => Some(Refusal::VolumeForeign),
            Self::Understand(..) | Self::Newer(..) | Self::Damaged(_) => Some(Refusal::VolumeDamaged),
        }
    }
}

/// Reads the mark of the volume; `None` when it has none.
pub fn read(paths: &Paths) -> Result<Option<Mark>, Error> {
    let path = paths.of(layout::MARK);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::Read(path, error)),
    };
    let mark: Mark = serde_json::from_slice(&text).map_err(|error| Error::Understand(path.clone(), error))?;
    if mark.format > FORMAT { Err(Error::Newer(path, mark.format)) } else { Ok(Some(mark)) }
}

/// Writes the mark, durably.
pub fn write(paths: &Paths, mark: &Mark) -> Result<(), volume::Error> {
    let text = serde_json::to_string_pretty(mark).unwrap_or_default();
    volume::write(&paths.of(layout::MARK), text.as_bytes())
}

/// Writes the mark under another name, durably: it does not count until [`finish`].
pub fn prepare(paths: &Paths, mark: &Mark) -> Result<(), volume::Error> {
    let text = serde_json::to_string_pretty(mark).unwrap_or_default();
    volume::write(&prepared_path(paths), text.as_bytes())
}

/// The prepared mark, if it is of `instance`.
pub fn prepared(paths: &Paths, instance: &str) -> Option<Mark> {
    let mark: Mark = serde_json::from_slice(&std::fs::read(prepared_path(paths)).ok()?).ok()?;
    (mark.instance == instance && mark.format == FORMAT).then_some(mark)
}

/// Lets the mark count, and takes the prepared one away.
pub fn finish(paths: &Paths, mark: Mark) -> Result<Mark, volume::Error> {
    write(paths, &mark)?;
    let path = prepared_path(paths);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(volume::Error::Write(path, error)),
        _ => Ok(mark),
    }
}

fn prepared_path(paths: &Paths) -> PathBuf {
    paths.of(layout::MARK).with_extension("prepared.json")
}

/// The mark of a volume that `instance` may be served from.
pub fn finished(paths: &Paths, instance: &str) -> Result<Mark, Error> {
    let Some(mark) = read(paths)? else {
        return Err(unmarked(paths));
    };
    whole(paths, &mark)?;
    if mark.instance == instance { Ok(mark) } else { Err(foreign(mark, instance)) }
}

/// Whether the data directory that the mark speaks of is there.
pub fn whole(paths: &Paths, mark: &Mark) -> Result<(), Error> {
    let pgdata = paths.of(layout::PGDATA);
    let version = std::fs::read_to_string(pgdata.join("PG_VERSION")).unwrap_or_default();
    let control = pgdata.join("global/pg_control").is_file();
    if control && version.trim() == mark.postgresql.to_string() { Ok(()) } else { Err(Error::Damaged(pgdata)) }
}

/// The refusal of somebody else's volume.
pub fn foreign(mark: Mark, asked: &str) -> Error {
    Error::Foreign { owner: mark.instance, name: mark.name, asked: asked.to_owned() }
}

/// The refusal of a volume without mark.
pub fn unmarked(paths: &Paths) -> Error {
    let data = paths.of(layout::DATA);
    let held = held(&data);
    Error::Unmarked(data, held)
}

fn held(data: &Path) -> String {
    let entries = std::fs::read_dir(data).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.truncate(6);
    if names.is_empty() { "it is empty".to_owned() } else { format!("it holds {}", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn volume(mark: Option<&Mark>, version: Option<&str>) -> (tempfile::TempDir, Paths) {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        fs::create_dir_all(paths.of("/data/pgdata/global")).unwrap();
        fs::write(paths.of("/data/pgdata/global/pg_control"), "").unwrap();
        if let Some(version) = version {
            fs::write(paths.of("/data/pgdata/PG_VERSION"), format!("{version}\n")).unwrap();
        }
        if let Some(mark) = mark {
            write(&paths, mark).unwrap();
        }
        (root, paths)
    }

    fn mark() -> Mark {
        Mark {
            format: FORMAT,
            instance: "uid-1".to_owned(),
            name: "demo/play".to_owned(),
            postgresql: 17,
            system_identifier: "7000000000000000001".to_owned(),
            built_at: "2026-11-25T00:00:00Z".to_owned(),
            source: Source::Empty,
        }
    }

    fn refusal(mark: Option<&Mark>, version: Option<&str>, instance: &str) -> Option<Refusal> {
        let (_root, paths) = volume(mark, version);
        finished(&paths, instance).err().and_then(|error| error.reason())
    }

    #[test]
    fn only_the_own_finished_volume_is_served() {
        assert_eq!(refusal(Some(&mark()), Some("17"), "uid-1"), None);
        assert_eq!(refusal(Some(&mark()), Some("17"), "uid-2"), Some(Refusal::VolumeForeign));
        assert_eq!(refusal(None, Some("17"), "uid-1"), Some(Refusal::VolumeUnmarked));
        assert_eq!(refusal(Some(&mark()), None, "uid-1"), Some(Refusal::VolumeDamaged));
        assert_eq!(refusal(Some(&mark()), Some("16"), "uid-1"), Some(Refusal::VolumeDamaged));
        assert_eq!(refusal(Some(&Mark { format: 2, ..mark() }), Some("17"), "uid-1"), Some(Refusal::VolumeDamaged));
    }

    #[test]
    fn a_damaged_mark_is_not_taken_for_none() {
        let (_root, paths) = volume(None, Some("17"));
        fs::write(paths.of(layout::MARK), "{\"format\":1,").unwrap();
        assert!(matches!(read(&paths), Err(Error::Understand(..))));
    }

    #[test]
    fn the_refusal_says_what_the_volume_holds() {
        let (_root, paths) = volume(None, Some("17"));
        let message = unmarked(&paths).to_string();
        assert!(message.contains("it holds pgdata"), "{message}");
    }
}
