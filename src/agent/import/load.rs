//! A dump, loaded into a new database as its owner.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use super::dump::{Dump, Form};
use super::migrations::Migrations;
use super::plain::{Fate, Filter};
use super::{Error, left_out};
use crate::agent::log::Log;
use crate::agent::postgres::private::Server;
use crate::agent::postgres::programs::Programs;
use crate::agent::program;
use crate::dhis2::version::{self, Version};
use crate::layout;

/// How often is said how far it is.
const TELL: Duration = Duration::from_mins(1);
/// What of an archive is loaded.
const LIST: &str = "dhis2-import.list";
/// The table that tells the DHIS2 of a dump.
const MIGRATIONS: &str = "flyway_schema_history";
/// Processes that load an archive: indexes take most of the time.
const JOBS: u8 = 2;

/// What loads a dump.
pub struct Loader<'a> {
    /// PostgreSQL.
    pub programs: &'a Programs,
    /// The private server.
    pub server: &'a Server,
    /// The owner of the database.
    pub owner: &'a str,
    /// The DHIS2 that is to start on it.
    pub version: Version,
    /// What is told.
    pub log: Log,
}

impl Loader<'_> {
    /// Loads it, or says in which line it could not be.
    pub fn load(&self, dump: &Dump) -> Result<(), Error> {
        match dump.form {
            Form::Archive => self.archive(dump, JOBS),
            Form::Tar => self.archive(dump, 1),
            Form::Plain | Form::PlainGzip => self.plain(dump),
        }
    }

    fn connected(&self, program: &str) -> Command {
        let mut command = self.programs.command(program);
        command.arg("--no-password").arg(format!("--host={}", self.server.host().display()));
        command.arg(format!("--username={}", self.owner)).arg(format!("--dbname={}", layout::DATABASE));
        command
    }

    fn archive(&self, dump: &Dump, jobs: u8) -> Result<(), Error> {
        let failed = |output: &std::process::Output| Error::archive(&dump.name, &output.stderr);
        let run = |command: &mut Command| {
            let output = program::finish(command, None)?;
            if output.status.success() { Ok(output.stdout) } else { Err(failed(&output)) }
        };
        let list = run(self.programs.command("pg_restore").arg("--list").arg(&dump.place))?;
        // Known before hours of work.
        let rows = run(self.programs.command("pg_restore").args(["--data-only", "--table", MIGRATIONS, "--file=-"]).arg(&dump.place))?;
        let mut filter = Filter::new();
        rows.split(|byte| *byte == b'\n').try_for_each(|line| filter.next(line).map(drop))?;
        self.is_not_newer(&filter.migrations)?;
        let place = std::env::temp_dir().join(LIST);
        std::fs::write(&place, left_out::of_list(&String::from_utf8_lossy(&list))).map_err(|error| Error::Write(place.clone(), error))?;
        let mut command = self.connected("pg_restore");
        command.args(["--exit-on-error", "--no-owner", "--no-acl", "--no-tablespaces", "--no-security-labels"]);
        command.args(["--no-publications", "--no-subscriptions"]).arg(format!("--jobs={jobs}"));
        let loaded = run(command.arg("--use-list").arg(&place).arg(&dump.place)).map(drop);
        let _ = std::fs::remove_file(place);
        loaded
    }

    fn plain(&self, dump: &Dump) -> Result<(), Error> {
        let mut command = self.connected("psql");
        command.args(["--no-psqlrc", "--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1", "--file=-"]);
        let source = dump.text()?;
        let (output, written) = program::feed(&mut command, |sink| self.pass_on(dump, source, sink))?;
        // A psql that ended tells why better than whoever found it gone.
        if !output.status.success() && !matches!(written, Err(Passing::Refused(_))) {
            return Err(Error::line(&dump.name, &output.stderr));
        }
        match written {
            Ok(()) => Ok(()),
            Err(Passing::Refused(error)) => Err(error),
            Err(Passing::Gone(error)) => Err(Error::unreadable(&dump.name, error)),
        }
    }

    /// Gives `psql` line by line what it is to run.
    fn pass_on(&self, dump: &Dump, source: impl Read, sink: &mut dyn Write) -> Result<(), Passing> {
        let (mut source, mut sink) = (BufReader::with_capacity(1 << 20, source), BufWriter::with_capacity(1 << 20, sink));
        let (mut filter, mut told, mut bytes, mut line) = (Filter::new(), Instant::now(), 0, Vec::new());
        loop {
            line.clear();
            let read = source.read_until(b'\n', &mut line).map_err(|error| Error::reading(&dump.name, filter.line() + 1, error))?;
            if read == 0 {
                break;
            }
            bytes += read;
            let ends = line.iter().rev().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
            let (content, end) = line.split_at(line.len() - ends);
            if filter.next(content)? == Fate::Pass {
                sink.write_all(content).map_err(Passing::Gone)?;
            }
            if content == b"\\." {
                self.is_not_newer(&filter.migrations)?;
            }
            sink.write_all(end).map_err(Passing::Gone)?;
            if told.elapsed() > TELL {
                told = Instant::now();
                self.log.info(&format!("line {}, {} MiB of SQL", filter.line(), bytes >> 20));
            }
        }
        filter.finish()?;
        sink.flush().map_err(Passing::Gone)
    }

    fn is_not_newer(&self, migrations: &Migrations) -> Result<(), Error> {
        is_not_newer(migrations.newest().as_deref(), self.version)
    }
}

/// DHIS2 can't go back: its line must not be below that of the dump.
pub fn is_not_newer(schema: Option<&str>, asked: Version) -> Result<(), Error> {
    match version::newer(None, schema, asked) {
        Some(used) => Err(Error::Downgrade { used, asked }),
        None => Ok(()),
    }
}

/// Why lines are not passed on any more.
enum Passing {
    /// The dump is refused.
    Refused(Error),
    /// Nobody reads them.
    Gone(io::Error),
}

impl From<Error> for Passing {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}
