//! What `examples/everything.yaml` says, found again in the objects of the cluster and in the running PostgreSQL.

use dhis2_e2e::cluster::run;
use dhis2_e2e::site::{Outcome, Story};
use serde_json::{Value, json};

use super::everything::LDAP_PASSWORD;

/// Every value of the manifest is where it belongs.
pub async fn is_as_told(story: &Story, manifest: &Value) -> Outcome {
    let spec = &manifest["spec"];
    let get = async |kind: &str, name: &str| object(story, kind, name);
    configuration(&get("configmap", "everything").await?);
    let dhis2 = get("pod", "everything-0").await?;
    let database = get("pod", "everything-database-0").await?;
    java(&dhis2);
    images(&dhis2, &database, spec);
    resources(&dhis2, &spec["resources"]);
    resources(&database, &spec["database"]["bundled"]["resources"]);
    for pod in [&dhis2, &database] {
        placement(pod, &spec["pod"]);
    }
    for (name, value) in [("work_mem", "16MB"), ("log_min_duration_statement", "10s")] {
        assert_eq!(parameter(story, name)?, value, "{name} of the running PostgreSQL");
    }
    for (claim, volume) in [
        ("everything-database", &spec["database"]["bundled"]["storage"]),
        ("everything-files", &spec["files"]["volume"]),
        ("everything-backups", &spec["backup"]["repository"]["volume"]),
    ] {
        let there = get("persistentvolumeclaim", claim).await?;
        let is = [&there["spec"]["resources"]["requests"]["storage"], &there["spec"]["storageClassName"]];
        assert_eq!(is, [&volume["size"], &volume["className"]], "size and class of {claim}");
    }
    door(&get("ingress", "everything").await?, &spec["web"]);
    let policy = get("networkpolicy", "everything-clients").await?;
    let clients = &policy["spec"]["ingress"][0]["from"];
    let allowed = &spec["network"]["allowFrom"][0];
    assert!(clients.as_array().is_some_and(|clients| clients.contains(allowed)), "{allowed} may not connect: {clients}");
    backups(&get("cronjob", "everything-backup").await?, &spec["backup"]);
    assert!(object(story, "secret", "everything-encryption").is_err(), "a key was made beside the one that is named");
    Ok(())
}

fn object(story: &Story, kind: &str, name: &str) -> Outcome<Value> {
    let mut kubectl = story.site.kubectl();
    kubectl.args(["--namespace", &story.namespace, "get", kind, name, "--output", "json"]);
    Ok(serde_json::from_str(&run::output(&mut kubectl)?)?)
}

/// A parameter of the running PostgreSQL.
fn parameter(story: &Story, name: &str) -> Outcome<String> {
    story.sql("everything", &format!("SHOW {name}"))
}

/// The container that serves.
fn container(pod: &Value) -> &Value {
    &pod["spec"]["containers"][0]
}

fn variable<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let variables = container(pod)["env"].as_array();
    variables.into_iter().flatten().find(|variable| variable["name"] == name).unwrap_or(&Value::Null)
}

/// `config` and `secretConfig` in `dhis.conf`, the latter as a name only.
fn configuration(files: &Value) {
    let text = files["data"]["dhis.conf"].as_str().unwrap_or_default();
    for line in [
        "max.sessions.per_user = 5",
        "system.session.timeout = 1800",
        "ldap.manager.password = ${SECRET_CONFIG_0}",
        "encryption.password = ${ENCRYPTION_PASSWORD}",
        "server.base.url = https://dhis2.example.org/hmis",
        "server.https = on",
    ] {
        assert!(text.lines().any(|there| there == line), "dhis.conf lacks {line:?}: {text}");
    }
    assert!(!files.to_string().contains(LDAP_PASSWORD), "the content of a Secret is in a ConfigMap");
}

