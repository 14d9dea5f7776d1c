//! Who sends a request: HTTP Basic, a personal access token, or the cookie of a form login; and the form login itself.

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::json;

use super::accounts::{self, Account};
use super::dhis2::{Dhis2, Shared};
use super::pool;
use super::refusal::Refusal;
use super::sessions;
use super::tokens;

/// Bad form logins after which an account is locked, if lock-out is on (observed; Basic is never locked).
const LOCKED_AFTER: u32 = 4;

/// The user of a request; taking it refuses the request when there is none.
pub struct Login(pub Account);

impl FromRequestParts<Arc<Dhis2>> for Login {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, dhis2: &Arc<Dhis2>) -> Result<Self, Refusal> {
        let authorization = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if let Some(credentials) = authorization.strip_prefix("Basic ") {
            return basic(dhis2, credentials).await.map(Self);
        }
        if let Some(token) = authorization.strip_prefix("ApiToken ") {
            return tokens::account(dhis2, token).await.map(Self);
        }
        if let Some(username) = cookie(&parts.headers).and_then(|id| dhis2.sessions.user(&id))
            && let Some(account) = accounts::load(dhis2, &username).await?
        {
            return Ok(Self(account));
        }
        // Only scripts of the front end are told 401; all others are sent to the login page, whatever they accept.
        if parts.headers.get("x-requested-with").is_some_and(|value| value == "XMLHttpRequest") {
            return Err(Refusal::Unauthorized);
        }
        Err(Refusal::Redirect(format!("{}{}", dhis2.context_path, dhis2.version.login_page())))
    }
}

/// A database that is gone looks like a wrong password (observed); one that is full does not.
async fn basic(dhis2: &Arc<Dhis2>, credentials: &str) -> Result<Account, Refusal> {
    let decoded = BASE64_STANDARD.decode(credentials.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let Some((username, password)) = decoded.as_deref().and_then(|text| text.split_once(':')) else {
        return Err(Refusal::Unauthorized);
    };
    match accounts::authenticate(dhis2, username, password).await {
        Ok(account) => account.ok_or(Refusal::Unauthorized),
        Err(error) if pool::is_exhausted(&error) => Err(error.into()),
        Err(error) => {
            dhis2.log.warn("CustomAuthenticationProvider", &format!("Unable to acquire JDBC Connection: {error}"));
            Err(Refusal::Unauthorized)
        }
    }
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    pairs.flat_map(|value| value.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == sessions::COOKIE).then(|| value.to_owned())
    })
}

/// The form login and its page.
pub fn routes(dhis2: &Dhis2) -> Router<Arc<Dhis2>> {
    Router::new()
        .route(
            "/",
            get(|State(dhis2): Shared| async move {
                Refusal::Redirect(format!("{}{}", dhis2.context_path, dhis2.version.login_page())).into_response()
            }),
        )
        .route(dhis2.version.login_page(), get(page))
        .route("/api/auth/login", post(form))
        .route("/api/me", get(me))
}

#[derive(Deserialize)]
struct Form {
    username: String,
    password: String,
}

async fn form(State(dhis2): Shared, Json(form): Json<Form>) -> Result<Response, Refusal> {
    let lockout = dhis2.settings.get("keyLockMultipleFailedLogins").as_deref() == Some("true");
    if lockout && dhis2.accounts.failures(&form.username) >= LOCKED_AFTER {
        return Ok(Json(json!({ "loginStatus": "ACCOUNT_LOCKED" })).into_response());
    }
    let account = accounts::authenticate(&dhis2, &form.username, &form.password).await?;
    dhis2.accounts.count_failure(&form.username, account.is_none());
    let Some(account) = account else {
        return Err(Refusal::Unauthorized);
    };
    let id = dhis2.sessions.begin(&account.username);
    let secure = if dhis2.conf.is_on("server.https", false) { "; Secure" } else { "" };
    let cookie = format!("{}={id}; Path={}/; HttpOnly; SameSite=Lax{secure}", sessions::COOKIE, dhis2.context_path);
    let answer = json!({ "loginStatus": "SUCCESS", "redirectUrl": format!("{}/dhis-web-dashboard/", dhis2.context_path) });
    Ok((StatusCode::OK, [(SET_COOKIE, cookie)], Json(answer)).into_response())
}

async fn me(Login(account): Login) -> Json<serde_json::Value> {
    Json(json!({
        "id": account.uid,
        "username": account.username,
        "firstName": account.name.0,
        "surname": account.name.1,
        "displayName": format!("{} {}", account.name.0, account.name.1),
        "authorities": account.authorities(),
    }))
}

async fn page(State(dhis2): Shared) -> Html<String> {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/standin/login.html"));
    let title = dhis2.settings.get("applicationTitle").unwrap_or_else(|| "DHIS 2".to_owned());
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    Html(page.replace("{title}", &title).replace("{version}", &dhis2.version.to_string()).replace("{context}", &dhis2.context_path))
}
