//! `restore`: builds a new database volume and a new volume of files from a backup set, while the old ones still serve.
//!
//! set chosen → checks → note, mark on the files → database → compare → files → compare → to disk → mark prepared → data directory
//! named → files' mark gone → mark. Whatever is refused by the checks leaves both volumes as they are; a kill between any two steps
//! leads to the same end when it is run again.

mod error;
mod note;
mod request;

use std::time::{Duration, Instant};

use super::Ended;
use super::args;
use super::database::roles::Credentials;
use super::database::{create, finish, mark};
use super::digest::KeyDigest;
use super::log::Log;
use super::paths::Paths;
use super::postgres::identity::Identity;
use super::postgres::programs::Programs;
use super::secret;
use super::sets::manifest::Manifest;
use super::sets::restic::Repository;
use super::sets::restore::{Place, Restore, Volume};
use super::store::Store;
use super::termination::Message;
use super::volume;
use crate::dhis2::version;
use crate::layout;
use crate::report::{Data, Restored};
pub use error::Error;
use note::Note;
pub use request::choose;

/// A second Job, started because the first one's node was lost, waits this long for the first one's lock.
const LOCK_PATIENCE: Duration = Duration::from_mins(1);

/// No scheduled job of DHIS2 runs (dhis2-core, `JobConfiguration.hbm.xml`: `enabled`).
const WITHOUT_JOBS: &str = "UPDATE public.jobconfiguration SET enabled = false";

/// Restores the set that is asked for, or confirms that it has been restored.
pub fn restore(arguments: &args::Restore, paths: &Paths, log: Log, reports: &Message) -> Result<Ended, Error> {
    reports.waiting(&format!("restoring {} to new volumes", arguments.wanted.told()), log);
    let _lock = volume::lock(&paths.of(layout::DATA_LOCK), LOCK_PATIENCE)?;
    // What is tried on a copy reads no files.
    let files = (!arguments.rehearsal).then(|| Store::of(paths));
    let files = files.as_ref();
    let (mark, origin) = match mark::read(paths)? {
        Some(mark) => {
            mark::whole(paths, &mark)?;
            let origin = answer(&mark, arguments)?;
            files.map_or(Ok(()), |files| files.are_whole(origin.files))?;
            (mark, origin)
        }
        None => make(arguments, paths, files, log)?,
    };
    Ok(ended(mark, origin))
}

/// What a finished volume was built from, if that is what is asked for.
fn answer(mark: &mark::Mark, arguments: &args::Restore) -> Result<mark::Origin, Error> {
    let asked = |origin: &mark::Origin| {
        (&mark.instance, mark.postgresql) == (&arguments.instance, arguments.postgresql)
            && arguments.wanted.is_met_by(&origin.set, &origin.created)
    };
    match &mark.source {
        mark::Source::Set(origin) if asked(origin) => Ok((**origin).clone()),
        source => Err(Error::Taken {
            found: source.told(mark.postgresql),
            owner: mark.instance.clone(),
            name: mark.name.clone(),
            asked: arguments.wanted.told(),
            instance: arguments.instance.clone(),
        }),
    }
}

fn make(arguments: &args::Restore, paths: &Paths, files: Option<&Store>, log: Log) -> Result<(mark::Mark, mark::Origin), Error> {
    let programs = Programs::find(arguments.postgresql)?;
    let mark = match finish::begun(&programs, paths, &arguments.instance)? {
        Some(prepared) => prepared,
        None => build(&programs, arguments, paths, files, log)?,
    };
    let origin = answer(&mark, arguments)?;
    if let Some(files) = files {
        files.unmark()?;
        files.are_whole(origin.files)?;
    }
    finish::forget(paths)?;
    Ok((mark::finish(paths, mark)?, origin))
}

/// Everything up to the data directory's name. Its mark is prepared then, and says all that is left to know.
fn build(programs: &Programs, arguments: &args::Restore, paths: &Paths, files: Option<&Store>, log: Log) -> Result<mark::Mark, Error> {
    files.map_or(Ok(()), |files| files.are_ours(&arguments.instance))?;
    let repository = Repository::existing(&arguments.repository, paths)?;
    let snapshots = repository.snapshots()?;
    let noted = note::read(paths, &arguments.instance);
    let manifest = request::choose(&arguments.wanted, noted.as_ref(), &repository, &snapshots, log)?;
    log.info(&told(&manifest));
    let (database_place, files_place) = places(paths, arguments.scratch);
    let restore = Restore {
        repository: &repository,
        snapshots: &snapshots,
        manifest: &manifest,
        database: &database_place,
        files: &files_place,
        all_files: !arguments.leave_out_unreadable_files,
        log,
    };
    restore.check()?;
    fits(&restore, arguments, paths)?;
    let credentials = Credentials::read(paths)?;
    finish::clear(paths, log)?;
    // Scratch space has to take both.
    let beside = if arguments.scratch { manifest.files.bytes } else { 0 };
    restore.database.volume.takes(restore.database_bytes().saturating_add(beside))?;
    if let Some(files) = files {
        files.clear(log)?;
        restore.files.volume.takes(manifest.files.bytes)?;
    }
    note::write(paths, &Note { instance: arguments.instance.clone(), set: manifest.set.clone(), created: manifest.created.clone() })?;

    let start = Instant::now();
    files.map_or(Ok(()), |files| files.mark(&arguments.instance))?;
    let database_bytes = database(&restore, programs, &credentials, arguments)?;
    if let Some(files) = files {
        restore.files()?;
        log.info(&format!("the files are as the manifest says: writing {} bytes to disk", manifest.files.bytes));
        files.settle()?;
    }
    create::to_disk(programs, &database_place.directory, log)?;
    let origin = origin(&manifest, start.elapsed().as_secs(), database_bytes);
    let mark = mark::Mark {
        format: mark::FORMAT,
        instance: arguments.instance.clone(),
        name: arguments.name.clone(),
        postgresql: arguments.postgresql,
        system_identifier: create::system_identifier(programs, &database_place.directory)?,
        built_at: format!("{:.0}", jiff::Timestamp::now()),
        source: mark::Source::Set(Box::new(origin)),
    };
    finish::name(paths, &mark)?;
    Ok(mark)
}

