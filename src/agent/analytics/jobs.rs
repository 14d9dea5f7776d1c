//! DHIS2's jobs, in its own table. From 2.41 on this table is all that its scheduler goes by: whichever server leads asks it every 20 seconds
//! for jobs that are due, and writes there how far they are (dhis2-core, `JobScheduler`, `HibernateJobConfigurationStore`, and the migration of
//! 2.41 that makes the table "the single source of truth"). What is written here is what `POST /api/resourceTables/analytics` writes.

use std::time::Duration;

use ::postgres::{Client, Error as SqlError};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::agent::postgres::said::without_data;

/// Everything, of all years; in the form in which DHIS2 keeps parameters (dhis2-core, `JsonJobParametersType`: the class, then its fields).
const PARAMETERS: &str = r#"["org.hisp.dhis.scheduling.parameters.AnalyticsJobParameters", {"lastYears": null}]"#;

/// Where DHIS2 notes when it last generated them, later releases by kinds of tables (dhis2-core, `SystemSettings`).
const LAST_SUCCESS: &str = "keyLastSuccessfulAnalyticsTablesUpdate";

/// A table that each run makes first, and that has a row for each organisation unit (dhis2-core, `OrganisationUnitStructureResourceTable`).
const FIRST_TABLE: &str = "public.analytics_rs_orgunitstructure";

/// A run.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// How far it is.
    pub state: State,
    /// What it does now.
    pub stage: Option<String>,
}

/// How far a run is.
#[derive(Debug, PartialEq, Eq)]
pub enum State {
    /// DHIS2 has not begun.
    Waiting,
    /// It is at it.
    Running,
    /// All of it was generated.
    Done {
        /// How long that took.
        seconds: u64,
    },
    /// It was not.
    Failed {
        /// How long it took to find out.
        seconds: u64,
        /// In words.
        why: String,
    },
}

/// Have analytics tables been generated in this database, or in the one that it is a copy of?
pub fn were_generated(client: &mut Client) -> Result<bool, SqlError> {
    let known: bool = client.query_one("SELECT to_regclass('public.systemsetting') IS NOT NULL", &[])?.try_get(0)?;
    let noted = "SELECT EXISTS (SELECT FROM public.systemsetting WHERE starts_with(name, $1))";
    Ok(known && client.query_one(noted, &[&LAST_SUCCESS])?.try_get(0)?)
}

/// Are they there? A restore leaves empty ones.
pub fn are_there(client: &mut Client) -> Result<bool, SqlError> {
    let known: bool = client.query_one("SELECT to_regclass($1::text) IS NOT NULL", &[&FIRST_TABLE])?.try_get(0)?;
    Ok(known && client.query_one(&format!("SELECT EXISTS (SELECT FROM {FIRST_TABLE})"), &[])?.try_get(0)?)
}

/// Does DHIS2 look for jobs in its database?
pub fn are_asked_for_in_the_database(client: &mut Client) -> Result<bool, SqlError> {
    let column = "SELECT EXISTS (SELECT FROM information_schema.columns
         WHERE table_schema = 'public' AND table_name = 'jobconfiguration' AND column_name = 'schedulingtype')";
    client.query_one(column, &[])?.try_get(0)
}

/// By which DHIS2 knows a run: eleven letters and digits, the first a letter (dhis2-core, `CodeGenerator`). A set may hold the rows of runs
/// that were made on another volume: theirs are other ones.
pub fn name(client: &mut Client, instance: &str, run: u64) -> Result<String, SqlError> {
    let volume: i64 = client.query_one("SELECT system_identifier FROM pg_control_system()", &[])?.try_get(0)?;
    let digest = Sha256::digest(format!("{instance} {volume} {run}"));
    Ok(digest.iter().take(5).fold("a".to_owned(), |name, byte| name + &format!("{byte:02x}")))
}

/// Asks for a run, once. Its key is below zero, where none of DHIS2's own ever is.
pub fn ask(client: &mut Client, run: &str) -> Result<(), SqlError> {
    let insert = "INSERT INTO public.jobconfiguration (jobconfigurationid, uid, created, lastupdated, name, jobtype, jobstatus,
             lastexecutedstatus, schedulingtype, enabled, cancel, jsonbjobparameters)
         SELECT least(min(jobconfigurationid), 0) - 1, $1, localtimestamp, localtimestamp, $2, 'ANALYTICS_TABLE', 'SCHEDULED',
             'NOT_STARTED', 'ONCE_ASAP', true, false, $3::text::jsonb
         FROM public.jobconfiguration ON CONFLICT DO NOTHING";
    let name = format!("Analytics tables, asked for by dhis2-operator ({run})");
    client.execute(insert, &[&run, &name, &PARAMETERS]).map(drop)
}

/// Takes a run back, if DHIS2 has not begun.
pub fn take_back(client: &mut Client, run: &str) -> Result<bool, SqlError> {
    let delete = "DELETE FROM public.jobconfiguration WHERE uid = $1 AND jobstatus = 'SCHEDULED'";
    Ok(client.execute(delete, &[&run])? > 0)
}

