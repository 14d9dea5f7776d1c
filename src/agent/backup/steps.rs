//! The steps that make a set.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Instant;

use super::dump::{self, LeftOut};
use super::{Error, sane};
use crate::agent::args::Backup;
use crate::agent::failure::told;
use crate::agent::log::Log;
use crate::agent::paths::Paths;
use crate::agent::postgres::identity::{self, Identity};
use crate::agent::postgres::programs::Programs;
use crate::agent::postgres::reach;
use crate::agent::sets::bucket;
use crate::agent::sets::manifest::{self, Dhis2, Dump, EncryptionKey, Files, Manifest, Postgresql};
use crate::agent::sets::moment::{Facts, Moment};
use crate::agent::sets::restic::{Repository, Snapshot, Summary};
use crate::agent::sets::set::{Label, Part};
use crate::agent::sets::stored;
use crate::agent::termination::Message;
use crate::agent::{secret, volume};
use crate::dhis2::derived;
use crate::layout;

/// How often files are read that could not be read completely: DHIS2 may have removed one meanwhile.
const FILE_TRIES: u32 = 3;
/// How many storage keys without file are named.
const NAMED: usize = 10;

/// What the steps have in common.
struct Making<'a> {
    repository: &'a Repository,
    /// What was there before.
    earlier: &'a [Snapshot],
    label: Label<'a>,
    paths: &'a Paths,
    log: Log,
    seconds: BTreeMap<String, f64>,
}

/// What was found out about the database while it was dumped.
struct Dumped {
    summary: Summary,
    time: String,
    facts: Facts,
    identity: Identity,
    contents: manifest::Contents,
    left_out: LeftOut,
    references: u64,
    without_file: Vec<String>,
}

/// Why nothing may be removed on account of a set that was held against none.
const BLIND: &str = "no set before this one could be read, to see whether this one has much less";

/// Makes the set of this name in a repository, which has these snapshots. Says with it why no older one may go on its account, beside what it
/// says itself.
pub fn make(
    (repository, earlier): (&Repository, &[Snapshot]),
    set: &str,
    arguments: &Backup,
    paths: &Paths,
    log: Log,
    reports: &Message,
) -> Result<(Manifest, Option<&'static str>), Error> {
    let label = Label { set, instance: &arguments.instance, name: &arguments.name };
    let mut making = Making { repository, earlier, label, paths, log, seconds: BTreeMap::new() };
    let before = making.timed("files", |making| making.files(Part::Files))?;
    let dumped = making.timed("dump", |making| making.dump(arguments, reports))?;
    let after = making.timed("filesAgain", |making| making.files(Part::FilesAgain))?;
    let mut manifest = making.manifest(arguments, &before, dumped, &after)?;
    let known = making.before(arguments);
    manifest.shrunk =
        known.as_deref().and_then(|known| sane::base(known, arguments.accept.as_deref())).and_then(|base| sane::shrunk(base, &manifest));
    let text = serde_json::to_vec_pretty(&manifest).map_err(Error::Manifest)?;
    let build = |restic: &mut Command| {
        label.mark(restic, Part::Manifest);
        restic.args(["--stdin", "--stdin-filename", manifest::FILE]);
    };
    repository.back_up("write the manifest", build, Some(&text))?;
    Ok((manifest, known.is_none().then_some(BLIND)))
}

