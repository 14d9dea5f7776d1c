//! The API of users and roles: making them, finding them, changing passwords.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::accounts;
use super::dhis2::{self, Dhis2, Shared};
use super::login::Login;
use super::passwords;
use super::refusal::Refusal;

/// `/api/users`, `/api/userRoles`, `/api/me/changePassword`.
pub fn routes() -> Router<Arc<Dhis2>> {
    Router::new()
        .route("/api/me/changePassword", put(change_password))
        .route("/api/users", get(find_users).post(create_user))
        .route("/api/users/{uid}", get(read_user).patch(patch_user))
        .route("/api/userRoles", get(find_roles).post(create_role))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    #[serde(default)]
    old_password: String,
    #[serde(default)]
    new_password: String,
}

async fn change_password(State(dhis2): Shared, Login(account): Login, Json(change): Json<Change>) -> Result<StatusCode, Refusal> {
    if change.old_password.is_empty() || change.new_password.is_empty() {
        return Err(Refusal::Conflict("OldPassword and newPassword must be provided".to_owned()));
    }
    if !accounts::is_password(&account, &change.old_password).await {
        return Err(Refusal::Conflict("OldPassword is incorrect".to_owned()));
    }
    accounts::set_password(&dhis2, &account.username, &change.new_password).await?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize)]
struct Step {
    op: String,
    path: String,
    #[serde(default)]
    value: Value,
}

async fn patch_user(State(dhis2): Shared, Login(account): Login, Path(uid): Path<String>, body: String) -> Result<Response, Refusal> {
    account.require("F_USER_ADD")?;
    let steps: Vec<Step> = serde_json::from_str(&body).map_err(|error| Refusal::BadRequest(error.to_string()))?;
    let row = dhis2.client().await?.query_opt("select username from userinfo where uid = $1", &[&uid]).await?;
    let username: String = row.ok_or_else(|| Refusal::NotFound(format!("User with id {uid} could not be found.")))?.get(0);
    for step in steps {
        match (&*step.op, &*step.path, &step.value) {
            ("replace" | "add", "/password", Value::String(password)) => {
                accounts::set_password(&dhis2, &username, password).await?;
            }
            ("replace" | "add", "/disabled", Value::Bool(disabled)) => {
                dhis2.client().await?.execute("update userinfo set disabled = $2 where uid = $1", &[&uid, disabled]).await?;
                accounts::changed(&dhis2, &username);
            }
            _ => {
                return Err(Refusal::BadRequest(format!("The stand-in can't {} {}", step.op, step.path)));
            }
        }
    }
    Ok(Json(report("User", &uid, "OK", 200)).into_response())
}

#[derive(Deserialize)]
struct Reference {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewUser {
    id: Option<String>,
    username: String,
    password: String,
    #[serde(default)]
    first_name: String,
    #[serde(default)]
    surname: String,
    #[serde(default)]
    user_roles: Vec<Reference>,
}

async fn create_user(State(dhis2): Shared, Login(account): Login, Json(new): Json<NewUser>) -> Result<Response, Refusal> {
    account.require("F_USER_ADD")?;
    if let Some(why) = passwords::refusal(&new.password, &new.username) {
        return Err(Refusal::Conflict(why.to_owned()));
    }
    if new.user_roles.is_empty() {
        return Err(Refusal::Conflict("Missing required property `userRoles`.".to_owned()));
    }
    let (uid, hash) = (new.id.unwrap_or_else(dhis2::uid), accounts::hash(&new.password).await?);
    let mut client = dhis2.client().await?;
    let transaction = client.transaction().await?;
    let insert = "insert into userinfo (userinfoid, uid, username, password, passwordlastupdated, firstname, surname)
        values (nextval('hibernate_sequence'), $1, $2, $3, now(), $4, $5) returning userinfoid";
    let id: i64 = transaction.query_one(insert, &[&uid, &new.username, &hash, &new.first_name, &new.surname]).await?.get(0);
    transaction.execute("insert into previouspasswords values ($1, 0, $2)", &[&id, &hash]).await?;
    for role in &new.user_roles {
        let member = "insert into userrolemembers select $1, userroleid from userrole where uid = $2";
        if transaction.execute(member, &[&id, &role.id]).await? == 0 {
            return Err(Refusal::Conflict(format!("Invalid reference [{}] (UserRole)", role.id)));
        }
    }
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(report("User", &uid, "Created", 201))).into_response())
}

