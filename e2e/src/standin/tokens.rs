//! Personal access tokens: `d2p_…`, of which only a digest is stored.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::accounts::{self, Account};
use super::dhis2::{self, Dhis2, Shared};
use super::login::Login;
use super::refusal::Refusal;

/// The owner of a token.
///
/// # Errors
/// 400 for a token that is unknown (observed); when the database fails.
pub async fn account(dhis2: &Arc<Dhis2>, token: &str) -> Result<Account, Refusal> {
    let unknown = || Refusal::BadRequest("The API token does not exist".to_owned());
    let query = "select username from apitoken join userinfo on userinfoid = createdby where key = $1 and expire > extract(epoch from now()) * 1000";
    let row = dhis2.client().await?.query_opt(query, &[&digest(token.trim())]).await?.ok_or_else(unknown)?;
    accounts::load(dhis2, row.get(0)).await?.ok_or_else(unknown)
}

/// `/api/apiToken`.
pub fn routes() -> Router<Arc<Dhis2>> {
    Router::new().route("/api/apiToken", post(create))
}

async fn create(State(dhis2): Shared, Login(account): Login, Json(wanted): Json<serde_json::Value>) -> Result<Response, Refusal> {
    if wanted.get("type").and_then(|kind| kind.as_str()).is_none_or(|kind| kind != "PERSONAL_ACCESS_TOKEN_V2") {
        return Err(Refusal::Conflict("Only tokens of type PERSONAL_ACCESS_TOKEN_V2 can be made".to_owned()));
    }
    let (uid, key) = (dhis2::uid(), format!("d2p_{}", dhis2::token(44)));
    let insert = "insert into apitoken (apitokenid, uid, createdby, type, expire, key)
        values (nextval('hibernate_sequence'), $1, $2, 'PERSONAL_ACCESS_TOKEN_V2', (extract(epoch from now()) * 1000)::bigint + 2592000000, $3)";
    dhis2.client().await?.execute(insert, &[&uid, &account.id, &digest(&key)]).await?;
    let answer = json!({ "httpStatus": "Created", "httpStatusCode": 201, "status": "OK", "response": { "key": key, "uid": uid } });
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

fn digest(token: &str) -> String {
    dhis2::hex(&Sha256::digest(token))
}
