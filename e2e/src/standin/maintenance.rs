//! Maintenance: clearing caches, dropping and creating the views of SQL views.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;

use super::dhis2::{self, Dhis2, Shared};
use super::login::Login;
use super::refusal::Refusal;
use super::users::report;

/// `/api/maintenance`, `/api/sqlViews`.
pub fn routes() -> Router<Arc<Dhis2>> {
    Router::new()
        .route("/api/maintenance", post(many).put(many))
        .route("/api/maintenance/{task}", post(one).put(one))
        .route("/api/sqlViews", post(create_view))
}

async fn many(State(dhis2): Shared, Login(account): Login, Query(query): Query<BTreeMap<String, String>>) -> Result<StatusCode, Refusal> {
    account.require("F_PERFORM_MAINTENANCE")?;
    for (task, _) in query.iter().filter(|(_, wanted)| *wanted == "true") {
        perform(&dhis2, task).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn one(State(dhis2): Shared, Login(account): Login, Path(task): Path<String>) -> Result<StatusCode, Refusal> {
    account.require("F_PERFORM_MAINTENANCE")?;
    perform(&dhis2, &task).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn perform(dhis2: &Arc<Dhis2>, task: &str) -> Result<(), Refusal> {
    let client = dhis2.client().await?;
    match task {
        "cacheClear" => {
            dhis2.accounts.clear();
            dhis2.settings.reload(&client, &dhis2.log).await?;
        }
        "sqlViewsDrop" | "sqlViewsCreate" => {
            for row in client.query("select name, sqlquery from sqlview order by sqlviewid", &[]).await? {
                let name = view_name(row.get(0));
                let mut statement = format!("drop view if exists {name};");
                if task == "sqlViewsCreate" {
                    statement = format!("{statement} create view {name} as {};", row.get::<_, String>(1));
                }
                client.batch_execute(&statement).await?;
            }
        }
        _ => {
            return Err(Refusal::NotFound(format!("The stand-in has no maintenance task {task}")));
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewView {
    id: Option<String>,
    name: String,
    sql_query: String,
}

async fn create_view(State(dhis2): Shared, Login(account): Login, Json(new): Json<NewView>) -> Result<Response, Refusal> {
    account.require("F_SQLVIEW_PUBLIC_ADD")?;
    let uid = new.id.unwrap_or_else(dhis2::uid);
    let client = dhis2.client().await?;
    let insert = "insert into sqlview (sqlviewid, uid, name, sqlquery, type) values (nextval('hibernate_sequence'), $1, $2, $3, 'VIEW')";
    client.execute(insert, &[&uid, &new.name, &new.sql_query]).await?;
    client.batch_execute(&format!("create or replace view {} as {}", view_name(&new.name), new.sql_query)).await?;
    Ok((StatusCode::CREATED, Json(report("SqlView", &uid, "Created", 201))).into_response())
}

/// Views are named `_view_<name>`, in lower case with anything but letters and digits replaced.
fn view_name(name: &str) -> String {
    let name: String = name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("_view_{name}")
}
