//! What the server says of itself: ping, the login page's configuration, system information.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::dhis2::{Dhis2, Shared};
use super::log;
use super::login::Login;
use super::refusal::Refusal;

/// `/api/ping`, `/api/loginConfig`, `/api/system/…`.
pub fn routes() -> Router<Arc<Dhis2>> {
    Router::new()
        .route("/api/ping", get(|| async { ([(CACHE_CONTROL, "no-store")], "") }))
        .route("/api/loginConfig", get(login_config))
        .route("/api/system/ping", get(|_: Login| async { "pong" }))
        .route("/api/system/id", get(id))
        .route("/api/system/info", get(info))
}

/// Answered from cached settings, but not without a session to the database.
async fn login_config(State(dhis2): Shared) -> Result<Response, Refusal> {
    dhis2.watched.touch(&dhis2.pool).await?;
    let title = dhis2.settings.get("applicationTitle").unwrap_or_else(|| "DHIS 2".to_owned());
    Ok(Json(json!({
        "apiVersion": dhis2.version.to_string(),
        "applicationTitle": title,
        "applicationDescription": "",
        "applicationNotification": "",
        "countryFlag": "dhis2",
        "uiLocale": "en",
        "loginPageLogo": format!("{}/api/staticContent/logo_front.png", dhis2.context_path),
        "selfRegistrationEnabled": false,
        "emailConfigured": false,
        "minPasswordLength": "8",
        "maxPasswordLength": "72",
        "oidcProviders": [],
    }))
    .into_response())
}

async fn system_id(dhis2: &Arc<Dhis2>) -> Result<String, Refusal> {
    Ok(dhis2.client().await?.query_one("select systemid from configuration", &[]).await?.get(0))
}

async fn id(State(dhis2): Shared, _: Login) -> Result<Json<Value>, Refusal> {
    Ok(Json(json!({ "systemId": system_id(&dhis2).await? })))
}

async fn info(State(dhis2): Shared, Login(account): Login) -> Result<Json<Value>, Refusal> {
    let client = dhis2.client().await?;
    let database = client.query_one("select current_database(), version()", &[]).await?;
    drop(client);
    let analytics = dhis2.settings.get("keyLastSuccessfulAnalyticsTablesUpdate");
    let mut info = json!({
        "version": dhis2.version.to_string(),
        "revision": "standin",
        "serverDate": log::date(log::now()),
        "contextPath": dhis2.conf.get("server.base.url"),
        "instanceBaseUrl": dhis2.conf.get("server.base.url"),
        "calendar": "iso8601",
        "systemName": dhis2.settings.get("applicationTitle").unwrap_or_else(|| "DHIS 2".to_owned()),
        "systemId": system_id(&dhis2).await?,
        "lastAnalyticsTableSuccess": analytics.unwrap_or_else(|| "1970-01-01T00:00:00.000".to_owned()),
        "databaseInfo": { "spatialSupport": true, "name": database.get::<_, String>(0), "databaseVersion": database.get::<_, String>(1) },
    });
    if account.is_superuser() {
        let (used, committed, max) = dhis2.heap.figures();
        let more = json!({
            "encryption": dhis2.settings.is_encryption_configured(),
            "fileStoreProvider": "filesystem",
            "externalDirectory": dhis2.home.display().to_string(),
            "nodeId": dhis2.conf.get("node.id"),
            "redisEnabled": false,
            "readReplicaCount": 0,
            "memoryInfo": format!("Mem Total in JVM: {} Free in JVM: {} Max Limit: {}", committed >> 20, committed.saturating_sub(used) >> 20, max >> 20),
        });
        if let (Some(info), Value::Object(more)) = (info.as_object_mut(), more) {
            info.extend(more);
        }
    }
    Ok(Json(info))
}
