//! Answers that are no success, in DHIS2's form.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::json;
use tokio_postgres::Error;

use super::heap::OutOfMemory;
use super::pool;

/// Why a request is refused.
#[derive(Debug)]
pub enum Refusal {
    /// No login: a browser is sent to the login page.
    Redirect(String),
    /// Wrong credentials.
    Unauthorized,
    /// A login without this authority.
    Forbidden(&'static str),
    /// Nothing has this name.
    NotFound(String),
    /// The server's rules forbid it.
    Conflict(String),
    /// The request can't be understood.
    BadRequest(String),
    /// The server can't answer in the form that is asked for.
    NotAcceptable,
    /// The server's fault.
    Failed(String),
}

/// What went wrong, for the log; it travels with the answer and is not sent.
#[derive(Clone, Debug)]
pub struct Cause(pub String);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let Some(db) = error.as_db_error() else {
            return Self::Failed(error.to_string());
        };
        // Class 23 is a broken constraint. Writing to a read-only database is 409 as well (2.42.4.1, observed).
        if pool::is_read_only(&error) || db.code().code().starts_with("23") {
            return Self::Conflict(db.message().to_owned());
        }
        Self::Failed(format!("ERROR: {}", db.message()))
    }
}

impl From<OutOfMemory> for Refusal {
    fn from(error: OutOfMemory) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Redirect(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
            Self::Unauthorized => message(StatusCode::UNAUTHORIZED, "Unauthorized", None),
            Self::Forbidden(authority) => {
                message(StatusCode::FORBIDDEN, &format!("Access is denied, requires one Authority from [{authority}]"), Some("E1006"))
            }
            Self::NotFound(what) => message(StatusCode::NOT_FOUND, &what, Some("E1005")),
            Self::Conflict(why) => message(StatusCode::CONFLICT, &why, Some("E1004")),
            Self::BadRequest(why) => message(StatusCode::BAD_REQUEST, &why, Some("E1003")),
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE.into_response(),
            Self::Failed(why) => {
                let mut response = message(StatusCode::INTERNAL_SERVER_ERROR, "An unexpected error has occured", None);
                response.extensions_mut().insert(Cause(why));
                response
            }
        }
    }
}

fn message(status: StatusCode, text: &str, code: Option<&str>) -> Response {
    let level = if status.is_client_error() && status != StatusCode::CONFLICT { "WARNING" } else { "ERROR" };
    let mut body = json!({
        "httpStatus": status.canonical_reason().unwrap_or_default(),
        "httpStatusCode": status.as_u16(),
        "status": level,
        "message": text,
    });
    if let (Some(code), Some(fields)) = (code, body.as_object_mut()) {
        fields.insert("errorCode".to_owned(), json!(code));
    }
    (status, Json(body)).into_response()
}

/// Tomcat's own page for a path that no web application serves.
pub fn tomcat_not_found() -> Response {
    let page = "<!doctype html><html lang=\"en\"><head><title>HTTP Status 404 \u{2013} Not Found</title></head>\
                <body><h1>HTTP Status 404 \u{2013} Not Found</h1></body></html>";
    (StatusCode::NOT_FOUND, Html(page)).into_response()
}

/// Tomcat's own page for a request that it cut off.
pub fn tomcat_cut() -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, Html("<!doctype html><h1>HTTP Status 500 \u{2013} Internal Server Error</h1>")).into_response()
}
