//! DHIS2's analytics tables: generated as a person does it, and what is told of them later.

use std::time::Duration;

use serde_json::{Value, json};

use super::door::{Account, Door, Scheme};
use super::instance::{Instance, condition};
use super::{Outcome, Story, wait};

/// How long an empty DHIS2 may take.
const GENERATED: Duration = Duration::from_mins(3);

/// Has them generated, as the app Data Administration does.
///
/// # Errors
/// When DHIS2 does not do it.
pub async fn generate(door: &Door, admin: &Account) -> Outcome {
    let ask = |method: &'static str, path: String| {
        let (door, admin) = (door.clone(), admin.clone());
        tokio::task::spawn_blocking(move || {
            let answer = door.send(method, Scheme::Http, &path, Some(&admin), Some(&json!({}))).map_err(|error| error.to_string())?;
            serde_json::from_str::<Value>(&answer.body).map_err(|error| format!("{error}: {answer:?}"))
        })
    };
    let asked = ask("POST", "/api/resourceTables/analytics".to_owned()).await??;
    let id = asked.pointer("/response/id").and_then(Value::as_str).ok_or_else(|| format!("no run: {asked}"))?.to_owned();
    wait::ask("the analytics tables", GENERATED, async || {
        let notes = ask("GET", format!("/api/system/tasks/ANALYTICS_TABLE/{id}")).await.map_err(|error| error.to_string())??;
        if notes.pointer("/0/completed") == Some(&json!(true)) { Ok(()) } else { Err(notes.to_string()) }
    })
    .await
    .map_err(Into::into)
}

/// How many rows the first of them has; none where it is not there, as after a restore.
///
/// # Errors
/// When the database does not tell.
pub fn rows(story: &Story, instance: &str) -> Outcome<u64> {
    if story.sql(instance, "select to_regclass('analytics_rs_orgunitstructure') is null")? == "t" {
        return Ok(0);
    }
    Ok(story.sql(instance, "select count(*) from analytics_rs_orgunitstructure")?.parse()?)
}

/// Waits until `AnalyticsFresh` says this, with this status. Returns its message.
///
/// # Errors
/// When it does not.
pub async fn told(instance: &Instance, status: &str, words: &str) -> Outcome<String> {
    let told = |seen: &_| condition(seen, "AnalyticsFresh").filter(|told| told.status == status && told.message.contains(words)).cloned();
    let seen = instance.when(&format!("AnalyticsFresh: {words}"), |seen| told(seen).is_some()).await?;
    Ok(told(&seen).map(|told| told.message).unwrap_or_default())
}
