//! The page itself: plain text, to be printed on paper. Its commands are meant to be typed.

use std::fmt::Write;

use jiff::Timestamp;
use serde_json::Value;

use super::{Place, word};

/// Where the steps are explained.
const MANUAL: &str = "docs/recover.md";

/// All of it.
pub fn sheet(instance: &Value, places: &[Place], now: Timestamp) -> String {
    let (namespace, name) = (word(instance, "/metadata/namespace"), word(instance, "/metadata/name"));
    let mut page = format!("RECOVERY SHEET OF {namespace}/{name}\n\n");
    line(
        &mut page,
        "",
        "Whoever has this sheet has all data and every password of the instance.\nPrint it, lock it away, and delete the file.\n",
    );
    line(&mut page, "printed", &format!("{now:.0}"));
    line(&mut page, "users go to", word(instance, "/status/url"));
    line(&mut page, "DHIS2", word(instance, "/status/version/running"));
    line(&mut page, "newest set", word(instance, "/status/backup/last/set"));
    for place in places {
        described(&mut page, instance, place);
    }
    for place in places {
        recovered(&mut page, namespace, name, place);
    }
    without_kubernetes(&mut page, places);
    let digests: Vec<&str> = places.iter().map(|place| place.digest.as_str()).collect();
    let _ = write!(
        page,
        "\nTELL THE INSTANCE THAT THIS SHEET IS IN THE SAFE\n\n    kubectl --namespace {namespace} annotate dhis2 {name} --overwrite dhis2.hosting/key-exported={}\n",
        digests.join(",")
    );
    page
}

/// A line of the head; nothing where nothing is known.
fn line(page: &mut String, label: &str, text: &str) {
    if label.is_empty() {
        let _ = writeln!(page, "{text}");
    } else if !text.is_empty() {
        let _ = writeln!(page, "{label:14} {text}");
    }
}

fn described(page: &mut String, instance: &Value, place: &Place) {
    let _ = writeln!(page, "\n{}\n", place.name.to_uppercase());
    match &place.address {
        Some(address) => line(page, "address", address),
        None if place.s3.is_null() => {
            let claim = format!("volume claim {}-backups: in the cluster, and lost with it", word(instance, "/metadata/name"));
            line(page, "address", &claim);
        }
        None => line(page, "address", "not known yet: print this sheet again when the first set is there"),
    }
    line(page, "region", word(&place.s3, "/region"));
    line(page, "key", place.key.reveal());
    line(page, "its digest", &place.digest);
    if !place.s3.is_null() {
        line(page, "access key", "of the server, got without the cluster: ____________________________________");
    }
    let ca = word(&place.s3, "/caSecretName");
    match &place.authority {
        Some(certificate) => line(page, "authority", &format!("the file ca.crt:\n\n{}", certificate.trim_end())),
        None if !ca.is_empty() => line(page, "authority", &format!("keep ca.crt of Secret {ca} beside this sheet")),
        None => {}
    }
}

fn recovered(page: &mut String, namespace: &str, name: &str, place: &Place) {
    let Some(address) = &place.address else { return };
    let credentials = word(&place.s3, "/credentials/secretName");
    let ca = word(&place.s3, "/caSecretName");
    let _ = write!(
        page,
        "\nTO BRING IT BACK ON AN EMPTY CLUSTER, FROM: {}\n\nInstall the operator, make namespace {namespace}. Write the key above into a file named key, without a line break. {MANUAL} explains each step.\n\n",
        place.name.to_uppercase()
    );
    let kubectl = format!("    kubectl --namespace {namespace}");
    let _ = writeln!(page, "{kubectl} create secret generic {name}-backup --from-file=password=key");
    let _ = writeln!(page, "{kubectl} create secret generic {credentials} --from-file=accessKeyID --from-file=secretAccessKey");
    if !ca.is_empty() {
        let _ = writeln!(page, "{kubectl} create secret generic {ca} --from-file=ca.crt");
    }
    let _ =
        writeln!(page, "{kubectl} apply --filename examples/recover.yaml    # with the names of these Secrets, and the operator's image");
    let _ = writeln!(page, "{kubectl} wait pod recover --for=condition=Ready --timeout=300s");
    let mut flags = format!("--s3 {address}");
    if !is_of_aws(address) {
        flags.push_str(" --s3-path-style");
    }
    if !ca.is_empty() {
        flags.push_str(" --s3-ca");
    }
    let region = word(&place.s3, "/region");
    if !region.is_empty() {
        let _ = write!(flags, " --s3-region {region}");
    }
    let _ = writeln!(
        page,
        "{kubectl} exec recover -c recover -- /agent/dhis2-agent --report /tmp/report recover --read-only {flags} > recovered.yaml"
    );
    let _ = writeln!(page, "{kubectl} delete pod recover");
    if place.name.starts_with("Copy") {
        let _ = writeln!(page, "{kubectl} delete secret {name}-backup    # the right one is in recovered.yaml");
    }
    let _ = writeln!(page, "{kubectl} apply --filename recovered.yaml    # it holds every password: destroy it afterwards");
}

/// AWS finds a bucket by the name of its host, others by its path.
fn is_of_aws(address: &str) -> bool {
    address.contains(".amazonaws.com")
}

fn without_kubernetes(page: &mut String, places: &[Place]) {
    let Some((place, address)) = places.iter().find_map(|place| Some((place, place.address.as_ref()?))) else { return };
    let lookup = if is_of_aws(address) { "" } else { " -o s3.bucket-lookup=path" };
    let ca = if word(&place.s3, "/caSecretName").is_empty() { "" } else { " --cacert ca.crt" };
    let _ = write!(
        page,
        "\nWITHOUT KUBERNETES\n\nOn one Linux server with restic, PostgreSQL and podman; docs/without-kubernetes.md goes on from here.\n\n    export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… RESTIC_PASSWORD_FILE=key\n    restic --repo {address}{lookup}{ca} --no-lock dump --tag part=manifest latest /manifest.json > manifest.json\n"
    );
}
