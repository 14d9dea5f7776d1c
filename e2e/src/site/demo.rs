//! The demo: from nothing to a login page that a browser opens, on a cluster that stays.

use std::cell::RefCell;
use std::path::Path;
use std::time::Instant;

use dhis2_operator::api::Dhis2Instance;
use kube::{Api, Client};

use super::instance::{condition, holds};
use super::wait;
use super::{Error, Site, checkout, helm, operator, own};
use crate::cluster::{files, ready, run};

/// Name of its cluster.
pub const CLUSTER: &str = "demo";
/// Namespace of its instance.
const NAMESPACE: &str = "demo";
/// The instance that the example makes.
const INSTANCE: &str = "play";
/// The example that is applied.
const EXAMPLE: &str = "examples/minimal.yaml";

/// Why there is no login page.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The cluster or the images.
    #[error(transparent)]
    Site(#[from] Error),
    /// helm or kubectl.
    #[error("install the operator")]
    Install(#[source] run::Error),
    /// The instance.
    #[error("apply {EXAMPLE}")]
    Apply(#[source] run::Error),
    /// The example.
    #[error(transparent)]
    Example(#[from] files::Error),
    /// The API server.
    #[error("reach the cluster")]
    Api(#[from] ready::Error),
    /// It did not become ready.
    #[error("the instance does not serve yet; see `make kubectl CLUSTER={CLUSTER} ARGS=\"-n {NAMESPACE} get dhis2 -o wide\"`")]
    Late(#[source] wait::Error),
}

/// Brings the demo up and says how to use it. `tool` is the program `dhis2-cluster`.
///
/// # Errors
/// When a step fails; the cluster is left running.
pub async fn demo(tool: &Path, logs: &Path) -> Result<(), Failed> {
    let site = own::named(CLUSTER, tool, logs, false).await?;
    eprintln!("install the chart charts/dhis2-operator …");
    install(&site).map_err(Failed::Install)?;
    eprintln!("apply {EXAMPLE} …");
    let example = example(&site)?;
    run::feed(site.kubectl().args(["apply", "-n", NAMESPACE, "-f", "-"]), example.as_bytes()).map_err(Failed::Apply)?;
    follow(&site, site.client().await?).await.map_err(Failed::Late)?;
    tell(&site);
    Ok(())
}

fn install(site: &Site) -> Result<(), run::Error> {
    let values = serde_json::json!({
        "image": operator::image(&site.images.operator),
        "dhis2Repository": site.images.dhis2,
        "postgresImage": site.images.postgres,
        "ingressNamespace": site.ingress_namespace,
    });
    site.release("dhis2-operator", "dhis2-operator", &checkout(helm::OPERATOR_CHART), &values)?;
    run::output(site.kubectl().args(["wait", "--for=condition=Established", "--timeout=60s", "crd/dhis2instances.dhis2.hosting"]))?;
    let namespace = serde_json::json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": NAMESPACE, "labels": { "pod-security.kubernetes.io/enforce": "restricted" } },
    });
    run::feed(site.kubectl().args(["apply", "-f", "-"]), namespace.to_string().as_bytes()).map(|_| ())
}

/// The example as it is, but for the version: that of the image at hand.
fn example(site: &Site) -> Result<String, Failed> {
    let text = files::read(&checkout(EXAMPLE))?;
    let line = text.lines().find(|line| line.trim_start().starts_with("version:")).unwrap_or_default().to_owned();
    Ok(text.replace(&line, &format!("  version: {}", site.version())))
}

/// Says what the instance waits for, each time that it is something else.
async fn follow(site: &Site, client: Client) -> Result<(), wait::Error> {
    let instances: Api<Dhis2Instance> = Api::namespaced(client, NAMESPACE);
    let begun = Instant::now();
    let last = RefCell::new(String::new());
    let serves = |instance: &Dhis2Instance| {
        let told = condition(instance, "Ready").map(|ready| format!("{}: {}", ready.reason, ready.message)).unwrap_or_default();
        if !told.is_empty() && *last.borrow() != told {
            eprintln!("{:>6.1} s  {told}", begun.elapsed().as_secs_f64());
            last.replace(told);
        }
        holds(instance, "Ready")
    };
    wait::until(&instances, INSTANCE, "Ready", site.patience(), serves).await.map(|_| ())
}

fn tell(site: &Site) {
    let [http, https] = site.ingress.map(|address| address.port());
    if site.is_stand_in() {
        println!("\nWhat runs is a stand-in for DHIS2, not DHIS2: make demo DHIS2_IMAGE=… runs the real one.");
    }
    println!("
Login page:  http://{INSTANCE}.localhost:{http}    (https://{INSTANCE}.localhost:{https} with a certificate that nobody signed)
User admin, password:
  make --silent kubectl CLUSTER={CLUSTER} ARGS=\"-n {NAMESPACE} get secret {INSTANCE}-admin -o go-template='{{{{.data.password | base64decode}}}}'\"

How it is:   make --silent kubectl CLUSTER={CLUSTER} ARGS=\"-n {NAMESPACE} get dhis2\"
kubectl:     export KUBECONFIG={}
End it:      make cluster-down CLUSTER={CLUSTER}    (its data stays; PURGE=--purge removes it)", site.kubeconfig.display());
}
