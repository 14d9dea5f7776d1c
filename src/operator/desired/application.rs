//! DHIS2.

use k8s_openapi::{
    api::core::v1::{Container, ContainerPort, ExecAction, HTTPGetAction, Lifecycle, LifecycleHandler, PodSpec, Probe, SleepAction},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::json;

use super::{
    Wanted, configuration, dhis_conf,
    metadata::Part,
    pod::{self, Placement, Step, agent, variable},
    resources, restart,
    services::{HTTP, HTTP_NAME, pods_of_application},
    stateful_set::stateful_set,
    volume::{self, Attached},
    watch,
};
use crate::{layout, operator::instance::Instance};

/// `DHIS2_HOME`.
const HOME: &str = "/opt/dhis2";

/// DHIS2, once PostgreSQL has answered.
pub fn application(instance: &Instance) -> Option<Wanted> {
    let restart = restart::digest(instance, server, &json!(configuration::application(instance)));
    let service = pods_of_application(instance);
    // While an upgrade waits for its backup what runs is left as it is.
    let due = instance.stage.application && !instance.stage.held;
    due.then(|| stateful_set(instance, &instance.name, Part::Application, service, server(instance), &restart))
}

fn server(instance: &Instance) -> PodSpec {
    PodSpec {
        // 10 s until nobody sends requests any more, then DHIS2's own 2 to 6 s (observed at 2.42.4.1).
        termination_grace_period_seconds: Some(60),
        ..pod::spec(
            instance,
            pod::DHIS2,
            Placement::Server,
            vec![pod::install(instance), check(instance)],
            vec![dhis2(instance), watch_files(instance)],
        )
    }
}

/// May DHIS2 start here? Decided in its own image: version, database, encryption key, files, values of Secrets.
fn check(instance: &Instance) -> Step {
    let (version, host) = (instance.version.to_string(), instance.child("database"));
    let command = agent(&["check", "--version", &version, "--host", &host, "--instance", &instance.uid]);
    let mut attached = vec![
        volume::agent().read_only(),
        home(),
        volume::files(instance),
        volume::database_secret(instance, &["username", "password"]),
        volume::tmp(TMP_MIB),
    ];
    attached.extend(volume::encryption_secret(instance));
    let container = pod::container("check", &instance.images.dhis2, instance.images.dhis2_pull_policy, command);
    let values = dhis_conf::of_the_user(instance, |_, key| format!("{}{key}", layout::SECRET_CONFIG));
    let env = Some(values).filter(|values| !values.is_empty());
    Step { container: Container { env, resources: Some(resources::step(16, 64)), ..container }, attached }
}

fn dhis2(instance: &Instance) -> Step {
    let application = &instance.application;
    let mut environment = vec![
        variable("DHIS2_HOME", HOME),
        variable("JAVA_TOOL_OPTIONS", &java_options(instance, &[LOG4J2])),
        variable("CATALINA_OPTS", &format!("-Dcontext.path='{}'", instance.web.context)),
    ];
    environment.extend(dhis_conf::environment(instance));
    let container = Container {
        env: Some(environment),
        ports: Some(vec![ContainerPort { name: Some(HTTP_NAME.into()), container_port: HTTP, ..ContainerPort::default() }]),
        resources: Some(resources::server(application.memory_mib, &application.cpu, application.cpu_limit.as_deref())),
        startup_probe: Some(startup(instance)),
        // Answers without a database: an outage of the database restarts nothing.
        liveness_probe: Some(probe(instance, "ping", 20, 6)),
        // 500 without a database.
        readiness_probe: Some(probe(instance, "loginConfig", 5, 3)),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler { sleep: Some(SleepAction { seconds: 10 }), ..LifecycleHandler::default() }),
            ..Lifecycle::default()
        }),
        ..pod::container("dhis2", &instance.images.dhis2, instance.images.dhis2_pull_policy, Vec::new())
    };
    Step { container, attached: attached(instance) }
}

/// DHIS2 on a copy: its files are none of the instance's, and its log goes where whoever waits for it can read it.
pub fn on_a_copy(instance: &Instance) -> Step {
    let Step { container, attached } = dhis2(instance);
    let container =
        Container { startup_probe: None, liveness_probe: None, readiness_probe: None, lifecycle: None, ports: None, ..container };
    let environment = container.env.into_iter().flatten().map(|variable_of| match variable_of.name.as_str() {
        "JAVA_TOOL_OPTIONS" => variable("JAVA_TOOL_OPTIONS", &java_options(instance, &[])),
        _ => variable_of,
    });
    let mounts = attached.into_iter().map(|attached| match attached.volume.name.as_str() {
        "files" => volume::scratch("files", layout::FILES, 1024),
        // The database's has the name already.
        "configuration" => attached.named("dhis2-configuration"),
        _ => attached,
    });
    Step { container: Container { env: Some(environment.collect()), ..container }, attached: mounts.collect() }
}

/// Where the log of a DHIS2 on a copy can be read.
pub fn home_of_copy() -> Attached {
    home().read_only()
}

/// A file store that loses uploads is told, and nobody is let in meanwhile.
fn watch_files(instance: &Instance) -> Step {
    let attached = vec![volume::agent().read_only(), volume::files(instance), volume::tmp(TMP_MIB)];
    watch::watch("files", &instance.images.dhis2, instance.images.dhis2_pull_policy, attached)
}

/// Space for uploads and exports on their way through `/tmp`, in MiB.
const TMP_MIB: i64 = 4096;

/// Space for Tomcat's own logs, in MiB; DHIS2's `docker-compose.yml` gives them 1.
const LOGS_MIB: i64 = 4;

