//! The rig itself: what the other tests stand on.
use dhis2_e2e::product::binaries;
use dhis2_e2e::rig::operator::Start;
use dhis2_e2e::rig::release::{Chart, NAMESPACE};
use dhis2_e2e::rig::{Parts, Rig};
use dhis2_e2e::site::Outcome;
use dhis2_operator::api::Dhis2Instance;
use kube::api::{Api, ListParams};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_gets_ready_with_the_rights_of_its_chart() -> Outcome {
    let rig = Rig::start(Parts { controllers: &["garbage-collector-controller"], scheduler: false }).await?;
    let chart = Chart::render(&json!({ "watchNamespaces": [NAMESPACE] }))?;
    let release = rig.release(&chart, "first").await?;
    let audit = rig.audit();
    let authority = std::fs::read_to_string(rig.keys().path("ca.crt"))?;
    let kubeconfig = rig.kubeconfig(&release, rig.server(), &authority)?;
    let program = binaries::build()?.operator;
    let start = Start::new(&program, &release, &kubeconfig, "operator-0", &rig.folder().join("operator.log"));
    let mut operator = start.start().await?;
    operator.ready("ready: leading").await?;
    let usage = operator.usage();
    assert!(usage.resident > 0 && usage.peak >= usage.resident && usage.threads > 1, "{usage:?}");
    operator.kill();
    start.start().await?.terminate().await;

    let asked = audit.requests(&release.user())?;
    assert!(asked.iter().any(|request| request.verb == "list"), "the operator was somebody else: {asked:?}");
    assert!(asked.iter().all(|request| !request.is_forbidden()), "{asked:?}");
    assert!(Api::<Dhis2Instance>::all(rig.client()).list(&ListParams::default()).await?.items.is_empty());
    Ok(())
}
