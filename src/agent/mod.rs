//! The agent: whatever touches DHIS2, PostgreSQL, files or a backup repository, one verb a run.
//!
//! It runs inside the images of others, without access to Kubernetes, and ends with a [`Report`] in the
//! termination message of its container. Every verb may be killed at any moment and run again.

mod analytics;
pub mod args;
mod backup;
mod bootstrap;
mod check;
mod copy;
mod database;
mod dhis2;
mod digest;
mod failure;
mod import;
mod install;
mod log;
mod paths;
mod postgres;
mod program;
mod recover;
mod rehearse;
mod remove;
mod restore;
mod secret;
mod sets;
mod sheet;
mod startup;
mod store;
mod termination;
mod verify;
mod volume;
pub mod watch;

use std::process::ExitCode;

use args::{Arguments, Command, Database};
use failure::{Failure, told};
use log::Log;
use paths::Paths;

use crate::report::{Data, Outcome, Refusal, Report, Verb};

/// What a verb that ended well says and found.
type Ended = (String, Option<Data>);

/// Runs one verb and leaves its report. Exit codes: 0 done, 1 failed, 2 refused.
pub fn run(arguments: &Arguments) -> ExitCode {
    let verb = arguments.command.verb();
    let log = Log::new(verb);
    let paths = Paths::new(&arguments.root);
    let reports = termination::Message::new(arguments.report.as_deref(), verb);
    if !matches!(arguments.command, Command::Database(Database::Run(_))) {
        termination::end_when_told(log);
    }
    let (outcome, report) = match perform(&arguments.command, &paths, log, &reports) {
        Ok((message, data)) => (Outcome::Done, Report { verb, outcome: Outcome::Done, reason: None, message, data }),
        Err(failure) => {
            let reason = failure.reason();
            let outcome = if reason.is_none_or(Refusal::heals) { Outcome::Failed } else { Outcome::Refused };
            (outcome, Report { verb, outcome, reason, message: told(failure.as_ref()), data: None })
        }
    };
    match outcome {
        Outcome::Done => log.info(&report.message),
        Outcome::Waiting | Outcome::Refused | Outcome::Failed => log.error(&report.message),
    }
    reports.leave(&report, log);
    match outcome {
        Outcome::Done => ExitCode::SUCCESS,
        Outcome::Waiting | Outcome::Failed => ExitCode::from(1),
        Outcome::Refused => ExitCode::from(2),
    }
}

fn perform(command: &Command, paths: &Paths, log: Log, reports: &termination::Message) -> Result<Ended, Box<dyn Failure>> {
    Ok(match command {
        Command::Install { directory } => install::install(directory, paths)?,
        Command::Database(Database::Build(build)) => database::build::build(build, paths, log)?,
        Command::Database(Database::Run(run)) => database::run::run(run, paths, log)?,
        Command::Database(Database::Check) => database::check::check(paths)?,
        Command::Check(check) => check::check(check, paths, log, reports)?,
        Command::Startup(startup) => startup::startup(startup, log, reports)?,
        Command::Watch(watched) => watch::watch(watched, paths, log)?,
        Command::Bootstrap(bootstrap) => bootstrap::bootstrap(bootstrap, paths, log, reports)?,
        Command::Backup(backup) => backup::backup(backup, paths, log, reports)?,
        Command::Verify(verify) => verify::verify(verify, paths, log, reports)?,
        Command::Prove(prove) => verify::prove(prove, paths, log, reports)?,
        Command::Restore(restore) => restore::restore(restore, paths, log, reports)?,
        Command::Recover(recover) => recover::recover(recover, paths, log)?,
        Command::RecoverySheet => sheet::print()?,
        Command::Rehearse(rehearse) => rehearse::rehearse(rehearse, paths, log, reports)?,
        Command::Import(import) => import::import(import, paths, log, reports)?,
        Command::Copy(copying) => copy::copy(copying, paths, log, reports)?,
        Command::Remove(removing) => remove::remove(removing, paths, log, reports)?,
        Command::Analytics(arguments) => analytics::analytics(arguments, paths, log, reports)?,
    })
}

impl Command {
    fn verb(&self) -> Verb {
        match self {
            Self::Install { .. } => Verb::Install,
            Self::Database(Database::Build(_)) => Verb::DatabaseBuild,
            Self::Database(Database::Run(_)) => Verb::DatabaseRun,
            Self::Database(Database::Check) => Verb::DatabaseCheck,
            Self::Check(_) => Verb::Check,
            Self::Startup(_) => Verb::Startup,
            Self::Watch(_) => Verb::Watch,
            Self::Bootstrap(_) => Verb::Bootstrap,
            Self::Backup(_) => Verb::Backup,
            Self::Verify(_) => Verb::Verify,
            Self::Prove(_) => Verb::Prove,
            Self::Restore(_) => Verb::Restore,
            Self::Import(_) => Verb::Import,
            Self::Recover(_) => Verb::Recover,
            Self::RecoverySheet => Verb::RecoverySheet,
            Self::Rehearse(_) => Verb::Rehearse,
            Self::Copy(_) => Verb::Copy,
            Self::Remove(_) => Verb::Remove,
            Self::Analytics(_) => Verb::Analytics,
        }
    }
}
