//! `import`: builds the database volume and the volume of files of a new instance from a dump that people bring.
//!
//! checks → note, mark on the files → database → what it is → files → to disk → mark prepared → data directory named → files' mark
//! gone → mark. A kill between any two steps leads to the same end when it is run again.

mod advice;
mod dump;
mod error;
mod left_out;
mod lines;
mod load;
mod migrations;
mod note;
mod plain;
mod quotes;
mod source;

use std::time::{Duration, Instant};

use ::postgres::Client;

use super::Ended;
use super::args;
use super::database::roles::Credentials;
use super::database::{create, finish, mark};
use super::digest::{self, KeyDigest};
use super::failure::told;
use super::log::Log;
use super::paths::Paths;
use super::postgres::identity::{self, Identity};
use super::postgres::private::Server;
use super::postgres::programs::Programs;
use super::secret;
use super::sets::moment::Moment;
use super::sets::restore::Volume;
use super::sets::stored;
use super::store::Store;
use super::termination::Message;
use super::volume;
use crate::layout;
use crate::report::{Data, Imported};
use dump::Dump;
pub use error::Error;
use load::Loader;
use source::Source;

/// A second Job, started because the first one's node was lost, waits this long for the first one's lock.
const LOCK_PATIENCE: Duration = Duration::from_mins(1);

/// Loads the dump that is asked for, or confirms that it has been loaded.
pub fn import(arguments: &args::Import, paths: &Paths, log: Log, reports: &Message) -> Result<Ended, Error> {
    reports.waiting(&format!("loading {} to new volumes", arguments.dump), log);
    let _lock = volume::lock(&paths.of(layout::DATA_LOCK), LOCK_PATIENCE)?;
    let store = Store::of(paths);
    let (mark, loaded) = match mark::read(paths)? {
        Some(mark) => {
            mark::whole(paths, &mark)?;
            let loaded = answer(&mark, arguments)?;
            store.are_whole(loaded.files)?;
            (mark, loaded)
        }
        None => make(arguments, paths, &store, log)?,
    };
    Ok(ended(mark, loaded))
}

/// What a finished volume was built from, if that is what is asked for.
fn answer(mark: &mark::Mark, arguments: &args::Import) -> Result<mark::Loaded, Error> {
    let ours = (&mark.instance, mark.postgresql) == (&arguments.instance, arguments.postgresql);
    match &mark.source {
        mark::Source::Dump(loaded) if ours && loaded.dump == arguments.dump => Ok((**loaded).clone()),
        source => Err(Error::Taken {
            found: source.told(mark.postgresql),
            owner: mark.instance.clone(),
            name: mark.name.clone(),
            asked: arguments.dump.clone(),
            instance: arguments.instance.clone(),
        }),
    }
}

fn make(arguments: &args::Import, paths: &Paths, store: &Store, log: Log) -> Result<(mark::Mark, mark::Loaded), Error> {
    let programs = Programs::find(arguments.postgresql)?;
    let mark = match finish::begun(&programs, paths, &arguments.instance)? {
        Some(prepared) => prepared,
        None => build(&programs, arguments, paths, store, log)?,
    };
    let loaded = answer(&mark, arguments)?;
    store.unmark()?;
    store.are_whole(loaded.files)?;
    finish::forget(paths)?;
    Ok((mark::finish(paths, mark)?, loaded))
}

/// Everything up to the data directory's name. Its mark is prepared then, and says all that is left to know.
fn build(programs: &Programs, arguments: &args::Import, paths: &Paths, store: &Store, log: Log) -> Result<mark::Mark, Error> {
    store.are_ours(&arguments.instance)?;
    let dump = Dump::open(paths, &arguments.dump)?;
    note::unchanged(paths, &arguments.instance, &dump)?;
    let files = arguments.files.as_ref().map(|files| Source::open(paths, files)).transpose()?;
    let credentials = Credentials::read(paths)?;
    let key = secret::read_optional(&paths.of(layout::ENCRYPTION_PASSWORD))?;
    let key = KeyDigest::of(key.as_ref(), digest::salt().map_err(create::Error::Salt)?);
    finish::clear(paths, log)?;
    store.clear(log)?;
    Volume::files(paths).takes(files.as_ref().map_or(0, |files| files.size.bytes))?;
    note::write(paths, &arguments.instance, &dump, None)?;
    store.mark(&arguments.instance)?;

    let start = Instant::now();
    let building = paths.of(layout::PGDATA_BUILDING);
    let identity = Identity { instance: arguments.instance.clone(), key, last_started: None };
    let making = Making { programs, arguments, paths, credentials: &credentials, log };
    let mut loaded = making.database(&dump, files.as_ref(), &identity).or_else(|error| making.refused(&dump, error))?;
    store.settle()?;
    create::to_disk(programs, &building, log)?;
    loaded.seconds = start.elapsed().as_secs();
    let mark = mark::Mark {
        format: mark::FORMAT,
        instance: arguments.instance.clone(),
        name: arguments.name.clone(),
        postgresql: arguments.postgresql,
        system_identifier: create::system_identifier(programs, &building)?,
        built_at: format!("{:.0}", jiff::Timestamp::now()),
        source: mark::Source::Dump(Box::new(loaded)),
    };
    finish::name(paths, &mark)?;
    Ok(mark)
}

