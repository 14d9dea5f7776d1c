//! `prove`: the second half of a restore test that starts DHIS2. `restore` has built the set on scratch space and compared it; a PostgreSQL and a
//! DHIS2 on that run beside.

use jiff::Timestamp;

use super::{Error, of, proven, read_a_share};
use crate::agent::Ended;
use crate::agent::args::Prove;
use crate::agent::database::mark;
use crate::agent::log::Log;
use crate::agent::paths::Paths;
use crate::agent::rehearse::seconds_until_it_serves;
use crate::agent::sets::manifest;
use crate::agent::sets::restic::Repository;
use crate::agent::sets::restore;
use crate::agent::sets::set::Label;
use crate::agent::termination::Message;
use crate::layout;
use crate::report::Verified;

/// Waits until DHIS2 serves, and notes that the set is proven.
pub fn prove(arguments: &Prove, paths: &Paths, log: Log, reports: &Message) -> Result<Ended, Error> {
    let Some(mark::Mark { source: mark::Source::Set(origin), .. }) = mark::read(paths)? else {
        return Err(Error::NotRestored(paths.of(layout::MARK)));
    };
    let start_seconds = seconds_until_it_serves(&arguments.dhis2, paths, log, reports)?;
    let repository = Repository::existing(&arguments.repository, paths)?;
    let snapshots = repository.snapshots()?;
    let chosen = restore::find(&snapshots, Some(&origin.set), Timestamp::now())?;
    let manifest = manifest::read(&repository, &chosen.id).map_err(restore::Error::manifest)?;
    let label = Label { set: &origin.set, instance: &arguments.instance, name: &arguments.name };
    read_a_share(&repository, log)?;
    let proof = Verified { start_seconds: Some(start_seconds), ..of(&manifest, origin.seconds) };
    Ok(proven(&repository, &manifest, &label, proof))
}
