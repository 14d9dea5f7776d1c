//! The process: the port, the start, the signals, the end.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::java::{self, Options};
use super::log::Log;
use super::server::{self, Phase};
use super::startup::{self, Given};
use super::timing::Timing;
use super::version::{Version, VersionError};
use super::{analytics, outage};

/// What a JVM ends with that SIGTERM ended.
const TERMINATED: u8 = 143;

/// Why there is no process to speak of.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The image is not laid out as DHIS2's.
    #[error("tell the version to play")]
    Version(#[from] VersionError),
    /// Signals can't be caught.
    #[error("catch SIGTERM")]
    Signal(#[source] std::io::Error),
    /// The port is taken.
    #[error("listen on port {port}")]
    Listen {
        /// The port.
        port: u16,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
}

fn given(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Given, ProcessError> {
    let path = |name: &str, default: &str| PathBuf::from(lookup(name).unwrap_or_else(|| default.to_owned()));
    let catalina_home = path("CATALINA_HOME", "/usr/local/tomcat");
    let mib = lookup("STANDIN_HEAP_BASE_MB").and_then(|text| text.parse::<u64>().ok()).unwrap_or(120);
    Ok(Given {
        begun: Instant::now(),
        home: path("DHIS2_HOME", "/opt/dhis2"),
        version: Version::installed(&catalina_home)?,
        catalina_home,
        options: Options::read(lookup, java::memory()),
        timing: Timing::read(lookup),
        heap_base: mib << 20,
    })
}

/// Runs until a signal or a failed start ends it.
///
/// # Errors
/// When the process can't even begin.
pub async fn run() -> Result<ExitCode, ProcessError> {
    let lookup = |name: &str| std::env::var(name).ok();
    let mut end = end_signal()?;
    let given = given(&lookup)?;
    let log = Log::open(given.options.log_configuration.as_deref(), &given.home);
    if let Some(options) = lookup("JAVA_TOOL_OPTIONS") {
        eprintln!("Picked up JAVA_TOOL_OPTIONS: {options}");
    }
    tokio::select! {
        () = told(&mut end) => return Ok(ExitCode::from(TERMINATED)),
        () = sleep_until(given.begun + given.timing.port) => {}
    }
    let port = lookup("STANDIN_PORT").and_then(|port| port.parse().ok());
    let listener = listen(port.unwrap_or(8080)).await?;
    log.tomcat("INFO", PROTOCOL, "Initializing ProtocolHandler [\"http-nio\"]");

    let (phase, phases) = watch::channel(Phase::Starting);
    let (cut, cuts) = watch::channel(false);
    let door = server::door(phases, cuts, given.options.context_path.clone());
    let mut ending = end.clone();
    let serving = axum::serve(listener, door).with_graceful_shutdown(async move { told(&mut ending).await });
    let serving = tokio::spawn(serving.into_future());

    tokio::select! {
        () = told(&mut end) => return Ok(ExitCode::from(TERMINATED)),
        reached = start(&given, &log) => match reached {
            Some(reached) => phase.send_replace(reached),
            None => return Ok(ExitCode::SUCCESS),
        },
    };
    told(&mut end).await;
    log.tomcat("INFO", PROTOCOL, "Pausing ProtocolHandler [\"http-nio\"]");
    finish(&given.timing, serving, &cut).await;
    Ok(ExitCode::from(TERMINATED))
}

const PROTOCOL: &str = "org.apache.coyote.AbstractProtocol";
const CATALINA: &str = "org.apache.catalina.startup.Catalina.start";
const CONTEXT: &str = "org.apache.catalina.core.StandardContext.startInternal";
const LISTENERS: &str = "One or more listeners failed to start. Full details will be found in the appropriate container log file";
const FAILED: &str = "Context [] startup failed due to previous errors";

async fn listen(port: u16) -> Result<TcpListener, ProcessError> {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await.map_err(|source| ProcessError::Listen { port, source })
}

/// Starts, and tells what the port is to do from then on; `None`: DHIS2 ends the process.
async fn start(given: &Given, log: &Log) -> Option<Phase> {
    let reached = match startup::start(given, log).await {
        Ok(dhis2) => {
            tokio::spawn(analytics::work(Arc::clone(&dhis2)));
            tokio::spawn(outage::tell(Arc::clone(&dhis2)));
            Phase::Serving(server::router(dhis2))
        }
        Err(error) if error.ends_process() => return None,
        Err(_) => {
            log.tomcat("SEVERE", CONTEXT, LISTENERS);
            log.tomcat("SEVERE", CONTEXT, FAILED);
            Phase::Failed
        }
    };
    let took = given.begun.elapsed().as_millis();
    let message = format!("Server startup in [{took}] milliseconds");
    log.tomcat("INFO", CATALINA, &message);
    Some(reached)
}

/// Waits until the process is told to end.
async fn told(end: &mut watch::Receiver<bool>) {
    // An error means that nobody can tell any more; the process would then be on its way out.
    let _ = end.wait_for(|end| *end).await;
}

/// Turns true when the process is told to end.
fn end_signal() -> Result<watch::Receiver<bool>, ProcessError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ProcessError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ProcessError::Signal)?;
    let (end, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        end.send_replace(true);
    });
    Ok(receiver)
}

/// The end takes a moment; requests that run longer than `cut` are answered with 500 and then it ends in any case.
async fn finish(timing: &Timing, mut serving: JoinHandle<std::io::Result<()>>, cut: &watch::Sender<bool>) {
    let rest = sleep(timing.stop);
    if timeout(timing.cut, &mut serving).await.is_err() {
        cut.send_replace(true);
        // Whoever does not even finish sending a request is not waited for.
        let _ = timeout(Duration::from_secs(1), serving).await;
    }
    rest.await;
}
