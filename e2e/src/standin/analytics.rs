//! Analytics runs: queued in `jobconfiguration`, done by whichever server finds them, with a trail of notes in the memory
//! of that server. A run that fails ends as "completed" all the same; only its stages tell.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_postgres::Error;

use super::dhis2::{self, Dhis2, Shared};
use super::log;
use super::login::Login;
use super::refusal::Refusal;
use super::settings;

/// What is known of the runs of this server.
#[derive(Default)]
pub struct Runs {
    runs: Mutex<HashMap<String, Run>>,
}

#[derive(Clone, Default)]
struct Run {
    notes: Vec<Value>,
    stages: Vec<Value>,
}

impl Runs {
    fn note(&self, uid: &str, message: &str, completed: bool) {
        let note = json!({
            "uid": dhis2::uid(), "level": "INFO", "category": "ANALYTICS_TABLE",
            "time": log::date(log::now()), "message": message, "completed": completed,
        });
        self.with(uid, |run| run.notes.insert(0, note));
    }

    fn stage(&self, uid: &str, description: &str, status: &str, error: Option<&str>) {
        self.with(uid, |run| {
            let stage = json!({ "description": description, "status": status, "error": error });
            run.stages.push(stage);
        });
    }

    fn with(&self, uid: &str, change: impl FnOnce(&mut Run)) {
        change(self.runs.lock().unwrap_or_else(PoisonError::into_inner).entry(uid.to_owned()).or_default());
    }

    fn progress(&self, uid: &str) -> Value {
        let run = self.get(uid);
        if run.stages.is_empty() {
            return json!({ "sequence": [] });
        }
        json!({ "sequence": [{ "description": "Analytics table update process", "stages": run.stages }] })
    }

    fn get(&self, uid: &str) -> Run {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned().unwrap_or_default()
    }
}

/// `/api/resourceTables/analytics` and the ways to follow a run.
pub fn routes() -> Router<Arc<Dhis2>> {
    Router::new()
        .route("/api/resourceTables/analytics", post(ask).put(ask))
        .route("/api/system/tasks/ANALYTICS_TABLE/{uid}", get(notes))
        .route("/api/jobConfigurations", get(list))
        .route("/api/jobConfigurations/{uid}/progress", get(progress))
        .route("/api/jobConfigurations/{uid}/revert", post(revert))
}

async fn ask(State(dhis2): Shared, Login(account): Login) -> Result<Json<Value>, Refusal> {
    account.require("F_PERFORM_MAINTENANCE")?;
    let uid = dhis2::uid();
    let insert =
        "insert into jobconfiguration (jobconfigurationid, uid, created, lastupdated, name, jobtype, jobstatus, lastexecutedstatus,
            schedulingtype, enabled, jsonbjobparameters)
        values (nextval('hibernate_sequence'), $1, now(), now(), $2, 'ANALYTICS_TABLE', 'SCHEDULED', 'NOT_STARTED', 'ONCE_ASAP', true,
            jsonb_build_array($3::text, '{}'::jsonb))";
    let name = format!("ANALYTICS_TABLE ({uid})");
    dhis2.client().await?.execute(insert, &[&uid, &name, &PARAMETERS]).await?;
    Ok(Json(json!({
        "httpStatus": "OK", "httpStatusCode": 200, "status": "OK", "message": "Initiated ANALYTICS_TABLE",
        "response": {
            "responseType": "JobConfigurationWebMessageResponse", "id": uid, "jobType": "ANALYTICS_TABLE", "jobStatus": "SCHEDULED",
            "relativeNotifierEndpoint": format!("/api/system/tasks/ANALYTICS_TABLE/{uid}"),
        },
    })))
}

/// Newest first; empty for runs that have not begun and for names that nobody knows.
async fn notes(State(dhis2): Shared, _: Login, Path(uid): Path<String>) -> Json<Vec<Value>> {
    Json(dhis2.runs.get(&uid).notes)
}

async fn progress(State(dhis2): Shared, _: Login, Path(uid): Path<String>) -> Json<Value> {
    Json(dhis2.runs.progress(&uid))
}

async fn list(State(dhis2): Shared, _: Login) -> Result<Json<Value>, Refusal> {
    let select = "select uid, name, jobtype, jobstatus from jobconfiguration order by jobconfigurationid";
    let rows = dhis2.client().await?.query(select, &[]).await?;
    let text = |row: &tokio_postgres::Row, at: usize| row.get::<_, String>(at);
    let jobs: Vec<Value> = rows
        .iter()
        .map(|row| json!({ "id": text(row, 0), "displayName": text(row, 1), "jobType": text(row, 2), "jobStatus": text(row, 3) }))
        .collect();
    Ok(Json(json!({ "jobConfigurations": jobs })))
}

