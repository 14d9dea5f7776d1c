//! `/api/metrics`: text for Prometheus, for any login, and only for those who accept just that.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::dhis2::{Dhis2, Shared};
use super::log;
use super::login::Login;
use super::refusal::Refusal;

/// `/api/metrics`.
pub fn routes() -> Router<Arc<Dhis2>> {
    Router::new().route("/api/metrics", get(metrics))
}

async fn metrics(State(dhis2): Shared, _: Login, headers: HeaderMap) -> Result<Response, Refusal> {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    if !accept.contains("text/plain") {
        return Err(Refusal::NotAcceptable);
    }
    let text = text(&dhis2);
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// Empty unless a `monitoring.*` key is on.
fn text(dhis2: &Dhis2) -> String {
    let mut text = String::new();
    let mut gauge = |name: &str, value: u64| {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{name} {value}");
    };
    let on = |what: &str| dhis2.conf.is_on(&format!("monitoring.{what}.enabled"), false);
    if on("dbpool") {
        let max = dhis2.conf.number("connection.pool.max_size", 80);
        let (idle, active) = dhis2.pool.figures(usize::try_from(max).unwrap_or(usize::MAX));
        gauge("jdbc_connections_active{pool=\"actual\"}", active as u64);
        gauge("jdbc_connections_idle{pool=\"actual\"}", idle as u64);
        gauge("jdbc_connections_max{pool=\"actual\"}", max);
    }
    if on("jvm") {
        let (used, committed, max) = dhis2.heap.figures();
        gauge("jvm_memory_used_bytes{area=\"heap\",id=\"G1 Old Gen\"}", used);
        gauge("jvm_memory_committed_bytes{area=\"heap\",id=\"G1 Old Gen\"}", committed);
        gauge("jvm_memory_max_bytes{area=\"heap\",id=\"G1 Old Gen\"}", max);
    }
    if on("uptime") {
        let seconds = log::now().duration_since(dhis2.since).as_secs();
        gauge("process_uptime_seconds", u64::try_from(seconds).unwrap_or(0));
    }
    text
}
