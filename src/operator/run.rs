//! The life of the process: wait for the API, stand for election, work while leading, hand over.

use std::{sync::Arc, time::Duration};

use kube::{
    Api, Client, Config,
    api::ListParams,
    client::ClientBuilder,
    runtime::{events::Reporter, reflector},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{
    answers::GiveUp,
    args,
    controller::{self, Scope},
    fence,
    fleet::Fleet,
    leader::{Candidate, Leadership},
    metrics::Metrics,
    pace::Pace,
    reconcile::Context,
    requests::CountRequests,
    serve::{self, Readiness},
    settings::Settings,
    watch::DEFINITION,
};
use crate::api::{Dhis2Instance, MANAGER};

/// Why the process ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cluster, or no credentials for it.
    #[error("find the cluster: neither a service account nor a usable kubeconfig")]
    Cluster(#[source] kube::Error),
    /// The address of the probes can't be used.
    #[error("serve probes and metrics")]
    Serve(#[from] serve::Error),
    /// Signals can't be received.
    #[error("listen for SIGTERM")]
    Signal(#[source] std::io::Error),
    /// Another replica leads; this process starts anew as a standby.
    #[error("the lease was lost: another replica leads now")]
    LeaseLost,
    /// A task ended that should not.
    #[error("a part of the operator ended: {0}")]
    Ended(String),
}

/// How long passes under way may take at the end: then the lease is given back.
const HAND_OVER: Duration = Duration::from_millis(1500);

/// Runs until SIGTERM.
///
/// # Errors
/// When the process has to be started anew.
pub async fn run(run: args::Run) -> Result<(), Error> {
    let mut term = signal(SignalKind::terminate()).map_err(Error::Signal)?;
    let metrics = Arc::new(Metrics::new());
    let client = client(&metrics).await?;
    let scopes: Vec<Option<String>> =
        if run.watch_namespaces.is_empty() { vec![None] } else { run.watch_namespaces.iter().cloned().map(Some).collect() };
    let watches: Vec<String> = scopes.iter().flat_map(|scope| controller::watches(scope.as_deref())).collect();
    let readiness = Readiness::new([DEFINITION], watches.iter().map(String::as_str));
    let (serving, drain, resign) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let listener = serve::bind(run.listen).await?;
    let probes = tokio::spawn(serve::serve(listener, readiness.clone(), metrics.clone(), serving.clone()));
    tokio::select! {
        () = until_served(&client, &scopes, &readiness) => {}
        _ = term.recv() => return Ok(()),
    }
    let leases = match &run.lease_namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::default_namespaced(client.clone()),
    };
    let (candidate, leadership) = Candidate::new(leases, &run.lease_name, &run.pod_name, run.lease_ttl, readiness.clone());
    let election = tokio::spawn(candidate.run(resign.clone()));
    let mut held = leadership.clone();
    tokio::select! {
        () = held.gained() => {}
        _ = term.recv() => {
            resign.cancel();
            let _ = election.await;
            return Ok(());
        }
    }
    readiness.lead(true);
    metrics.lead(true);
    let stores: Vec<_> = scopes.iter().map(|_| reflector::store()).collect();
    let fleet = Arc::new(Fleet::new(stores.iter().map(|(resources, _)| resources.clone()).collect()));
    metrics.census.of(fleet.clone());
    let client = fence::fenced(client, leadership.clone());
    let reporter = Reporter { controller: MANAGER.into(), instance: Some(run.pod_name.clone()) };
    let context = Arc::new(Context::new(client, fleet, Settings::from(&run.defaults), leadership, metrics, reporter));
    let mut work = JoinSet::new();
    for (number, (namespace, (resources, writer))) in scopes.into_iter().zip(stores).enumerate() {
        let scope = Scope { number, namespace, resources, writer };
        let pace = controller::Pace { concurrency: run.concurrency, relist: run.relist };
        work.spawn(controller::control(context.clone(), scope, pace, readiness.clone(), drain.clone()));
    }
    let ended = until_end(&mut held, &mut work, &mut term).await;
    drain.cancel();
    if ended.is_ok() {
        let _ = tokio::time::timeout(HAND_OVER, async { while work.join_next().await.is_some() {} }).await;
        work.abort_all();
        resign.cancel();
        let _ = election.await;
    }
    serving.cancel();
    let _ = probes.await;
    ended
}

async fn until_end(held: &mut Leadership, work: &mut JoinSet<()>, term: &mut Signal) -> Result<(), Error> {
    tokio::select! {
        () = held.lost() => Err(Error::LeaseLost),
        ended = work.join_next() => Err(Error::Ended(format!("{ended:?}"))),
        _ = term.recv() => Ok(()),
    }
}

async fn client(metrics: &Arc<Metrics>) -> Result<Client, Error> {
    let mut config = Config::infer().await.map_err(|error| Error::Cluster(kube::Error::InferConfig(error)))?;
    // The client's own retries take minutes; a pass that fails is begun again anyway, from what is then there.
    config.default_retry = false;
    let builder = ClientBuilder::try_from(config).map_err(Error::Cluster)?;
    Ok(builder.with_layer(&Pace::default()).with_layer(&GiveUp).with_layer(&CountRequests::new(metrics.clone())).build())
}

/// Waits until the cluster serves our kind: the operator may be installed before its definitions.
async fn until_served(client: &Client, scopes: &[Option<String>], readiness: &Readiness) {
    let api: Api<Dhis2Instance> = match scopes.first().and_then(Option::as_deref) {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    loop {
        match api.list_metadata(&ListParams::default().limit(1)).await {
            Ok(_) => {
                readiness.granted(DEFINITION);
                return readiness.served(DEFINITION);
            }
            Err(error) => {
                tracing::warn!(%error, "waiting for the CustomResourceDefinition {DEFINITION}");
                readiness.failed(DEFINITION, &error);
            }
        }
        sleep(Duration::from_secs(5)).await;
    }
}