/// What the steps have in common.
struct Making<'a> {
    programs: &'a Programs,
    arguments: &'a args::Import,
    paths: &'a Paths,
    credentials: &'a Credentials,
    log: Log,
}

impl Making<'_> {
    /// Loads the dump, copies the files, and makes the database the instance's.
    fn database(&self, dump: &Dump, files: Option<&Source>, identity: &Identity) -> Result<mark::Loaded, Error> {
        let volume = Volume::database(self.paths);
        let full = |error: Error| if volume.is_full(&told(&error)) { volume.full(&told(&error)).into() } else { error };
        let building = self.paths.of(layout::PGDATA_BUILDING);
        let server = create::begin(self.programs, &building, self.credentials, self.log).map_err(|error| full(error.into()))?;
        let schema = self.load(&server, dump).map_err(full)?;
        let size = files.map(|files| files.size).unwrap_or_default();
        if let Some(files) = files {
            self.log.info(&format!("copying {} files of {} bytes", size.files, size.bytes));
            let volume = Volume::files(self.paths);
            let full = |error: Error| if volume.is_full(&told(&error)) { volume.full(&told(&error)).into() } else { error };
            files.copy(&self.paths.of(layout::FILES), self.log).map_err(full)?;
        }
        let (references, references_without_file) = self.references(&server)?;
        let mut client = server.connect(layout::DATABASE)?;
        own(&mut client, &self.credentials.owner, identity)?;
        let database_bytes = create::analyse(&mut client, self.log)?;
        drop(client);
        server.stop()?;
        Ok(mark::Loaded {
            dump: dump.name.clone(),
            schema,
            seconds: 0,
            database_bytes,
            files: size.files,
            file_bytes: size.bytes,
            references,
            references_without_file,
        })
    }

    /// Loads the dump, and returns the schema that it has.
    fn load(&self, server: &Server, dump: &Dump) -> Result<String, Error> {
        let Making { programs, credentials, log, .. } = *self;
        log.info(&format!("loading {}, {} bytes", dump.name, dump.version.bytes));
        let (owner, version) = (credentials.owner.as_str(), self.arguments.version);
        Loader { programs, server, owner, version, log }.load(dump)?;
        let mut client = server.connect_as(owner, layout::DATABASE)?;
        let schema = identity::newest_schema(&mut client).map_err(|error| Error::Sql("read its migrations", error))?;
        let schema = schema.ok_or_else(|| Error::NotDhis2(dump.name.clone()))?;
        load::is_not_newer(Some(&schema), version)?;
        Ok(schema)
    }

    /// Files that the database refers to, and how many of them are not there.
    fn references(&self, server: &Server) -> Result<(u64, u64), Error> {
        let read = |error| Error::Sql("read its references to files", error);
        let mut moment = Moment::begin(server.connect_as(&self.credentials.owner, layout::DATABASE)?).map_err(read)?;
        let (files, mut missing) = (self.paths.of(layout::FILES), 0);
        let references = moment.references(|key| stored(&files, key), |_| missing += 1).map_err(read)?;
        Ok((references, missing))
    }

    /// The dump will be refused the next time, too: that is noted.
    fn refused(&self, dump: &Dump, error: Error) -> Result<mark::Loaded, Error> {
        if error.is_of_the_dump() {
            note::write(self.paths, &self.arguments.instance, dump, Some(told(&error)))?;
        }
        Err(error)
    }
}

/// A dump of another instance brings what that one remembered of itself: this database has its own.
fn own(client: &mut Client, owner: &str, identity: &Identity) -> Result<(), Error> {
    let foreign = format!("DROP SCHEMA IF EXISTS {} CASCADE", identity::SCHEMA);
    client.batch_execute(&foreign).map_err(|error| Error::Sql("take away what another instance remembered", error))?;
    Ok(create::remember(client, owner, identity)?)
}

fn ended(mark: mark::Mark, loaded: mark::Loaded) -> Ended {
    let message = format!(
        "{} is loaded to new volumes of {}: DHIS2's schema {}, a database of {} bytes, {} files of {} bytes, in {} s; {} of {} references to files point to none",
        loaded.dump,
        mark.name,
        loaded.schema,
        loaded.database_bytes,
        loaded.files,
        loaded.file_bytes,
        loaded.seconds,
        loaded.references_without_file,
        loaded.references
    );
    let imported = Imported {
        dump: loaded.dump,
        schema: loaded.schema,
        instance: mark.instance,
        postgresql: mark.postgresql,
        system_identifier: mark.system_identifier,
        built_at: mark.built_at,
        seconds: loaded.seconds,
        database_bytes: loaded.database_bytes,
        files: loaded.files,
        file_bytes: loaded.file_bytes,
        references: loaded.references,
        references_without_file: loaded.references_without_file,
    };
    (message, Some(Data::Import(imported)))
}
