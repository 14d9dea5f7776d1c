//! A set, restored on scratch space and compared with its manifest.

use std::fs;
use std::io;
use std::path::Path;

use super::scratch::Scratch;
use super::{Error, compare};
use crate::agent::database::create;
use crate::agent::database::roles::Credentials;
use crate::agent::digest::KeyDigest;
use crate::agent::log::Log;
use crate::agent::postgres::private::Server;
use crate::agent::postgres::programs::Programs;
use crate::agent::secret;
use crate::agent::sets::manifest::Manifest;
use crate::agent::sets::moment::Moment;
use crate::agent::sets::restic::{Repository, Snapshot};
use crate::layout;

/// What PostgreSQL writes beside the data: its own catalogues, and the log of a restore (`max_wal_size` of the private server).
const OVERHEAD: u64 = 320 << 20;

/// What is needed to restore a set.
pub struct Restore<'a> {
    /// Where it is.
    pub repository: &'a Repository,
    /// All that is there.
    pub snapshots: &'a [Snapshot],
    /// What it should be.
    pub manifest: &'a Manifest,
    /// Where it is restored.
    pub scratch: &'a Scratch,
    /// What is told.
    pub log: Log,
}

impl Restore<'_> {
    /// Restores database and files and compares both. Returns how many bytes were restored.
    pub fn all(&self) -> Result<u64, Error> {
        self.is_whole()?;
        self.has_its_key()?;
        self.fits()?;
        self.database()?;
        self.files()?;
        Ok(self.manifest.dump.bytes + self.manifest.files.bytes)
    }

    fn incomplete(&self, lacks: impl Into<String>) -> Error {
        Error::Incomplete { set: self.manifest.set.clone(), lacks: lacks.into() }
    }

    fn snapshot(&self, id: &str, what: &str) -> Result<&Snapshot, Error> {
        let found = self.snapshots.iter().find(|snapshot| snapshot.id == id);
        found.ok_or_else(|| self.incomplete(format!("the snapshot of its {what} is not in the repository")))
    }

    fn is_whole(&self) -> Result<(), Error> {
        self.snapshot(&self.manifest.dump.snapshot, "database")?;
        self.snapshot(&self.manifest.files.after, "files")?;
        if !self.manifest.files.complete {
            return Err(self.incomplete("some files could not be read when it was made"));
        }
        Ok(())
    }

    fn secret(&self, name: &str) -> Result<&str, Error> {
        let found = self.manifest.secrets.get(name);
        found.map(String::as_str).ok_or_else(|| self.incomplete(format!("its manifest does not hold the Secret's value {name}")))
    }

    /// One key recovers everything: the encryption key has to be in the set, and be the right one.
    fn has_its_key(&self) -> Result<(), Error> {
        let recorded = &self.manifest.encryption_key;
        let digest = KeyDigest { salt: recorded.salt.clone(), digest: recorded.digest.clone() };
        let key = self.manifest.secrets.get("encryption/password").map(|key| secret::Value::new(key.as_str()));
        if digest.fits(key.as_ref()) { Ok(()) } else { Err(Error::Key(self.manifest.set.clone())) }
    }

    /// Known before hours of work: does it fit?
    fn fits(&self) -> Result<(), Error> {
        let database = &self.manifest.postgresql;
        let needed = database.dumped_bytes.unwrap_or(database.bytes) + self.manifest.files.bytes + OVERHEAD;
        let free = self.scratch.free()?;
        if free < needed { Err(Error::TooSmall { free, needed }) } else { Ok(()) }
    }

    fn database(&self) -> Result<(), Error> {
        let owner = self.secret("database/username")?;
        let credentials = Credentials::of(owner, self.secret("database/password")?, self.secret("database/backup-password")?);
        let version = &self.manifest.postgresql.version;
        let major = version.split('.').next().and_then(|major| major.parse().ok());
        let major = major.ok_or_else(|| self.incomplete(format!("its manifest names no version of PostgreSQL: {version}")))?;
        let programs = Programs::find(major)?;
        let server = create::begin(&programs, &self.scratch.pgdata, &credentials, self.log)?;
        // Most of them only a superuser can make, and the dump is restored as the owner.
        let extensions = self.manifest.postgresql.extensions.keys().map(String::as_str);
        create::extensions(&mut server.connect(layout::DATABASE)?, extensions)?;
        self.log.info("restoring the database");
        let path = format!("/{}", crate::agent::sets::manifest::DUMP);
        let dump = &self.manifest.dump.snapshot;
        let read = self
            .repository
            .pipe("restore the database", |restic| _ = restic.args(["dump", dump, &path]), pg_restore(&programs, &server, owner))
            .map_err(Error::damaged)?;
        if !read.status.success() {
            return Err(Error::restoring(&read.stderr));
        }
        self.log.info("comparing the database");
        self.compare(&server)?;
        server.stop()?;
        Ok(())
    }

    fn compare(&self, server: &Server) -> Result<(), Error> {
        let mut moment = Moment::begin(server.connect(layout::DATABASE)?).map_err(Error::Read)?;
        // Also what is not in the dump: it has to be there, and empty.
        let found = moment.contents(&[]).map_err(Error::Read)?;
        let schema = moment.schema().map_err(Error::Read)?;
        let mut differences = compare::contents(&self.manifest.contents, &found);
        if schema != self.manifest.dhis2.schema {
            differences
                .insert(0, format!("DHIS2's schema is {}, not {}", named(schema.as_ref()), named(self.manifest.dhis2.schema.as_ref())));
        }
        self.agrees(&differences)
    }

    fn files(&self) -> Result<(), Error> {
        self.log.info("restoring the files");
        let files = &self.manifest.files;
        let [path] = self.snapshot(&files.after, "files")?.paths.as_slice() else {
            return Err(self.incomplete("the snapshot of its files is not one of one directory"));
        };
        let source = format!("{}:{path}", files.after);
        let target = &self.scratch.files;
        let arguments = |restic: &mut std::process::Command| _ = restic.args(["restore", &source, "--target"]).arg(target);
        self.repository.output("restore the files", arguments).map_err(Error::writing)?;
        let failed = |error| Error::Scratch(target.clone(), error);
        let (count, bytes) = if target.exists() { measure(target).map_err(failed)? } else { (0, 0) };
        let mut differences = Vec::new();
        if (count, bytes) != (files.count, files.bytes) {
            differences.push(format!("{count} files of {bytes} bytes instead of {} of {}", files.count, files.bytes));
        }
        self.agrees(&differences)
    }

    fn agrees(&self, differences: &[String]) -> Result<(), Error> {
        if differences.is_empty() {
            return Ok(());
        }
        Err(Error::Differs { set: self.manifest.set.clone(), differences: compare::told(differences) })
    }
}

fn named(schema: Option<&String>) -> &str {
    schema.map_or("none", String::as_str)
}

/// As the owner, as whoever restores the instance will have to.
fn pg_restore(programs: &Programs, server: &Server, owner: &str) -> std::process::Command {
    let mut command = programs.command("pg_restore");
    command.args(["--exit-on-error", "--no-owner", "--no-acl", "--no-password"]);
    command.arg(format!("--host={}", server.host().display())).arg(format!("--username={owner}"));
    command.arg(format!("--dbname={}", layout::DATABASE));
    command
}

/// Files below a directory, and their size in bytes.
fn measure(directory: &Path) -> io::Result<(u64, u64)> {
    let (mut count, mut bytes) = (0, 0);
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            let (more, size) = measure(&entry.path())?;
            (count, bytes) = (count + more, bytes + size);
        } else {
            count += 1;
            bytes += if kind.is_file() { entry.metadata()?.len() } else { 0 };
        }
    }
    Ok((count, bytes))
}
