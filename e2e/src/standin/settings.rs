//! System settings: rows of `systemsetting`, cached in this process, confidential ones encrypted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, Query, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio_postgres::{Client, Error};

use super::cipher::{Cipher, MINIMUM};
use super::dhis2::{Dhis2, Shared};
use super::log::Log;
use super::login::Login;
use super::refusal::Refusal;

/// Settings that are encrypted (dhis2-core's `SystemSettings`, annotated `@Confidential`, read).
const CONFIDENTIAL: [&str; 4] = ["keyEmailPassword", "keyRemoteInstancePassword", "keyGoogleMapsApiKey", "recaptchaSecret"];

/// The settings as this server knows them.
pub struct Settings {
    cipher: Cipher,
    encryption: bool,
    cached: Mutex<BTreeMap<String, String>>,
}

impl Settings {
    /// Reads all rows. Values that the key does not open are warned of and read as "".
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read(client: &Client, password: &str, log: &Log) -> Result<Self, Error> {
        let encryption = password.is_empty() || password.chars().count() >= MINIMUM;
        if !encryption {
            log.warn(
                "EncryptionStatus",
                &format!("Encryption not configured: encryption password is too short, minimum {MINIMUM} characters"),
            );
        }
        let settings = Self { cipher: Cipher::new(password), encryption, cached: Mutex::default() };
        settings.reload(client, log).await?;
        Ok(settings)
    }

    /// Reads all rows again, as clearing the caches does.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reload(&self, client: &Client, log: &Log) -> Result<(), Error> {
        let rows = client.query("select name, coalesce(value, '') from systemsetting", &[]).await?;
        let mut values = BTreeMap::new();
        for row in rows {
            let (name, mut value): (String, String) = (row.get(0), row.get(1));
            if CONFIDENTIAL.contains(&&*name) {
                value = self.cipher.decrypt(&value).unwrap_or_else(|| {
                    log.warn("SystemSettings", &format!("Could not decrypt system setting '{name}'"));
                    String::new()
                });
            }
            values.insert(name, value);
        }
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = values;
        Ok(())
    }

    /// The value, if it was ever set.
    pub fn get(&self, name: &str) -> Option<String> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Whether the key is one that DHIS2 is content with.
    pub fn is_encryption_configured(&self) -> bool {
        self.encryption
    }

    fn all(&self) -> BTreeMap<String, String> {
        let mut values = self.cached.lock().unwrap_or_else(PoisonError::into_inner).clone();
        values.retain(|name, _| !CONFIDENTIAL.contains(&&**name));
        values
    }
}

/// Stores a value and remembers it.
///
/// # Errors
/// When the database fails.
pub async fn store(dhis2: &Arc<Dhis2>, name: &str, value: &str) -> Result<(), Refusal> {
    let settings = &dhis2.settings;
    let stored = if CONFIDENTIAL.contains(&name) {
        settings.cipher.encrypt(value).ok_or_else(|| Refusal::Failed(format!("encrypt {name}")))?
    } else {
        value.to_owned()
    };
    let client = dhis2.client().await?;
    client
        .execute(
            "insert into systemsetting (systemsettingid, name, value) values (nextval('hibernate_sequence'), $1, $2)
             on conflict (name) do update set value = excluded.value",
            &[&name, &stored],
        )
        .await?;
    settings.cached.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), value.to_owned());
    Ok(())
}

/// `/api/systemSettings`.
pub fn routes() -> Router<Arc<Dhis2>> {
    Router::new().route("/api/systemSettings", get(list)).route("/api/systemSettings/{name}", get(read).post(write).delete(remove))
}

async fn list(State(dhis2): Shared, _: Login) -> Json<BTreeMap<String, String>> {
    Json(dhis2.settings.all())
}

async fn read(State(dhis2): Shared, Login(account): Login, Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Refusal> {
    if CONFIDENTIAL.contains(&&*name) {
        account.require("F_SYSTEM_SETTING")?;
    }
    let value = dhis2.settings.get(&name).unwrap_or_default();
    let json = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains("json"));
    Ok(if json { Json(json!({ name: value })).into_response() } else { value.into_response() })
}

async fn write(
    State(dhis2): Shared,
    Login(account): Login,
    Path(name): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: String,
) -> Result<Response, Refusal> {
    account.require("F_SYSTEM_SETTING")?;
    let is_json = headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    let body = if is_json { serde_json::from_str(&body).unwrap_or(body) } else { body };
    let value = query.get("value").cloned().unwrap_or(body);
    if value.is_empty() {
        return Err(Refusal::Conflict("Value must be specified as query param or as payload".to_owned()));
    }
    store(&dhis2, &name, &value).await?;
    let message = format!("System setting '{name}' set to value '{value}'.");
    Ok(Json(json!({ "httpStatus": "OK", "httpStatusCode": 200, "status": "OK", "message": message })).into_response())
}

async fn remove(State(dhis2): Shared, Login(account): Login, Path(name): Path<String>) -> Result<StatusCode, Refusal> {
    account.require("F_SYSTEM_SETTING")?;
    dhis2.client().await?.execute("delete from systemsetting where name = $1", &[&name]).await?;
    dhis2.settings.cached.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
    Ok(StatusCode::NO_CONTENT)
}