/// DHIS2 makes one run after the other.
pub fn is_another_running(client: &mut Client) -> Result<bool, SqlError> {
    let running = "SELECT EXISTS (SELECT FROM public.jobconfiguration WHERE jobtype = 'ANALYTICS_TABLE' AND jobstatus = 'RUNNING')";
    client.query_one(running, &[])?.try_get(0)
}

/// The run, as DHIS2 tells it.
pub fn find(client: &mut Client, run: &str) -> Result<Option<Found>, SqlError> {
    let select = "SELECT jobstatus::text, lastexecutedstatus::text, enabled, lastfinished IS NOT NULL,
             coalesce(extract(epoch FROM lastfinished - lastexecuted), 0)::float8, progress::text
         FROM public.jobconfiguration WHERE uid = $1";
    let Some(row) = client.query_opt(select, &[&run])? else { return Ok(None) };
    let progress: Option<String> = row.try_get(5)?;
    let progress: Value = progress.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let told = Told {
        status: row.try_get(0)?,
        last: row.try_get(1)?,
        enabled: row.try_get(2)?,
        finished: row.try_get(3)?,
        // A job of more than centuries is none.
        seconds: Duration::try_from_secs_f64(row.try_get(4)?).unwrap_or_default().as_secs(),
        progress,
    };
    Ok(Some(Found { state: told.state(), stage: told.stages().last().and_then(|stage| text(stage, "description")) }))
}

/// What DHIS2 has written.
struct Told {
    status: String,
    last: String,
    enabled: bool,
    finished: bool,
    seconds: u64,
    progress: Value,
}

impl Told {
    fn state(&self) -> State {
        let seconds = self.seconds;
        match (&*self.status, self.finished) {
            ("RUNNING", _) => State::Running,
            (_, false) if self.enabled => State::Waiting,
            (_, false) => State::Failed { seconds, why: "somebody canceled it in DHIS2 before it had begun".to_owned() },
            _ => match self.failed_stage() {
                Some(why) => State::Failed { seconds, why },
                None if self.last == "COMPLETED" => State::Done { seconds },
                None => State::Failed { seconds, why: format!("it ended as {}: canceled, or DHIS2 ended meanwhile", self.last) },
            },
        }
    }

    /// A run whose stage failed ends as completed all the same (dhis2-core at 2.42.4.1, observed).
    fn failed_stage(&self) -> Option<String> {
        let failed = self.stages().find(|stage| stage["status"] == "ERROR")?;
        let [stage, error] = ["description", "error"].map(|field| text(failed, field).unwrap_or_default());
        Some(format!("{stage}: {}", without_data(&error)))
    }

    /// Of all processes of the run. Earlier releases write the list of processes itself.
    fn stages(&self) -> impl Iterator<Item = &Value> {
        let processes = self.progress.get("sequence").unwrap_or(&self.progress).as_array();
        processes.into_iter().flatten().filter_map(|process| process.get("stages")?.as_array()).flatten()
    }
}

fn text(of: &Value, field: &str) -> Option<String> {
    of.get(field)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(status: &str, last: &str, finished: bool, progress: Value) -> Told {
        Told { status: status.into(), last: last.into(), enabled: !finished, finished, seconds: 7, progress }
    }

    #[test]
    fn what_dhis2_calls_completed_is_done_only_when_no_stage_failed() {
        let stages = |last: &str| json!([{ "stages": [{ "description": "one", "status": "SUCCESS" }, { "description": "two", "status": last, "error": "no room for: \"Ana\"\nat all" }] }]);
        let failed = State::Failed { seconds: 7, why: "two: no room for: …".into() };
        for shape in [|list: Value| json!({ "sequence": list }), |list: Value| list] {
            let state = |status: &str| told("DISABLED", "COMPLETED", true, shape(stages(status))).state();
            assert_eq!(state("SUCCESS"), State::Done { seconds: 7 });
            assert_eq!(state("ERROR"), failed);
        }
        assert_eq!(told("DISABLED", "COMPLETED", true, Value::Null).state(), State::Done { seconds: 7 });
        let ended = told("DISABLED", "FAILED", true, json!({ "sequence": [] })).state();
        assert!(matches!(ended, State::Failed { why, .. } if why.contains("it ended as FAILED")));
    }

    #[test]
    fn what_has_not_ended_waits_or_runs_unless_somebody_canceled_it() {
        assert_eq!(told("SCHEDULED", "NOT_STARTED", false, Value::Null).state(), State::Waiting);
        assert_eq!(told("RUNNING", "NOT_STARTED", false, Value::Null).state(), State::Running);
        let canceled = Told { enabled: false, ..told("SCHEDULED", "STOPPED", false, Value::Null) };
        assert!(matches!(canceled.state(), State::Failed { why, .. } if why.contains("canceled")));
    }
}