/// `filter=<field>:eq:<value>` of this field, or `query=<value>`.
fn wanted<'a>(query: &'a BTreeMap<String, String>, field: &str) -> Option<&'a str> {
    let filter = query.get("filter").and_then(|filter| filter.strip_prefix(field)?.strip_prefix(":eq:"));
    filter.or_else(|| query.get("query").map(String::as_str))
}

async fn find_users(
    State(dhis2): Shared,
    Login(account): Login,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Refusal> {
    account.require("F_USER_VIEW")?;
    let username = wanted(&query, "username");
    let select = "select uid, username from userinfo where $1::text is null or username = $1 order by username";
    let rows = dhis2.client().await?.query(select, &[&username]).await?;
    let users: Vec<Value> = rows.iter().map(|row| json!({ "id": row.get::<_, String>(0), "username": row.get::<_, String>(1) })).collect();
    Ok(Json(json!({ "pager": { "page": 1, "total": users.len(), "pageSize": 50, "pageCount": 1 }, "users": users })))
}

async fn read_user(State(dhis2): Shared, _: Login, Path(uid): Path<String>) -> Result<Json<Value>, Refusal> {
    let select = "select username, disabled, coalesce(firstname, ''), coalesce(surname, ''),
        array(select r.uid from userrolemembers join userrole r using (userroleid) where userid = userinfoid)
        from userinfo where uid = $1";
    let row = dhis2.client().await?.query_opt(select, &[&uid]).await?;
    let row = row.ok_or_else(|| Refusal::NotFound(format!("User with id {uid} could not be found.")))?;
    let roles: Vec<Value> = row.get::<_, Vec<String>>(4).into_iter().map(|id| json!({ "id": id })).collect();
    Ok(Json(json!({
        "id": uid,
        "username": row.get::<_, String>(0),
        "disabled": row.get::<_, bool>(1),
        "firstName": row.get::<_, String>(2),
        "surname": row.get::<_, String>(3),
        "userRoles": roles,
    })))
}

async fn find_roles(State(dhis2): Shared, _: Login, Query(query): Query<BTreeMap<String, String>>) -> Result<Json<Value>, Refusal> {
    let name = wanted(&query, "name");
    let select = "select uid, name from userrole where $1::text is null or name = $1 order by name";
    let rows = dhis2.client().await?.query(select, &[&name]).await?;
    let roles: Vec<Value> =
        rows.iter().map(|row| json!({ "id": row.get::<_, String>(0), "displayName": row.get::<_, String>(1) })).collect();
    Ok(Json(json!({ "pager": { "page": 1, "total": roles.len(), "pageSize": 50, "pageCount": 1 }, "userRoles": roles })))
}

#[derive(Deserialize)]
struct NewRole {
    id: Option<String>,
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    authorities: Vec<String>,
}

async fn create_role(State(dhis2): Shared, Login(account): Login, Json(new): Json<NewRole>) -> Result<Response, Refusal> {
    account.require("F_USERROLE_PUBLIC_ADD")?;
    let uid = new.id.unwrap_or_else(dhis2::uid);
    let mut client = dhis2.client().await?;
    let transaction = client.transaction().await?;
    let insert =
        "insert into userrole (userroleid, uid, name, description) values (nextval('hibernate_sequence'), $1, $2, $3) returning userroleid";
    let id: i64 = transaction.query_one(insert, &[&uid, &new.name, &new.description]).await?.get(0);
    for authority in &new.authorities {
        transaction.execute("insert into userroleauthorities values ($1, $2) on conflict do nothing", &[&id, authority]).await?;
    }
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(report("UserRole", &uid, "Created", 201))).into_response())
}

/// DHIS2's answer to an object that was stored.
pub fn report(kind: &str, uid: &str, status: &str, code: u16) -> Value {
    json!({
        "httpStatus": status,
        "httpStatusCode": code,
        "status": "OK",
        "response": { "responseType": "ObjectReport", "klass": format!("org.hisp.dhis.{kind}"), "uid": uid, "errorReports": [] },
    })
}