/// Frees the queue from a run whose server is gone.
async fn revert(State(dhis2): Shared, Login(account): Login, Path(uid): Path<String>) -> Result<StatusCode, Refusal> {
    account.require("F_PERFORM_MAINTENANCE")?;
    let update = "update jobconfiguration set jobstatus = 'DISABLED', lastexecutedstatus = 'STOPPED', enabled = false where uid = $1 and jobstatus = 'RUNNING'";
    match dhis2.client().await?.execute(update, &[&uid]).await? {
        0 => Err(Refusal::Conflict(format!("Job {uid} is not running"))),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// The class of a run's parameters, by which they are read.
const PARAMETERS: &str = "org.hisp.dhis.scheduling.parameters.AnalyticsJobParameters";

/// Looks for runs that were asked for, by whomever, and does them, one after the other; ends with the process.
pub async fn work(dhis2: Arc<Dhis2>) {
    loop {
        sleep(dhis2.timing.analytics_wait).await;
        // Without a database there is nothing to find; `outage` tells of it.
        while let Ok(Some((uid, class))) = claim(&dhis2).await {
            if class.as_deref() == Some(PARAMETERS) {
                run(&dhis2, &uid).await;
            } else {
                let why = format!("Job failed: '{uid}': its parameters are {class:?}");
                dhis2.log.error("DefaultJobSchedulerLoopService", &why);
                // Whoever waits for it sees that it is not over.
                let _ = finish(&dhis2, &uid, "FAILED").await;
            }
        }
    }
}

/// The end of a run that is made once.
async fn finish(dhis2: &Arc<Dhis2>, uid: &str, status: &str) -> Result<(), Error> {
    let update = "update jobconfiguration set jobstatus = 'DISABLED', lastexecutedstatus = $2, enabled = false, lastfinished = now(), lastalive = null
        where uid = $1";
    dhis2.client().await?.execute(update, &[&uid, &status]).await.map(drop)
}

/// The oldest waiting run and the class of its parameters, unless another one is running. One without a sign of life has failed.
async fn claim(dhis2: &Arc<Dhis2>) -> Result<Option<(String, Option<String>)>, Error> {
    let stale = "update jobconfiguration set jobstatus = 'DISABLED', lastexecutedstatus = 'FAILED', enabled = false, lastfinished = now(), lastalive = null
        where jobtype = 'ANALYTICS_TABLE' and jobstatus = 'RUNNING' and lastalive <= now() - make_interval(secs => $1)";
    let start = "update jobconfiguration set jobstatus = 'RUNNING', lastexecuted = now(), lastalive = now(), progress = null, cancel = false
        where jobconfigurationid = (select jobconfigurationid from jobconfiguration where jobtype = 'ANALYTICS_TABLE' and jobstatus = 'SCHEDULED'
            and enabled and schedulingtype = 'ONCE_ASAP' and queueposition is null order by created limit 1)
        and not exists (select 1 from jobconfiguration where jobtype = 'ANALYTICS_TABLE' and jobstatus = 'RUNNING')
        returning uid, jsonbjobparameters ->> 0";
    let dead = dhis2.timing.job_dead.as_secs_f64();
    let client = dhis2.client().await?;
    client.execute(stale, &[&dead]).await?;
    Ok(client.query_opt(start, &[]).await?.map(|row| (row.get(0), row.get(1))))
}

async fn run(dhis2: &Arc<Dhis2>, uid: &str) {
    let begun = log::date(log::now());
    dhis2.runs.note(uid, "Analytics table update process started", false);
    for (description, sql) in stages(dhis2) {
        sleep(dhis2.timing.analytics / 3).await;
        let done = async {
            let mut client = dhis2.client().await?;
            client.execute("update jobconfiguration set lastalive = now() where uid = $1", &[&uid]).await?;
            let transaction = client.transaction().await?;
            transaction.batch_execute(&sql).await?;
            transaction.commit().await
        };
        let error = done.await.err().map(|error: Error| error.to_string());
        if let Some(error) = &error {
            dhis2.log.error("JdbcAnalyticsTableManager", &format!("{description}: {error}"));
        }
        dhis2.runs.note(uid, description, false);
        let status = if error.is_some() { "ERROR" } else { "SUCCESS" };
        dhis2.runs.stage(uid, description, status, error.as_deref());
        // Told late where the database is away just now.
        let _ = tell(dhis2, uid).await;
    }
    let done = async {
        settings::store(dhis2, "keyLastSuccessfulAnalyticsTablesUpdate", &begun).await?;
        finish(dhis2, uid, "COMPLETED").await.map_err(Refusal::from)
    };
    if done.await.is_ok() {
        dhis2.runs.note(uid, "Analytics tables updated", true);
    }
}

/// How far a run is, in its row.
async fn tell(dhis2: &Arc<Dhis2>, uid: &str) -> Result<(), Error> {
    let progress = dhis2.runs.progress(uid).to_string();
    let update = "update jobconfiguration set progress = $2::text::jsonb, lastalive = now() where uid = $1";
    dhis2.client().await?.execute(update, &[&uid, &progress]).await.map(drop)
}

/// Tables that are rebuilt from others, under the names that backups leave out.
fn stages(dhis2: &Dhis2) -> [(&'static str, String); 3] {
    let unlogged = if dhis2.conf.is_on("analytics.table.unlogged", true) { "unlogged" } else { "" };
    let rebuild = |name: &str, query: &str| format!("drop table if exists {name} cascade; create {unlogged} table {name} as {query}");
    [
        ("Generating organisation unit structures", rebuild(
            "analytics_rs_orgunitstructure",
            "select organisationunitid, uid as organisationunituid, hierarchylevel as level, path from organisationunit",
        )),
        ("Generating period structures", rebuild(
            "analytics_rs_periodstructure",
            "select periodid, startdate, enddate, extract(year from startdate)::int as year from period",
        )),
        ("Populating analytics tables", rebuild(
            "analytics",
            "select d.uid as dx, o.uid as ou, r.year, v.value as textvalue from datavalue v join dataelement d using (dataelementid)
             join organisationunit o on o.organisationunitid = v.sourceid join analytics_rs_periodstructure r using (periodid) where not v.deleted",
        )),
    ]
}
