//! The HTTP side of the process: requests wait while the server starts, are 404 for ever after a failed start, and are
//! cut off when it ends.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use axum::http::uri::{PathAndQuery, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::dhis2::Dhis2;
use super::login::Login;
use super::refusal::{self, Cause, Refusal};
use super::{analytics, data_values, files, information, login, maintenance, metadata, metrics, settings, tokens, users};

/// Memory that a request takes while it is answered, in bytes (60 parallel ones took some 10 MB each in a real server;
/// less here, so that small limits can be tested).
const REQUEST: u64 = 1 << 20;

/// How far the process is.
#[derive(Clone)]
pub enum Phase {
    /// Requests wait.
    Starting,
    /// Every path is 404, for ever.
    Failed,
    /// Requests are answered.
    Serving(Router),
}

/// The router that the port serves from the first moment on. `cut` turns true when running requests are to be ended.
pub fn door(phase: watch::Receiver<Phase>, cut: watch::Receiver<bool>, context_path: Option<String>) -> Router {
    Router::new().fallback(move |request: Request| {
        let (mut phase, mut cut, context_path) = (phase.clone(), cut.clone(), context_path.clone());
        async move {
            let answer = async {
                // The sender lives as long as the process.
                let phase = match phase.wait_for(|phase| !matches!(phase, Phase::Starting)).await {
                    Ok(phase) => phase.clone(),
                    Err(_) => Phase::Failed,
                };
                match (phase, context_path) {
                    (Phase::Serving(router), Some(context_path)) => within(&router, &context_path, request).await,
                    _ => refusal::tomcat_not_found(),
                }
            };
            tokio::select! {
                answer = answer => answer,
                _ = cut.wait_for(|cut| *cut) => refusal::tomcat_cut(),
            }
        }
    })
}

/// Hands the request on with the context path removed; other paths belong to no web application.
async fn within(router: &Router, context_path: &str, mut request: Request) -> Response {
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    let Some(rest) = path.strip_prefix(context_path) else {
        return refusal::tomcat_not_found();
    };
    if rest.is_empty() {
        return Refusal::Redirect(format!("{context_path}/")).into_response();
    }
    match rest.parse::<Uri>() {
        Ok(uri) if rest.starts_with('/') => *request.uri_mut() = uri,
        _ => return refusal::tomcat_not_found(),
    }
    match router.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// All that a started server answers.
pub fn router(dhis2: Arc<Dhis2>) -> Router {
    let unknown = |_: Login| async { Refusal::NotFound("The requested resource was not found".to_owned()) };
    Router::new()
        .merge(information::routes())
        .merge(login::routes(&dhis2))
        .merge(users::routes())
        .merge(tokens::routes())
        .merge(settings::routes())
        .merge(files::routes())
        .merge(metadata::routes())
        .merge(data_values::routes())
        .merge(analytics::routes())
        .merge(maintenance::routes())
        .merge(metrics::routes())
        .fallback(unknown)
        .method_not_allowed_fallback(|_: Login| async { axum::http::StatusCode::METHOD_NOT_ALLOWED })
        .layer(middleware::from_fn_with_state(Arc::clone(&dhis2), account_for))
        .with_state(dhis2)
}

/// Takes memory for the request and logs why it failed.
async fn account_for(state: axum::extract::State<Arc<Dhis2>>, request: Request<Body>, next: Next) -> Response {
    let dhis2 = &state.0;
    let path = request.uri().path().to_owned();
    // Probes ask for these all day long; they leave next to nothing behind.
    if matches!(&*path, "/api/ping" | "/api/loginConfig") {
        return log_failure(dhis2, &path, next.run(request).await);
    }
    let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let response = match dhis2.heap.hold(REQUEST + length.unwrap_or(0)) {
        Ok(_held) => next.run(request).await,
        Err(error) => Refusal::from(error).into_response(),
    };
    log_failure(dhis2, &path, response)
}

fn log_failure(dhis2: &Dhis2, path: &str, response: Response) -> Response {
    if let Some(Cause(why)) = response.extensions().get() {
        dhis2.log.error("CrudControllerAdvice", &format!("{path}: {why}"));
    }
    response
}