fn home() -> Attached {
    volume::scratch("home", HOME, 1024)
}

/// What DHIS2 and Tomcat write to, and the files they read (dhis2-core and DHIS2's own chart; observed at 2.42.4.1).
fn attached(instance: &Instance) -> Vec<Attached> {
    let configuration = volume::configuration(&instance.name, HOME);
    let configured = |key: &str| configuration.clone().file(key, &format!("{HOME}/{key}"));
    vec![
        volume::agent().read_only(),
        home(),
        configured(configuration::DHIS_CONF),
        configured(configuration::LOG4J2),
        volume::files(instance),
        // The image sets java.io.tmpdir to it.
        volume::scratch("temp", "/usr/local/tomcat/temp", TMP_MIB),
        volume::scratch("work", "/usr/local/tomcat/work", 1024),
        // Access logs that Tomcat never removes. Scratch space on disk that outgrows its limit gets the pod evicted, DHIS2 killed
        // undrained; a full tmpfs only takes no more lines. It counts as memory of the container, hence the few MiB.
        volume::memory("logs", "/usr/local/tomcat/logs", LOGS_MIB),
        volume::tmp(TMP_MIB),
    ]
}

/// The JVM prints these at its start: no secret may be among them.
fn java_options(instance: &Instance, more: &[&str]) -> String {
    let application = &instance.application;
    // A JVM that has run out of heap answers some requests and fails others, for ever: it is started again, and that is told.
    let own = [format!("-Xmx{}m", application.heap_mib), "-XX:+ExitOnOutOfMemoryError".to_owned()];
    let theirs = application.java_options.iter().map(String::as_str);
    own.iter().map(String::as_str).chain(more.iter().copied()).chain(theirs).collect::<Vec<_>>().join(" ")
}

/// DHIS2 writes JSON to stdout, and no files.
const LOG4J2: &str = "-Dlog4j2.configurationFile=/opt/dhis2/log4j2.xml";

/// The first start and migrations take minutes to hours, during which requests hang; a day, the longest `spec.upgrade.timeout`. A start that has failed is told from
/// them, and ended, by the agent.
fn startup(instance: &Instance) -> Probe {
    let url = format!("http://127.0.0.1:{HTTP}{}", instance.web.context);
    Probe {
        exec: Some(ExecAction { command: Some(agent(&["startup", "--url", &url])) }),
        period_seconds: Some(10),
        timeout_seconds: Some(15),
        failure_threshold: Some(8640),
        ..Probe::default()
    }
}

fn probe(instance: &Instance, path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(format!("{}/api/{path}", instance.web.context)),
            port: IntOrString::String(HTTP_NAME.into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(if path == "ping" { 10 } else { 5 }),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{desired::fixture, kind::Kind};

    fn pod(instance: &Instance) -> serde_json::Value {
        fixture::object(instance, Kind::StatefulSet, "play")["spec"]["template"]["spec"].clone()
    }

    #[test]
    fn the_image_runs_its_own_command() {
        let container = pod(&fixture::plain())["containers"][0].clone();
        assert!(container.get("command").is_none() && container.get("args").is_none());
    }

    #[test]
    fn the_context_path_is_everywhere() {
        let mut instance = fixture::plain();
        instance.web.path = "/hmis".into();
        instance.web.context = "/hmis".into();
        let container = pod(&instance)["containers"][0].clone();
        for (probe, path) in [("livenessProbe", "/hmis/api/ping"), ("readinessProbe", "/hmis/api/loginConfig")] {
            assert_eq!(container[probe]["httpGet"]["path"], path);
        }
        assert_eq!(container["startupProbe"]["exec"]["command"][3], "http://127.0.0.1:8080/hmis");
        assert!(container["env"].as_array().unwrap().contains(&json!({"name": "CATALINA_OPTS", "value": "-Dcontext.path='/hmis'"})));
    }

    #[test]
    fn logs_that_nobody_removes_evict_no_pod() {
        let pod = pod(&fixture::plain());
        let logs = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "logs").unwrap();
        assert_eq!(logs["emptyDir"], json!({"medium": "Memory", "sizeLimit": "4Mi"}));
    }

    #[test]
    fn java_gets_its_heap_and_the_users_options() {
        let mut instance = fixture::plain();
        instance.application.java_options = vec!["-XX:MaxGCPauseMillis=1500".into()];
        assert_eq!(
            java_options(&instance, &[LOG4J2]),
            "-Xmx1996m -XX:+ExitOnOutOfMemoryError -Dlog4j2.configurationFile=/opt/dhis2/log4j2.xml -XX:MaxGCPauseMillis=1500"
        );
    }

    #[test]
    fn a_migration_of_hours_is_not_killed() {
        let probe = pod(&fixture::plain())["containers"][0]["startupProbe"].clone();
        assert!(probe["periodSeconds"].as_i64().unwrap() * probe["failureThreshold"].as_i64().unwrap() >= 24 * 3600);
    }

    #[test]
    fn requests_are_drained_within_the_grace() {
        let pod = pod(&fixture::plain());
        let drain = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"].as_i64().unwrap();
        assert!(drain + 10 < pod["terminationGracePeriodSeconds"].as_i64().unwrap());
    }

    #[test]
    fn the_check_sees_no_password_of_others() {
        let pod = pod(&fixture::plain());
        let secret = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "secret-database").unwrap();
        let keys: Vec<_> = secret["secret"]["items"].as_array().unwrap().iter().map(|item| &item["key"]).collect();
        assert_eq!(keys, ["username", "password"]);
        assert_eq!(secret["secret"]["defaultMode"], 0o440);
    }
}