impl Making<'_> {
    fn timed<T>(&mut self, step: &str, work: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.log.info(&format!("{step}: begun"));
        let start = Instant::now();
        let done = work(self)?;
        let seconds = (start.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        self.log.info(&format!("{step}: done after {seconds} s"));
        self.seconds.insert(step.to_owned(), seconds);
        Ok(done)
    }

    /// The file store as it is now.
    fn files(&self, part: Part) -> Result<Summary, Error> {
        let files = self.paths.of(layout::FILES);
        let build = |restic: &mut Command| {
            self.label.mark(restic, part);
            // A file system's own directory is closed to us; the probe of `check` is no file of DHIS2's.
            restic.arg("--exclude").arg(files.join("lost+found")).arg("--exclude").arg(files.join(crate::agent::volume::PROBE));
            restic.arg("--one-file-system").arg(&files);
        };
        let mut summary = self.repository.back_up("back up the files", build, None)?;
        for _ in 1..FILE_TRIES {
            if summary.complete {
                break;
            }
            self.log.warn("some files could not be read, as when DHIS2 removes one at that moment: reading them again");
            summary = self.repository.back_up("back up the files", build, None)?;
        }
        Ok(summary)
    }

    /// The database, and what it holds at the moment of the dump.
    fn dump(&self, arguments: &Backup, reports: &Message) -> Result<Dumped, Error> {
        let password = secret::read(&self.paths.of(layout::DATABASE_BACKUP_PASSWORD))?;
        let client = reach::wait(&arguments.database, layout::BACKUP_ROLE, &password, self.log, reports)?;
        let mut moment = Moment::begin(client).map_err(Error::Read)?;
        let families = derived::tables(arguments.version);
        let facts = moment.facts(families).map_err(Error::Read)?;
        let identity = facts.identity.clone().ok_or(Error::Unmarked)?;
        if identity.instance != arguments.instance {
            return Err(Error::Foreign(identity.instance));
        }
        if arguments.system_identifier.as_ref().is_some_and(|expected| *expected != facts.system_identifier) {
            return Err(Error::Replaced);
        }
        let programs = Programs::find(facts.major)?;
        let password_file = dump::PasswordFile::write(&password).map_err(Error::PasswordFile)?;
        let left_out = LeftOut::of(families, &moment.views_of(families).map_err(Error::Read)?);
        moment.lock(families).map_err(Error::Read)?;
        let build = |restic: &mut Command| {
            self.label.mark(restic, Part::Dump);
            let hidden = if self.repository.is_remote() { bucket::env_without_credentials() } else { Vec::new() };
            dump::from_command(restic, &hidden, &programs, &arguments.database, &password_file, &moment.snapshot, &left_out);
        };
        let summary = self.repository.back_up("dump the database", build, None).map_err(Error::Dump)?;
        let contents = moment.contents(families).map_err(Error::Read)?;
        let files = self.paths.of(layout::FILES);
        let mut without_file = Vec::new();
        let references = moment.references(|key| stored(&files, key), |key| without_file.push(key)).map_err(Error::Read)?;
        Ok(Dumped { summary, time: moment.time, facts, identity, contents, left_out, references, without_file })
    }

    fn manifest(&self, arguments: &Backup, before: &Summary, dumped: Dumped, after: &Summary) -> Result<Manifest, Error> {
        let key = secret::read_optional(&self.paths.of(layout::ENCRYPTION_PASSWORD))?;
        let in_secrets = dumped.identity.key.fits(key.as_ref());
        if !in_secrets {
            self.log.warn("the encryption key in the Secret is not the one that the database was made with");
        }
        let files = self.paths.of(layout::FILES);
        // DHIS2 stores an upload after its row: what has come since the dump began is not missing.
        let without_file: Vec<String> = dumped.without_file.into_iter().filter(|key| !stored(&files, key)).collect();
        let facts = dumped.facts;
        Ok(Manifest {
            format: manifest::FORMAT,
            set: self.label.set.to_owned(),
            instance: arguments.instance.clone(),
            name: arguments.name.clone(),
            created: dumped.time,
            dhis2: Dhis2 { version: arguments.version, last_started: dumped.identity.last_started, schema: facts.schema },
            postgresql: Postgresql {
                version: facts.version,
                extensions: facts.extensions,
                bytes: facts.bytes,
                dumped_bytes: Some(facts.dumped_bytes),
                wal_bytes: Some(facts.wal_bytes),
            },
            encryption_key: EncryptionKey { salt: dumped.identity.key.salt, digest: dumped.identity.key.digest, in_secrets },
            dump: Dump {
                snapshot: dumped.summary.snapshot_id,
                bytes: dumped.summary.total_bytes_processed,
                excluded_data: dumped.left_out.data,
                excluded_tables: dumped.left_out.tables,
                excluded_schemas: vec![identity::SCHEMA.to_owned()],
            },
            contents: dumped.contents,
            files: Files {
                before: before.snapshot_id.clone(),
                after: after.snapshot_id.clone(),
                count: after.total_files_processed,
                bytes: after.total_bytes_processed,
                complete: after.complete,
                references: dumped.references,
                references_without_file: u64::try_from(without_file.len()).unwrap_or(u64::MAX),
                without_file: without_file.into_iter().take(NAMED).collect(),
            },
            shrunk: None,
            volumes: self.volumes()?,
            repository_bytes: self.repository_bytes(),
            bytes_added: before.data_added_packed + dumped.summary.data_added_packed + after.data_added_packed,
            seconds: self.seconds.clone(),
            resource: self.resource()?,
            secrets: self.secrets()?,
        })
    }

    /// What it is held against: the newest set before it that can be read, and those that this one names. None where none can.
    fn before(&self, arguments: &Backup) -> Option<Vec<Manifest>> {
        let manifests = || self.earlier.iter().filter(|snapshot| snapshot.is_manifest());
        // One that can't be read is the restore test's to tell.
        let read =
            |snapshot: &Snapshot| manifest::read(self.repository, &snapshot.id).inspect_err(|error| self.log.warn(&told(error))).ok();
        let mut newest: Vec<&Snapshot> = manifests().collect();
        newest.sort_by_key(|manifest| Reverse(manifest.time));
        if newest.is_empty() {
            return Some(Vec::new());
        }
        let mut known = vec![newest.into_iter().find_map(read)?];
        if let Some(shrunk) = known.first().and_then(|previous| previous.shrunk.clone()) {
            let names = [Some(shrunk.than.as_str()), arguments.accept.as_deref()];
            known.extend(manifests().filter(|manifest| manifest.set().is_some() && names.contains(&manifest.set())).filter_map(read));
        }
        Some(known)
    }

    fn volumes(&self) -> Result<BTreeMap<String, volume::Space>, Error> {
        let backups = (!self.repository.is_remote()).then_some(("backups", layout::BACKUPS));
        [("files", layout::FILES)]
            .into_iter()
            .chain(backups)
            .map(|(name, place)| Ok((name.to_owned(), volume::space(&self.paths.of(place))?)))
            .collect()
    }

    /// Asked of restic where no file system tells. A set counts without it.
    fn repository_bytes(&self) -> Option<u64> {
        let asked = self.repository.is_remote().then(|| self.repository.bytes())?;
        asked.inspect_err(|error| self.log.warn(&told(error))).ok()
    }

    fn resource(&self) -> Result<serde_json::Value, Error> {
        let path = self.paths.of(layout::RESOURCE);
        let text = std::fs::read(&path).map_err(|error| Error::ReadFile(path.clone(), error))?;
        serde_json::from_slice(&text).map_err(|error| Error::Resource(path, error))
    }

    fn secrets(&self) -> Result<BTreeMap<String, String>, Error> {
        let directory = self.paths.of(layout::SECRETS);
        manifest::secrets(&directory).map_err(|error| Error::ReadFile(directory, error))
    }
}
