//! Why a dump is not loaded.

use std::io;
use std::path::PathBuf;
use std::process::Output;

use ::postgres::error::ErrorPosition;

use super::advice;
use crate::agent::database::{create, finish, mark};
use crate::agent::failure::Failure;
use crate::agent::postgres::{private, programs};
use crate::agent::sets::restore;
use crate::agent::{program, secret, store, volume};
use crate::dhis2::version::Version;
use crate::report::Refusal;

/// An import that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing under this name.
    #[error("the claim has no {name}: there is {holds}; the paths of spec.bootstrap.fromDump begin at the root of the volume")]
    NotFound {
        /// As it was asked for.
        name: String,
        /// What is there instead.
        holds: String,
    },
    /// It leads to another volume.
    #[error("{0} is a link that leads out of the claim: put the file itself there")]
    Outside(String),
    /// It can't be read.
    #[error("read {0} on the claim: let user 999 or group 65534 read it (chmod -R a+rX)")]
    Unreadable(String, #[source] io::Error),
    /// What holds it does not give it back.
    #[error("read {name}: {} it ends in the middle or is damaged: copy it again, and compare its sum", .line.map(|line| format!("at line {line}")).unwrap_or_default())]
    Damaged {
        /// The dump.
        name: String,
        /// The line that was read, where it has lines.
        line: Option<u64>,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No dump, or none of a kind that is known.
    #[error("{name} can't be loaded: {told}")]
    Form {
        /// The file.
        name: String,
        /// Why.
        told: &'static str,
    },
    /// It ends before its end.
    #[error(
        "the dump ends with line {0}, without the last words of pg_dump, `PostgreSQL database dump complete`: it was cut off, and what it lacks would be missed by nobody; make or copy it again"
    )]
    CutOff(u64),
    /// A command of psql, which could do anything.
    #[error(
        "line {line} of the dump is a command of psql, {said}, which is not run: make the dump with pg_dump of the one database, without --create"
    )]
    Command {
        /// The line.
        line: u64,
        /// The command.
        said: String,
    },
    /// PostgreSQL does not take a line.
    #[error("PostgreSQL does not take {name}: {said}")]
    Load {
        /// The dump.
        name: String,
        /// The line, and what was wrong with it.
        said: String,
    },
    /// PostgreSQL or its program went away, which says nothing of the dump.
    #[error("loading {name} was interrupted, and begins anew: {said}")]
    Interrupted {
        /// The dump.
        name: String,
        /// What was said.
        said: String,
    },
    /// Something in it has no end.
    #[error("the statement that begins in line {0} of the dump has no end: a quote is not closed")]
    Long(u64),
    /// It is in another encoding.
    #[error("the statement that begins in line {0} of the dump is not UTF-8: make the dump with pg_dump --encoding=UTF8")]
    Encoding(u64),
    /// The rows of a table can't be passed on.
    #[error("load the rows that begin in line {0} of the dump")]
    Rows(u64, #[source] io::Error),
    /// It was refused before, and is the same.
    #[error("{0} (nothing is tried again until the dump or its name changes)")]
    Unchanged(String),
    /// It is no database of DHIS2.
    #[error(
        "{0} holds no database of DHIS2: after it was loaded there is no list of migrations (flyway_schema_history) in schema public; a DHIS2 before 2.31 has none: upgrade the old server first"
    )]
    NotDhis2(String),
    /// It is of a newer DHIS2.
    #[error("the dump is of DHIS2 {used}, the instance has {asked}: DHIS2 can't go back; set spec.version to a release of {used} or later")]
    Downgrade {
        /// What has used it.
        used: String,
        /// What the instance has.
        asked: Version,
    },
    /// The path of the files is none of a directory.
    #[error("{0} is no directory: spec.bootstrap.fromDump.filesPath is that of DHIS2's file store, the directory `files` of its home")]
    NoDirectory(String),
    /// It is DHIS2's home, with its configuration and passwords.
    #[error(
        "{0} holds dhis.conf: it is DHIS2's home; name its file store, the directory `files` in it, in spec.bootstrap.fromDump.filesPath"
    )]
    Home(String),
    /// A file can't be copied.
    #[error("copy {0} from the claim")]
    Copy(String, #[source] io::Error),
    /// Somebody works on the files.
    #[error("{0} has changed while it was copied: stop what writes to it")]
    Moving(String),
    /// The volume holds something else.
    #[error(
        "the database volume holds {found} of instance {owner} ({name}), and is left as it is; {asked} was to be loaded to it for instance {instance}: take spec.bootstrap away to go on with what is there, or give new volumes"
    )]
    Taken {
        /// What it holds.
        found: String,
        /// Whose it is.
        owner: String,
        /// Its name.
        name: String,
        /// What was asked for.
        asked: String,
        /// For whom.
        instance: String,
    },
    /// A volume is too small.
    #[error(transparent)]
    Place(#[from] restore::Error),
    /// A volume can't be used.
    #[error(transparent)]
    Volume(#[from] volume::Error),
    /// The volume of the files is not a new one, or can't be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A Secret can't be used.
    #[error(transparent)]
    Secret(#[from] secret::Error),
    /// No PostgreSQL.
    #[error(transparent)]
    Programs(#[from] programs::Error),
    /// A program did not run.
    #[error(transparent)]
    Program(#[from] program::Error),
    /// The database could not be made.
    #[error(transparent)]
    Create(#[from] create::Error),
    /// The private server does not work.
    #[error(transparent)]
    Private(#[from] private::Error),
    /// The volume's mark says something else, or nothing that is understood.
    #[error(transparent)]
    Mark(#[from] mark::Error),
    /// It could not be brought to its end.
    #[error(transparent)]
    Finish(#[from] finish::Error),
    /// A file of our own can't be written.
    #[error("write {0}")]
    Write(PathBuf, #[source] io::Error),
    /// What was loaded can't be read or completed.
    #[error("complete the loaded database: {0}")]
    Sql(&'static str, #[source] ::postgres::Error),
}

impl Error {
    /// A failure to open or read a file of the source.
    pub fn unreadable(name: &str, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Unreadable(name.to_owned(), error),
            _ => Self::Damaged { name: name.to_owned(), line: None, source: error },
        }
    }

    /// A failure to read on.
    pub fn reading(name: &str, line: u64, error: io::Error) -> Self {
        Self::Damaged { name: name.to_owned(), line: Some(line), source: error }
    }

    /// A file that is no dump.
    pub fn form(name: &str, told: &'static str) -> Self {
        Self::Form { name: name.to_owned(), told }
    }

    /// What PostgreSQL said to a statement that begins in this line.
    pub fn statement(name: &str, statement: &str, begins: u64, error: &::postgres::Error) -> Self {
        let (name, told) = (name.to_owned(), said(statement, begins, error));
        let lasting = error.code().is_some_and(|code| PASSING.iter().all(|class| !code.code().starts_with(class)));
        if lasting { Self::Load { name, said: advice::with(&told) } } else { Self::Interrupted { name, said: told } }
    }

    /// What `pg_restore` said.
    pub fn archive(name: &str, output: &Output) -> Self {
        let said = String::from_utf8_lossy(&output.stderr);
        let passing = output.status.code().is_none() || GONE.iter().any(|words| said.contains(words));
        let (name, said) = (name.to_owned(), restore::error_of(&said));
        if passing { Self::Interrupted { name, said } } else { Self::Load { name, said: advice::with(&said) } }
    }

    /// Is the dump the reason, so that it would not be taken the next time either?
    pub fn is_of_the_dump(&self) -> bool {
        matches!(self, Self::CutOff(_) | Self::Command { .. } | Self::Load { .. } | Self::Long(_) | Self::Encoding(_) | Self::NotDhis2(_))
    }
}

/// Classes of errors that another try may not meet: no resources, an operator's doing, the system's, PostgreSQL's own
/// (PostgreSQL's documentation, appendix A).
const PASSING: [&str; 4] = ["53", "57", "58", "XX"];
/// What `pg_restore` says when it is told to end, or has lost its server.
const GONE: [&str; 4] = ["terminated by user", "server closed the connection", "connection to server", "terminating connection"];

/// The error and its line. Details and contexts may repeat rows, which belong into no log: of a context stays where it is.
fn said(statement: &str, begins: u64, error: &::postgres::Error) -> String {
    let Some(error) = error.as_db_error() else { return format!("line {begins}: {error}") };
    let at = match error.position() {
        Some(ErrorPosition::Original(position)) => usize::try_from(*position).unwrap_or_default().saturating_sub(1),
        _ => 0,
    };
    let before = statement.chars().take(at).filter(|character| *character == '\n').count();
    let line = begins + u64::try_from(before).unwrap_or_default();
    let place = error.where_().and_then(|context| context.lines().next()).map(|context| context.split(": ").next().unwrap_or_default());
    match place {
        Some(place) => format!("line {line}: {} ({place})", error.message()),
        None => format!("line {line}: {}", error.message()),
    }
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Place(error) => error.reason(),
            Self::Store(error) => error.reason(),
            Self::Programs(error) => error.reason(),
            Self::Create(error) => error.reason(),
            Self::Mark(error) => error.reason(),
            Self::Finish(error) => error.reason(),
            Self::Taken { .. } => Some(Refusal::VolumeForeign),
            Self::Downgrade { .. } => Some(Refusal::DowngradeRefused),
            Self::NotFound { .. }
            | Self::Outside(_)
            | Self::Unreadable(..)
            | Self::Damaged { .. }
            | Self::Form { .. }
            | Self::CutOff(_)
            | Self::Command { .. }
            | Self::Load { .. }
            | Self::Long(_)
            | Self::Encoding(_)
            | Self::Unchanged(_)
            | Self::NotDhis2(_)
            | Self::NoDirectory(_)
            | Self::Home(_)
            | Self::Moving(_) => Some(Refusal::ImportFailed),
            Self::Copy(..)
            | Self::Rows(..)
            | Self::Interrupted { .. }
            | Self::Volume(_)
            | Self::Secret(_)
            | Self::Program(_)
            | Self::Private(_)
            | Self::Write(..)
            | Self::Sql(..) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    #[test]
    fn a_program_that_was_ended_says_nothing_of_the_dump() {
        let refused = |status: i32, said: &str| {
            let output = Output { status: ExitStatus::from_raw(status), stdout: Vec::new(), stderr: said.as_bytes().to_vec() };
            Error::archive("a.dump", &output).is_of_the_dump()
        };
        assert!(refused(1 << 8, "pg_restore: error: could not execute query: ERROR:  type \"x\" does not exist\n"));
        assert!(!refused(1 << 8, "pg_restore: terminated by user\n"));
        assert!(!refused(1 << 8, "pg_restore: error: could not execute query: server closed the connection unexpectedly\n"));
        assert!(!refused(15, ""));
    }
}
