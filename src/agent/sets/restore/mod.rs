//! A set, restored with a private PostgreSQL and compared with its manifest.

mod compare;
mod error;
mod place;
mod progress;

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;

use crate::agent::database::create;
use crate::agent::database::roles::Credentials;
use crate::agent::digest::KeyDigest;
use crate::agent::log::Log;
use crate::agent::postgres::private::Server;
use crate::agent::postgres::programs::Programs;
use crate::agent::secret;
use crate::agent::sets::manifest::{self, Manifest};
use crate::agent::sets::moment;
use crate::agent::sets::restic::{Repository, Snapshot};
use crate::layout;
pub use error::{Error, error_of};
pub use place::{Place, Volume};
use progress::Progress;

/// What PostgreSQL writes beside the data: its own catalogues, and the log of a restore (`max_wal_size` of the private server).
const OVERHEAD: u64 = 320 << 20;

/// What the root of a volume of files may hold beside DHIS2's files: a file system's own directory, which is closed to us, and ours.
pub const NOT_FILES: [&str; 2] = ["lost+found", layout::FILES_RESTORING];

/// The manifest's snapshot of the set that is asked for, or of the newest. Which one that is only the clocks of nodes tell: where one of
/// them was wrong nobody but a person knows.
pub fn find<'a>(snapshots: &'a [Snapshot], set: Option<&str>, now: Timestamp) -> Result<&'a Snapshot, Error> {
    let manifests = snapshots.iter().filter(|snapshot| snapshot.is_manifest());
    let asked = manifests.filter(|manifest| set.is_none() || manifest.set() == set);
    let newest = asked.max_by_key(|manifest| manifest.time).ok_or_else(|| Error::NoSet(set.map(str::to_owned)))?;
    let is_only_one = || snapshots.iter().filter(|snapshot| snapshot.is_manifest()).count() == 1;
    if set.is_none() && newest.is_to_come(now) && !is_only_one() {
        return Err(Error::Future { set: newest.set().unwrap_or_default().to_owned(), time: newest.time });
    }
    Ok(newest)
}

/// What is needed to restore a set.
pub struct Restore<'a> {
    /// Where it is.
    pub repository: &'a Repository,
    /// All that is there.
    pub snapshots: &'a [Snapshot],
    /// What it should be.
    pub manifest: &'a Manifest,
    /// Where its database is restored, in a directory that does not exist yet.
    pub database: &'a Place,
    /// Where its files are restored.
    pub files: &'a Place,
    /// Are those missed that could not be read when it was made?
    pub all_files: bool,
    /// What is told.
    pub log: Log,
}

