//! A dump, loaded into a new database as its owner.

use std::io::Write;
use std::process::Command;

use ::postgres::Client;

use super::dump::{Dump, Form};
use super::lines::Lines;
use super::migrations::Migrations;
use super::plain::{Line, Script};
use super::{Error, left_out};
use crate::agent::log::Log;
use crate::agent::postgres::private::Server;
use crate::agent::postgres::programs::Programs;
use crate::agent::program;
use crate::dhis2::version::{self, Version};
use crate::layout;

/// What of an archive is loaded.
const LIST: &str = "dhis2-import.list";
/// The table that tells the DHIS2 of a dump.
const MIGRATIONS: &str = "flyway_schema_history";
/// No statement of a dump but one with a quote that is never closed is so long, in bytes.
const LONGEST: usize = 512 << 20;
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
        let failed = |output: &std::process::Output| Error::archive(&dump.name, output);
        let run = |command: &mut Command| {
            let output = program::finish(command, None)?;
            if output.status.success() { Ok(output.stdout) } else { Err(failed(&output)) }
        };
        let list = run(self.programs.command("pg_restore").arg("--list").arg(&dump.place))?;
        // Known before hours of work.
        let rows = run(self.programs.command("pg_restore").args(["--data-only", "--table", MIGRATIONS, "--file=-"]).arg(&dump.place))?;
        let mut script = Script::new();
        rows.split(|byte| *byte == b'\n').try_for_each(|line| script.next(line).map(drop))?;
        self.is_not_newer(&script.migrations)?;
        let place = std::env::temp_dir().join(LIST);
        std::fs::write(&place, left_out::of_list(&String::from_utf8_lossy(&list))).map_err(|error| Error::Write(place.clone(), error))?;
        let mut command = self.connected("pg_restore");
        command.args(["--exit-on-error", "--no-owner", "--no-acl", "--no-tablespaces", "--no-security-labels"]);
        command.args(["--no-publications", "--no-subscriptions"]).arg(format!("--jobs={jobs}"));
        let loaded = run(command.arg("--use-list").arg(&place).arg(&dump.place)).map(drop);
        let _ = std::fs::remove_file(place);
        loaded
    }

    /// Statement by statement: no psql, which would run commands that a dump may hold.
    fn plain(&self, dump: &Dump) -> Result<(), Error> {
        let mut client = self.server.connect_as(self.owner, layout::DATABASE)?;
        let mut lines = Lines::of(dump, self.log)?;
        let (mut statement, mut begins) = (Vec::new(), 0);
        while let Some(line) = lines.next()? {
            if matches!(line, Line::Statement | Line::StatementEnd) {
                if statement.is_empty() {
                    begins = lines.number();
                }
                if statement.len() + lines.content.len() > LONGEST {
                    return Err(Error::Long(begins));
                }
                statement.extend_from_slice(&lines.content);
                statement.push(b'\n');
            }
            match line {
                Line::StatementEnd => {
                    let text = std::str::from_utf8(&statement).map_err(|_| Error::Encoding(begins))?;
                    client.batch_execute(text).map_err(|error| Error::statement(&dump.name, text, begins, &error))?;
                    statement.clear();
                }
                Line::Copy => self.rows(dump, &mut client, &mut lines)?,
                _ => {}
            }
        }
        lines.script.finish()
    }

    /// The rows of one table.
    fn rows(&self, dump: &Dump, client: &mut Client, lines: &mut Lines<'_>) -> Result<(), Error> {
        let begins = lines.number();
        let statement = std::str::from_utf8(&lines.content).map_err(|_| Error::Encoding(begins))?.to_owned();
        let failed = |error: &::postgres::Error| Error::statement(&dump.name, &statement, begins, error);
        let mut writer = client.copy_in(&statement).map_err(|error| failed(&error))?;
        while let Some(line) = lines.next()? {
            if line != Line::Row {
                break;
            }
            let written = writer.write_all(&lines.content).and_then(|()| writer.write_all(b"\n"));
            written.map_err(|error| match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(inner) => failed(inner),
                None => Error::Rows(begins, error),
            })?;
        }
        writer.finish().map_err(|error| failed(&error))?;
        self.is_not_newer(&lines.script.migrations)
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
