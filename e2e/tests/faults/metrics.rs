//! What `/metrics` tells of a running operator, against what the API server's audit log says.
use std::time::{Duration, Instant};

use dhis2_e2e::faults::proxy::{Ends, Proxy};
use dhis2_e2e::product::binaries;
use dhis2_e2e::rig::operator::Start;
use dhis2_e2e::rig::release::{Chart, NAMESPACE};
use dhis2_e2e::rig::{Parts, Rig};
use dhis2_e2e::site::Outcome;
use dhis2_operator::api::Dhis2Instance;
use kube::api::{Api, PostParams};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(30);

/// What the operator at this address tells; nothing while it does not answer.
async fn told(address: String) -> Outcome<String> {
    let ask = move || ureq::get(format!("http://{address}/metrics")).call()?.body_mut().read_to_string();
    Ok(tokio::task::spawn_blocking(ask).await?.unwrap_or_default())
}

/// A series, by its name and labels.
fn value(told: &str, series: &str) -> Option<f64> {
    told.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// Asks until this holds of what is told.
async fn until(address: &str, what: &str, holds: impl Fn(&str) -> bool) -> Outcome<String> {
    let begun = Instant::now();
    loop {
        let told = told(address.to_owned()).await?;
        if holds(&told) {
            return Ok(told);
        }
        if begun.elapsed() > LIMIT {
            return Err(format!("not {what} within {} s:\n{told}", LIMIT.as_secs()).into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_tell_what_happened() -> Outcome {
    let rig = Rig::start(Parts::default()).await?;
    let release = rig.release(&Chart::render(&json!({ "watchNamespaces": [NAMESPACE] }))?, "told").await?;
    let (audit, proxy) = (rig.audit(), Proxy::start(Ends::of(&rig)?).await?);
    let authority = std::fs::read_to_string(rig.keys().path("ca.crt"))?;
    let kubeconfig = rig.kubeconfig(&release, &proxy.server(), &authority)?;
    let start = Start::new(&binaries::build()?.operator, &release, &kubeconfig, "operator-0", &rig.folder().join("operator.log"));
    let mut operator = start.start().await?;
    operator.ready("ready: leading").await?;
    let address = operator.address().to_string();

    let instance: Dhis2Instance = serde_json::from_value(json!({
        "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance", "metadata": { "name": "play" },
        "spec": { "version": "2.42.4.1", "web": { "host": "play.example.org" } }
    }))?;
    Api::<Dhis2Instance>::namespaced(rig.client(), &release.namespace).create(&PostParams::default(), &instance).await?;
    // No node runs its pods: it waits for its database.
    let waits = |told: &str| told.lines().any(|line| line.starts_with("dhis2_operator_instances{ready=\"False\"") && line.ends_with(" 1"));
    until(&address, "one instance that is not ready", waits).await?;
    let created = || -> Outcome<usize> { Ok(audit.requests(&release.user())?.iter().filter(|request| request.created()).count()) };
    until(&address, "a queue that is empty", |told| value(told, "dhis2_operator_queue_length") == Some(0.0)).await?;
    let all = |told: &str| {
        let counted = value(told, "dhis2_operator_api_requests_total{verb=\"create\",code=\"201\"}");
        // The audit log leaves Leases out.
        counted.is_some() && created().ok().and_then(|created| u32::try_from(created + 1).ok()).map(f64::from) == counted
    };
    let calm = until(&address, "as many creations as in the audit log", all).await?;
    assert!(created()? > 15, "an instance has more objects");
    assert_eq!(value(&calm, "dhis2_operator_leader"), Some(1.0));
    assert!(value(&calm, "dhis2_operator_reconcile_total{result=\"ok\"}") > Some(0.0), "{calm}");
    assert!(calm.lines().any(|line| line.starts_with("dhis2_operator_build_info{version=\"") && line.ends_with("\"} 1")), "{calm}");
    assert!(!calm.contains("dhis2_operator_watch_restarts_total{"), "no watch broke: {calm}");

    proxy.weather.cut();
    let broken = "dhis2_operator_watch_restarts_total{kind=\"Pod\",reason=\"Disconnected\"}";
    until(&address, "watches that began again", |told| value(told, broken) == Some(1.0)).await?;
    operator.terminate().await;
    Ok(())
}