fn places(paths: &Paths, scratch: bool) -> (Place, Place) {
    let (mut database, mut files) = (Volume::database(paths), Volume::files(paths));
    if scratch {
        // Parts of one volume.
        (database, files) = (Volume::scratch(database.root), Volume::scratch(files.root));
    }
    (Place { directory: paths.of(layout::PGDATA_BUILDING), volume: database }, Place { directory: paths.of(layout::FILES), volume: files })
}

/// Whether the instance can go on with what is in the set: its key, its DHIS2, its PostgreSQL.
fn fits(restore: &Restore<'_>, arguments: &args::Restore, paths: &Paths) -> Result<(), Error> {
    let (manifest, set) = (restore.manifest, || restore.manifest.set.clone());
    let key = secret::read_optional(&paths.of(layout::ENCRYPTION_PASSWORD))?;
    if !recorded(manifest).fits(key.as_ref()) {
        return Err(Error::Key(set()));
    }
    let asked = arguments.version;
    if let Some(used) = version::newer(Some(manifest.dhis2.used()), manifest.dhis2.schema.as_deref(), asked) {
        return Err(Error::Downgrade { set: set(), used, asked });
    }
    let (found, asked) = (restore.major()?, arguments.postgresql);
    if found > asked { Err(Error::Newer { set: set(), found, asked }) } else { Ok(()) }
}

fn recorded(manifest: &Manifest) -> KeyDigest {
    KeyDigest { salt: manifest.encryption_key.salt.clone(), digest: manifest.encryption_key.digest.clone() }
}

/// Restores the database and makes it the instance's. Returns its size in bytes.
fn database(restore: &Restore<'_>, programs: &Programs, credentials: &Credentials, arguments: &args::Restore) -> Result<u64, Error> {
    let manifest = restore.manifest;
    let server = restore.database(programs, credentials)?;
    if arguments.rehearsal || arguments.scratch {
        // As the owner, like whatever may call what a dump has brought. A copy sends nobody a message.
        let mut owner = server.connect_as(&credentials.owner, layout::DATABASE)?;
        owner.batch_execute(WITHOUT_JOBS).map_err(Error::Jobs)?;
    }
    let mut client = server.connect(layout::DATABASE)?;
    // No dump has the schema of what a database remembers: this one is given its own, with what the manifest repeats of the old one.
    let last_started = Some(manifest.dhis2.used());
    let identity = Identity { instance: arguments.instance.clone(), key: recorded(manifest), last_started };
    create::remember(&mut client, &credentials.owner, &identity)?;
    let bytes = create::analyse(&mut client, restore.log)?;
    drop(client);
    server.stop()?;
    Ok(bytes)
}

fn told(manifest: &Manifest) -> String {
    format!(
        "set {} of {}: DHIS2 {}, PostgreSQL {}, a dump of {} bytes, {} files of {} bytes",
        manifest.set,
        manifest.created,
        manifest.dhis2.used(),
        manifest.postgresql.version,
        manifest.dump.bytes,
        manifest.files.count,
        manifest.files.bytes
    )
}

fn origin(manifest: &Manifest, seconds: u64, database_bytes: u64) -> mark::Origin {
    mark::Origin {
        set: manifest.set.clone(),
        created: manifest.created.clone(),
        dhis2: manifest.dhis2.used(),
        seconds,
        database_bytes,
        rows: manifest.contents.rows.values().sum(),
        files: manifest.files.count,
        file_bytes: manifest.files.bytes,
    }
}

fn ended(mark: mark::Mark, origin: mark::Origin) -> Ended {
    let message = format!(
        "set {} of {} is restored to new volumes of {}: {} rows, a database of {} bytes, {} files of {} bytes, in {} s",
        origin.set, origin.created, mark.name, origin.rows, origin.database_bytes, origin.files, origin.file_bytes, origin.seconds
    );
    let restored = Restored {
        set: origin.set,
        created: origin.created,
        dhis2: origin.dhis2,
        instance: mark.instance,
        postgresql: mark.postgresql,
        system_identifier: mark.system_identifier,
        built_at: mark.built_at,
        seconds: origin.seconds,
        database_bytes: origin.database_bytes,
        rows: origin.rows,
        files: origin.files,
        file_bytes: origin.file_bytes,
    };
    (message, Some(Data::Restore(restored)))
}