impl Restore<'_> {
    /// Known before hours of work: whether all of it is there, with the key that it was written with.
    pub fn check(&self) -> Result<(), Error> {
        self.is_whole()?;
        self.has_its_key()
    }

    /// What the database takes, in bytes.
    pub fn database_bytes(&self) -> u64 {
        let database = &self.manifest.postgresql;
        database.dumped_bytes.unwrap_or(database.bytes).saturating_add(OVERHEAD)
    }

    /// The major version of the PostgreSQL that the dump was made with.
    pub fn major(&self) -> Result<u32, Error> {
        let version = &self.manifest.postgresql.version;
        let major = version.split('.').next().and_then(|major| major.parse().ok());
        major.ok_or_else(|| self.incomplete(format!("its manifest names no version of PostgreSQL: {version}")))
    }

    /// The credentials that the instance had.
    pub fn credentials(&self) -> Result<Credentials, Error> {
        let owner = self.secret("database/username")?;
        Ok(Credentials::of(owner, self.secret("database/password")?, self.secret("database/backup-password")?))
    }

    fn incomplete(&self, lacks: impl Into<String>) -> Error {
        Error::Incomplete { set: self.manifest.set.clone(), lacks: lacks.into() }
    }

    fn snapshot(&self, id: &str, what: &str) -> Result<&Snapshot, Error> {
        let found = self.snapshots.iter().find(|snapshot| snapshot.is_named(id));
        found.ok_or_else(|| self.incomplete(format!("the snapshot of its {what} is not in the repository")))
    }

    fn is_whole(&self) -> Result<(), Error> {
        self.snapshot(&self.manifest.dump.snapshot, "database")?;
        self.snapshot(&self.manifest.files.after, "files")?;
        if self.all_files && !self.manifest.files.complete {
            let why =
                "some files could not be read when it was made; a restore takes it without them where it says unreadableFiles: LeaveOut";
            return Err(self.incomplete(why));
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

    /// Restores the database and compares it. The server runs on; nothing is on disk for sure.
    pub fn database(&self, programs: &Programs, credentials: &Credentials) -> Result<Server, Error> {
        let server = self.dumped(programs, credentials).map_err(|error| self.database.volume.full_or(error))?;
        self.log.info("comparing the database");
        self.compare(&server, &credentials.owner)?;
        Ok(server)
    }

    fn dumped(&self, programs: &Programs, credentials: &Credentials) -> Result<Server, Error> {
        let server = create::begin(programs, &self.database.directory, credentials, self.log)?;
        // Most of them only a superuser can make, and the dump is restored as the owner.
        let extensions = self.manifest.postgresql.extensions.keys().map(String::as_str);
        create::extensions(&mut server.connect(layout::DATABASE)?, extensions)?;
        let dump = &self.manifest.dump;
        self.log.info(&format!("restoring the database: a dump of {} bytes", dump.bytes));
        let about = self.manifest.postgresql.dumped_bytes.unwrap_or(self.manifest.postgresql.bytes);
        let _progress = Progress::of(&self.database.volume, about, self.log);
        let path = format!("/{}", manifest::DUMP);
        let snapshot = self.snapshot(&dump.snapshot, "database")?;
        let arguments = |restic: &mut std::process::Command| _ = restic.args(["dump", &snapshot.id, &path]);
        let reader = pg_restore(programs, &server, &credentials.owner);
        let read = self.repository.pipe("restore the database", arguments, reader).map_err(Error::damaged)?;
        if !read.status.success() {
            return Err(Error::restoring(&read.stderr));
        }
        Ok(server)
    }

    /// As the owner: a dump may bring functions and operators, and none of them is to be called by a superuser.
    fn compare(&self, server: &Server, owner: &str) -> Result<(), Error> {
        let (found, schema) = moment::of_restored(&mut server.connect_as(owner, layout::DATABASE)?).map_err(Error::Read)?;
        let mut differences = compare::contents(&self.manifest.contents, &found);
        if schema != self.manifest.dhis2.schema {
            differences
                .insert(0, format!("DHIS2's schema is {}, not {}", named(schema.as_ref()), named(self.manifest.dhis2.schema.as_ref())));
        }
        self.agrees(&differences)
    }

    /// Restores the files and compares them.
    pub fn files(&self) -> Result<(), Error> {
        let files = &self.manifest.files;
        self.log.info(&format!("restoring the files: {} of {} bytes", files.count, files.bytes));
        let _progress = Progress::of(&self.files.volume, files.bytes, self.log);
        let snapshot = self.snapshot(&files.after, "files")?;
        let [path] = snapshot.paths.as_slice() else {
            return Err(self.incomplete("the snapshot of its files is not one of one directory"));
        };
        let source = format!("{}:{path}", snapshot.id);
        let target = &self.files.directory;
        let arguments = |restic: &mut std::process::Command| _ = restic.args(["restore", &source, "--target"]).arg(target);
        self.repository.output("restore the files", arguments).map_err(|error| Error::writing(&self.files.volume, error))?;
        let (count, bytes) = stored(target).map_err(|error| Error::Directory(target.clone(), error))?;
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

/// Files in a file store, and their size in bytes.
fn stored(root: &Path) -> io::Result<(u64, u64)> {
    if !root.exists() {
        return Ok((0, 0));
    }
    let (mut count, mut bytes) = (0, 0);
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if !NOT_FILES.iter().any(|name| entry.file_name() == *name) {
            let (more, size) = measure(&entry)?;
            (count, bytes) = (count + more, bytes + size);
        }
    }
    Ok((count, bytes))
}

fn measure(entry: &fs::DirEntry) -> io::Result<(u64, u64)> {
    let kind = entry.file_type()?;
    // Links and the like are in a set, and counted by nobody: restic tells the number of files.
    if !kind.is_dir() {
        return Ok(if kind.is_file() { (1, entry.metadata()?.len()) } else { (0, 0) });
    }
    let (mut count, mut bytes) = (0, 0);
    for below in fs::read_dir(entry.path())? {
        let (more, size) = measure(&below?)?;
        (count, bytes) = (count + more, bytes + size);
    }
    Ok((count, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::sets::set::Part;

    #[test]
    fn the_newest_set_is_not_guessed_where_a_clock_was_wrong() {
        let manifest = |set: &str, second| Snapshot {
            id: set.to_owned(),
            original: None,
            time: Timestamp::from_second(second).unwrap(),
            hostname: String::new(),
            tags: vec![format!("set={set}"), Part::Manifest.tag()],
            paths: Vec::new(),
        };
        let now = Timestamp::from_second(10_000).unwrap();
        let found = |there: &[Snapshot], set| find(there, set, now).map(|found| found.id.clone()).map_err(|error| error.to_string());
        let mut there = vec![manifest("of-later", 20_000)];
        assert_eq!(found(&there, None), Ok("of-later".to_owned()), "no other can be meant");
        there.extend([manifest("a", 8000), manifest("b", 9000)]);
        let told = found(&there, None).unwrap_err();
        assert!(told.contains("set of-later is of 1970-01-01T05:33:20Z") && told.contains("deletionPolicy Delete"), "{told}");
        assert_eq!(found(&there, Some("of-later")), Ok("of-later".to_owned()));
        assert_eq!(found(&there, Some("a")), Ok("a".to_owned()));
        there[0].time = Timestamp::from_second(10_600).unwrap();
        assert_eq!(found(&there, None), Ok("of-later".to_owned()), "so much the clocks of nodes differ");
        assert!(found(&[], None).unwrap_err().contains("no set"));
    }
}
