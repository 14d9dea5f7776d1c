//! Pod Security `restricted` as data, after the Pod Security Standards of Kubernetes v1.36: what it asks of a pod's fields. Where a pod
//! may say something for all its containers, ours say it for each.

use serde_json::Value;

/// Fields and the values that they may have, as JSON; `null` is one that is not there. `containers` are those of all three kinds.
const FIELDS: [(&str, &[&str]); 31] = [
    // HostProcess
    ("spec.securityContext.windowsOptions.hostProcess", &["null", "false"]),
    ("spec.containers[].securityContext.windowsOptions.hostProcess", &["null", "false"]),
    // Host Namespaces
    ("spec.hostNetwork", &["null", "false"]),
    ("spec.hostPID", &["null", "false"]),
    ("spec.hostIPC", &["null", "false"]),
    // Privileged Containers
    ("spec.containers[].securityContext.privileged", &["null", "false"]),
    // Capabilities
    ("spec.containers[].securityContext.capabilities.drop", &[r#"["ALL"]"#]),
    ("spec.containers[].securityContext.capabilities.add", &["null", r#"["NET_BIND_SERVICE"]"#]),
    // Host Ports
    ("spec.containers[].ports[].hostPort", &["null", "0"]),
    // Host Probes / Lifecycle Hooks
    ("spec.containers[].livenessProbe.httpGet.host", &["null", r#""""#]),
    ("spec.containers[].readinessProbe.httpGet.host", &["null", r#""""#]),
    ("spec.containers[].startupProbe.httpGet.host", &["null", r#""""#]),
    ("spec.containers[].livenessProbe.tcpSocket.host", &["null", r#""""#]),
    ("spec.containers[].readinessProbe.tcpSocket.host", &["null", r#""""#]),
    ("spec.containers[].startupProbe.tcpSocket.host", &["null", r#""""#]),
    ("spec.containers[].lifecycle.postStart.httpGet.host", &["null", r#""""#]),
    ("spec.containers[].lifecycle.preStop.httpGet.host", &["null", r#""""#]),
    // AppArmor
    ("spec.securityContext.appArmorProfile.type", &["null", r#""RuntimeDefault""#, r#""Localhost""#]),
    ("spec.containers[].securityContext.appArmorProfile.type", &["null", r#""RuntimeDefault""#, r#""Localhost""#]),
    // SELinux
    ("spec.securityContext.seLinuxOptions", &["null"]),
    ("spec.containers[].securityContext.seLinuxOptions", &["null"]),
    // /proc Mount Type
    ("spec.containers[].securityContext.procMount", &["null", r#""Default""#]),
    // Sysctls
    ("spec.securityContext.sysctls", &["null", "[]"]),
    // Privilege Escalation
    ("spec.containers[].securityContext.allowPrivilegeEscalation", &["false"]),
    // Running as Non-root
    ("spec.securityContext.runAsNonRoot", &["true"]),
    ("spec.containers[].securityContext.runAsNonRoot", &["true"]),
    // Running as Non-root user: ours are two, one of them for a container beside the other
    ("spec.securityContext.runAsUser", &["999", "65534"]),
    ("spec.containers[].securityContext.runAsUser", &["null", "65534"]),
    // Seccomp
    ("spec.securityContext.seccompProfile.type", &[r#""RuntimeDefault""#, r#""Localhost""#]),
    ("spec.containers[].securityContext.seccompProfile.type", &[r#""RuntimeDefault""#, r#""Localhost""#]),
    // HostPath Volumes: also below
    ("spec.volumes[].hostPath", &["null"]),
];

/// Volume Types.
const VOLUMES: [&str; 8] = ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];

/// An annotation by which older clusters switched `AppArmor` off.
const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// What a pod's template breaks.
pub fn violations(template: &Value) -> Vec<String> {
    let fields = FIELDS.iter().flat_map(|(path, allowed)| {
        let wrong = at(template, path).into_iter().map(ToString::to_string).filter(|value| !allowed.contains(&value.as_str()));
        wrong.map(move |value| format!("{path}: {value}"))
    });
    let sources = at(template, "spec.volumes[]").into_iter().flat_map(|volume| volume.as_object().into_iter().flat_map(|map| map.keys()));
    let foreign =
        sources.filter(|source| *source != "name" && !VOLUMES.contains(&source.as_str())).map(|source| format!("volume: {source}"));
    let annotations =
        at(template, "metadata.annotations").into_iter().flat_map(|map| map.as_object().into_iter().flat_map(|map| map.keys()));
    fields.chain(foreign).chain(annotations.filter(|key| key.starts_with(APPARMOR)).cloned()).collect()
}

/// The values at a path, `Null` where there is none; of an empty list there are none.
fn at<'a>(value: &'a Value, path: &str) -> Vec<&'a Value> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let found: Vec<&Value> = match first.strip_suffix("[]") {
        Some("containers") => {
            ["initContainers", "containers", "ephemeralContainers"].iter().flat_map(|kind| entries(&value[*kind])).collect()
        }
        Some(list) => entries(&value[list]).collect(),
        None => vec![&value[first]],
    };
    match rest {
        Some(rest) => found.into_iter().flat_map(|value| at(value, rest)).collect(),
        None => found,
    }
}

fn entries(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{desired::fixture, kind::Kind};
    use serde_json::json;

    #[test]
    fn each_break_is_seen() {
        let set = fixture::object(&fixture::plain(), Kind::StatefulSet, "play");
        let good = set["spec"]["template"].clone();
        assert_eq!(violations(&good), Vec::<String>::new());
        for (pointer, value, seen) in [
            ("/spec/hostNetwork", json!(true), "hostNetwork"),
            ("/spec/volumes/0", json!({"name": "a", "hostPath": {"path": "/"}}), "hostPath"),
            ("/spec/volumes/0", json!({"name": "a", "nfs": {"server": "x"}}), "nfs"),
            ("/spec/containers/0/securityContext", json!({}), "runAsNonRoot"),
            ("/spec/initContainers/0/securityContext/capabilities/add", json!(["SYS_ADMIN"]), "SYS_ADMIN"),
            ("/spec/initContainers/1/securityContext/privileged", json!(true), "privileged"),
            ("/spec/containers/0/ports/0/hostPort", json!(8080), "hostPort"),
            ("/spec/containers/0/livenessProbe/httpGet/host", json!("169.254.169.254"), "livenessProbe"),
            ("/spec/securityContext/runAsUser", json!(0), "runAsUser"),
            ("/metadata/annotations", json!({"container.apparmor.security.beta.kubernetes.io/dhis2": "unconfined"}), "apparmor"),
        ] {
            let mut pod = good.clone();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            match pod.pointer_mut(parent).unwrap() {
                Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
                object => object[key] = value,
            }
            let violations = violations(&pod);
            assert!(violations.iter().any(|violation| violation.contains(seen)), "{pointer}: {violations:?}");
        }
    }
}
