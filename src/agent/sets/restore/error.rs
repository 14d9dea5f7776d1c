//! What can be found out about a set, but that it is as it should be.

use std::io;
use std::path::PathBuf;

use jiff::Timestamp;

use super::Volume;
use crate::agent::database::create;
use crate::agent::failure::Failure;
use crate::agent::postgres::private;
use crate::agent::sets::{manifest, restic};
use crate::agent::{program, volume};
use crate::report::Refusal;

/// A set that is not restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository can't be used.
    #[error(transparent)]
    Repository(#[from] restic::Error),
    /// The manifest can't be used.
    #[error(transparent)]
    Manifest(manifest::Error),
    /// The repository does not give back what was written to it.
    #[error(
        "the repository is damaged: what was written to it can't be read; older sets may be whole: restore one of them, and look at what the volume is stored on"
    )]
    Damaged(#[source] restic::Error),
    /// There is none.
    #[error("the repository has no set{}", .0.as_ref().map(|set| format!(" {set}")).unwrap_or_default())]
    NoSet(Option<String>),
    /// Which set is the newest is not certain.
    #[error(
        "set {set} is of {time:.0}, which is to come: the clock of a node was or is wrong, and which set is the newest is not certain; correct it, name the set that is wanted, and remove this one if it is not needed: by deletionPolicy Delete of its Dhis2Backup"
    )]
    Future {
        /// The set.
        set: String,
        /// Its time.
        time: Timestamp,
    },
    /// A part is missing.
    #[error("set {set} is not whole: {lacks}")]
    Incomplete {
        /// The set.
        set: String,
        /// What it lacks.
        lacks: String,
    },
    /// The key in it is another one.
    #[error(
        "set {0} holds another encryption key than the one that its database was written with: what DHIS2 encrypted can't be read after a restore; put the original Secret back"
    )]
    Key(String),
    /// The volume is too small.
    #[error("{} has {} MiB free, {} are needed: raise {}", .volume.name, .free >> 20, .needed.div_ceil(1 << 20), .volume.field)]
    TooSmall {
        /// The volume.
        volume: Volume,
        /// What is free, in bytes.
        free: u64,
        /// What is needed, in bytes.
        needed: u64,
    },
    /// The volume is full, though it had seemed large enough.
    #[error("{} is full: raise {}: {said}", .volume.name, .volume.field)]
    Full {
        /// The volume.
        volume: Volume,
        /// What was said.
        said: String,
    },
    /// The directory can't be used.
    #[error("use the directory {0}")]
    Directory(PathBuf, #[source] io::Error),
    /// The volume can't be measured.
    #[error(transparent)]
    Volume(#[from] volume::Error),
    /// No database to restore to.
    #[error(transparent)]
    Create(#[from] create::Error),
    /// The private server does not work.
    #[error(transparent)]
    Private(#[from] private::Error),
    /// PostgreSQL does not take the dump.
    #[error("PostgreSQL does not take the dump: pg_restore said: {0}")]
    Restore(String),
    /// The restored database can't be read.
    #[error("read from the restored database")]
    Read(#[source] ::postgres::Error),
    /// Something else was restored than was backed up.
    #[error("what was restored is not what the manifest of set {set} says: {differences}")]
    Differs {
        /// The set.
        set: String,
        /// What differs.
        differences: String,
    },
}

impl Error {
    /// A failure to read what the repository should hold.
    pub fn damaged(error: restic::Error) -> Self {
        if error.is_of_what_is_there() { Self::Damaged(error) } else { Self::Repository(error) }
    }

    /// A failure to read a manifest.
    pub fn manifest(error: manifest::Error) -> Self {
        match error {
            manifest::Error::Restic(error) => Self::damaged(error),
            error => Self::Manifest(error),
        }
    }

    /// A failure to write what is restored to this volume.
    pub fn writing(volume: &Volume, error: restic::Error) -> Self {
        match error {
            restic::Error::Full(_, said) | restic::Error::NoRoom(_, said) => Self::Full { volume: volume.clone(), said },
            error => Self::damaged(error),
        }
    }

    /// A failure of `pg_restore`.
    pub fn restoring(said: &[u8]) -> Self {
        Self::Restore(error_of(&String::from_utf8_lossy(said)))
    }
}

/// The error that `pg_restore` ended with, and the statement. Details and context may repeat rows, which belong into no log.
pub fn error_of(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    let error = lines.iter().position(|line| line.contains("error:"));
    let statement = lines.iter().find(|line| line.starts_with("Command was:"));
    let Some(error) = error.and_then(|at| lines.get(at)) else { return program::last_lines(said) };
    [Some(error), statement].into_iter().flatten().copied().collect::<Vec<_>>().join(" | ")
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Repository(error) => error.reason(),
            Self::Manifest(error) => error.reason().or(Some(Refusal::RepositoryDamaged)),
            Self::Damaged(_) => Some(Refusal::RepositoryDamaged),
            Self::NoSet(Some(_)) => Some(Refusal::SetUnknown),
            Self::Incomplete { .. } => Some(Refusal::SetIncomplete),
            Self::Key(_) => Some(Refusal::EncryptionKeyMismatch),
            Self::TooSmall { volume, .. } | Self::Full { volume, .. } => Some(volume.refusal),
            Self::Create(error) => error.reason(),
            Self::Restore(_) => Some(Refusal::RestoreFailed),
            Self::Differs { .. } => Some(Refusal::ContentsDiffer),
            Self::NoSet(None) | Self::Future { .. } | Self::Directory(..) | Self::Volume(_) | Self::Private(_) | Self::Read(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_pg_restore_says_the_error_and_the_statement_are_told_and_no_row() {
        let said = "pg_restore: while PROCESSING TOC:\npg_restore: from TOC entry 7; 0 16 TABLE DATA userinfo dhis\n\
                    pg_restore: error: COPY failed for table \"userinfo\": ERROR:  duplicate key value\n\
                    DETAIL:  Key (username)=(mary) already exists.\nCONTEXT:  COPY userinfo, line 3\nCommand was: COPY public.userinfo FROM stdin;";
        let told = error_of(said);
        assert_eq!(
            told,
            "pg_restore: error: COPY failed for table \"userinfo\": ERROR:  duplicate key value | Command was: COPY public.userinfo FROM stdin;"
        );
        assert_eq!(error_of("Killed\n"), "Killed");
    }
}