fn java(pod: &Value) {
    let options = variable(pod, "JAVA_TOOL_OPTIONS")["value"].as_str().unwrap_or_default().to_owned();
    // 60 percent of 4 GiB.
    for option in ["-Xmx2457m", "-XX:MaxGCPauseMillis=1500"] {
        assert!(options.split(' ').any(|there| there == option), "Java lacks {option}: {options}");
    }
    assert_eq!(variable(pod, "CATALINA_OPTS")["value"], "-Dcontext.path='/hmis'");
    for (name, secret) in [("SECRET_CONFIG_0", "ldap"), ("ENCRYPTION_PASSWORD", "encryption-key")] {
        let from = &variable(pod, name)["valueFrom"]["secretKeyRef"];
        assert_eq!((&from["name"], &from["key"]), (&json!(secret), &json!("password")), "{name}");
    }
}

fn images(dhis2: &Value, database: &Value, spec: &Value) {
    let image = format!("{}:{}", spec["image"]["repository"].as_str().unwrap_or_default(), spec["version"].as_str().unwrap_or_default());
    assert_eq!(container(dhis2)["image"], json!(image));
    assert_eq!(container(dhis2)["imagePullPolicy"], spec["image"]["pullPolicy"]);
    assert_eq!(container(database)["image"], spec["database"]["bundled"]["image"]);
    for pod in [dhis2, database] {
        assert_eq!(pod["spec"]["imagePullSecrets"], json!([{ "name": "registry" }]));
    }
}

fn resources(pod: &Value, wanted: &Value) {
    let memory = &wanted["memory"];
    let expected = json!({
        "requests": { "memory": memory, "cpu": wanted["cpu"] },
        "limits": { "memory": memory, "cpu": wanted["cpuLimit"] },
    });
    let there = &container(pod)["resources"];
    for (kind, name) in [("requests", "memory"), ("requests", "cpu"), ("limits", "memory"), ("limits", "cpu")] {
        assert_eq!(there[kind][name], expected[kind][name], "{kind} of {name} of {}", pod["metadata"]["name"]);
    }
}

/// Where the pod may run, and what it carries.
fn placement(pod: &Value, wanted: &Value) {
    let (name, spec) = (&pod["metadata"]["name"], &pod["spec"]);
    for field in ["nodeSelector", "affinity", "topologySpreadConstraints", "priorityClassName"] {
        assert_eq!(spec[field], wanted[field], "{field} of {name}");
    }
    assert!(spec["priority"].as_i64().is_some_and(|priority| priority > 0), "the priority class gives {name} no priority");
    let tolerations = spec["tolerations"].as_array();
    assert!(tolerations.is_some_and(|there| there.contains(&wanted["tolerations"][0])), "tolerations of {name}: {tolerations:?}");
    for field in ["labels", "annotations"] {
        for (key, value) in wanted[field].as_object().into_iter().flatten() {
            assert_eq!(&pod["metadata"][field][key], value, "{field} of {name}");
        }
    }
}

fn door(ingress: &Value, web: &Value) {
    let spec = &ingress["spec"];
    assert_eq!(spec["ingressClassName"], web["ingress"]["className"]);
    assert_eq!(spec["tls"], json!([{ "hosts": [web["host"]], "secretName": web["tls"]["secretName"] }]));
    assert_eq!((&spec["rules"][0]["host"], &spec["rules"][0]["http"]["paths"][0]["path"]), (&web["host"], &web["path"]));
    for (key, value) in web["ingress"]["annotations"].as_object().into_iter().flatten() {
        assert_eq!(&ingress["metadata"]["annotations"][key], value, "annotation of the Ingress");
    }
}

fn backups(cron_job: &Value, backup: &Value) {
    for field in ["schedule", "timeZone", "suspend"] {
        assert_eq!(cron_job["spec"][field], backup[field], "{field} of the CronJob");
    }
    let command = &cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"];
    let words: Vec<&str> = command.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (period, number) in backup["retention"].as_object().into_iter().flatten() {
        let pair = [format!("--keep-{period}"), number.to_string()];
        assert!(words.windows(2).any(|there| there == pair), "{pair:?} is not said to the agent: {words:?}");
    }
}
