//! `analytics`: has DHIS2 generate its analytics tables where they are missing, and waits for the end of that.
//!
//! No set holds them, and another line of releases lays them out otherwise. DHIS2 asks its database for jobs that are due (`jobs`), so that
//! needs no account of DHIS2's: none that people could lock, whose password could expire, or that a restore would take back.

mod jobs;

use std::thread::sleep;
use std::time::{Duration, Instant};

use ::postgres::{Client, Error as SqlError};

use super::Ended;
use super::args;
use super::failure::Failure;
use super::log::Log;
use super::paths::Paths;
use super::postgres::reach;
use super::secret;
use super::termination::Message;
use crate::layout;
use crate::report::{Data, Generated, Generation, Refusal};
use jobs::{Found, State};

/// How often the run is looked at.
const ASK: Duration = Duration::from_secs(5);

/// A run that nobody can follow.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A Secret can't be used.
    #[error(transparent)]
    Secret(#[from] secret::Error),
    /// The database does not let us in.
    #[error(transparent)]
    Reach(#[from] reach::Error),
    /// It went away.
    #[error("ask the database for DHIS2's jobs")]
    Sql(#[from] SqlError),
    /// The run is not in the database any more.
    #[error("the run {0} is not among DHIS2's jobs any more; another one is asked for")]
    Gone(String),
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Secret(error) => error.reason(),
            Self::Reach(error) => error.reason(),
            Self::Sql(_) | Self::Gone(_) => None,
        }
    }
}

/// Has the tables generated, unless there is no need.
pub fn analytics(arguments: &args::Analytics, paths: &Paths, log: Log, reports: &Message) -> Result<Ended, Error> {
    let user = secret::read(&paths.of(layout::DATABASE_USERNAME))?;
    let password = secret::read(&paths.of(layout::DATABASE_PASSWORD))?;
    let mut client = reach::wait(&arguments.database, user.reveal(), &password, log, reports)?;
    let run = &jobs::name(&mut client, &arguments.instance, arguments.run)?;
    let hears = jobs::are_asked_for_in_the_database(&mut client)?;
    // One that was asked for is followed to its end: meanwhile some of the tables are there.
    if !hears || jobs::find(&mut client, run)?.is_none() {
        if let Some(ended) = needless(&mut client, arguments.all, hears)? {
            return Ok(ended);
        }
        jobs::ask(&mut client, run)?;
    }
    follow(&mut client, run, Duration::from_secs(arguments.taken_up_within), log, reports)
}

/// Why nothing is asked for. `hears`: DHIS2 looks for jobs in its database.
fn needless(client: &mut Client, all: bool, hears: bool) -> Result<Option<Ended>, SqlError> {
    Ok(if !jobs::were_generated(client)? {
        Some(ended(Generation::NotNeeded, 0, "analytics tables have never been generated in this database".to_owned()))
    } else if !all && jobs::are_there(client)? {
        Some(ended(Generation::NotNeeded, 0, "the analytics tables are there".to_owned()))
    } else if !hears {
        let message = "DHIS2 before 2.41 is not asked for them by its database: generate them in the app Data Administration";
        Some(ended(Generation::ByHand, 0, message.to_owned()))
    } else {
        None
    })
}

fn ended(outcome: Generation, seconds: u64, message: String) -> Ended {
    (message, Some(Data::Analytics(Generated { outcome, seconds })))
}

fn follow(client: &mut Client, run: &str, patience: Duration, log: Log, reports: &Message) -> Result<Ended, Error> {
    let mut told = String::new();
    let mut idle = Instant::now();
    loop {
        let Found { state, stage } = jobs::find(client, run)?.ok_or_else(|| Error::Gone(run.to_owned()))?;
        let now = match state {
            State::Done { seconds } => return Ok(ended(Generation::Generated, seconds, format!("generated in {seconds} s"))),
            State::Failed { seconds, why } => return Ok(ended(Generation::Failed, seconds, why)),
            State::Running => {
                idle = Instant::now();
                stage.map_or_else(|| "DHIS2 generates its analytics tables".to_owned(), |stage| format!("DHIS2 is at: {stage}"))
            }
            State::Waiting if jobs::is_another_running(client)? => {
                idle = Instant::now();
                "waiting for another run of DHIS2's to end".to_owned()
            }
            // DHIS2 may begin at this very moment: then it is followed.
            State::Waiting if idle.elapsed() >= patience && jobs::take_back(client, run)? => {
                let why = format!("DHIS2 has not begun within {} minutes; its log may say why", patience.as_secs().div_ceil(60));
                return Ok(ended(Generation::Failed, 0, why));
            }
            State::Waiting => "waiting for DHIS2 to begin".to_owned(),
        };
        if now != told {
            reports.waiting(&now, log);
            told = now;
        }
        sleep(ASK);
    }
}
