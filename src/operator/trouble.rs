//! What keeps a pod from working, as far as its status tells: in one reason and one sentence.

use serde_json::Value;

use crate::{
    api::Reason,
    report::{Outcome, Report, Verb},
};

/// What keeps a pod from working.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The reason, one of the closed list.
    pub reason: Reason,
    /// What is wrong and where.
    pub message: String,
}

/// Longest text of others that is passed on.
const LONGEST: usize = 600;

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn cut(message: &str) -> String {
    message.chars().take(LONGEST).collect()
}

/// The trouble of a pod, the earliest in its life first; servers that run beside its own containers, and are ended with them, last.
pub fn of_pod(pod: &Value) -> Option<Trouble> {
    let (beside, own): (Vec<&Value>, Vec<&Value>) = containers(pod).partition(|container| is_beside(pod, container));
    unschedulable(pod).or_else(|| own.into_iter().chain(beside).find_map(of_container))
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["/status/initContainerStatuses", "/status/containerStatuses"].into_iter().filter_map(|list| pod.pointer(list)?.as_array()).flatten()
}

/// Is it an init container that runs on beside those after it?
fn is_beside(pod: &Value, container: &Value) -> bool {
    let mut before = pod.pointer("/spec/initContainers").and_then(Value::as_array).into_iter().flatten();
    before.any(|spec| spec["restartPolicy"] == "Always" && spec["name"] == container["name"])
}

fn unschedulable(pod: &Value) -> Option<Trouble> {
    let condition = pod.pointer("/status/conditions")?.as_array()?.iter().find(|condition| {
        text(condition, "/type") == "PodScheduled" && text(condition, "/status") == "False" && text(condition, "/reason") == "Unschedulable"
    })?;
    Some(Trouble { reason: Reason::Unschedulable, message: cut(text(condition, "/message")) })
}

fn of_container(container: &Value) -> Option<Trouble> {
    let name = text(container, "/name");
    let waiting = text(container, "/state/waiting/reason");
    let detail = cut(text(container, "/state/waiting/message"));
    match waiting {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
            return Some(Trouble { reason: Reason::ImageUnavailable, message: format!("{}: {detail}", text(container, "/image")) });
        }
        "CreateContainerConfigError" => {
            return Some(Trouble { reason: Reason::SecretMissing, message: format!("container {name}: {detail}") });
        }
        "CreateContainerError" | "RunContainerError" => {
            return Some(Trouble { reason: Reason::ContainerRefused, message: format!("container {name}: {detail}") });
        }
        _ => {}
    }
    let told = last_report(container).filter(|report| report.outcome != Outcome::Done && stands(report, container));
    if let Some(report) = told {
        return Some(Trouble { reason: reason_of(&report), message: cut(&report.message) });
    }
    of_end(container, waiting == "CrashLoopBackOff")
}

/// What a JVM ends with when its heap is used up (`-XX:+ExitOnOutOfMemoryError`, `OpenJDK` 17).
const HEAP_EXIT: i64 = 3;

/// What a process ends with that was killed (128 + `SIGKILL`).
const KILLED_EXIT: i64 = 137;

/// The trouble of a container whose last end left no report; `again` when it has ended so often that it has to wait.
fn of_end(container: &Value, again: bool) -> Option<Trouble> {
    let end = ["/state/terminated", "/lastState/terminated"].into_iter().find_map(|state| container.pointer(state))?;
    let name = text(container, "/name");
    let exit = end.pointer("/exitCode").and_then(Value::as_i64).unwrap_or_default();
    let (reason, message) = if is_started(container) {
        return None;
    } else if text(end, "/reason") == "OOMKilled" {
        (Reason::OutOfMemory, format!("container {name} was killed since it used more memory than its limit: raise its memory, or size"))
    } else if name == "dhis2" && exit == HEAP_EXIT {
        let message = "DHIS2 used up its heap and was ended: raise spec.resources.memory, spec.size or spec.java.heapPercent";
        (Reason::OutOfMemory, message.to_owned())
    } else if exit == KILLED_EXIT {
        let message =
            "was killed by its node: the node ran out of memory, or would not wait for its end any longer; see `kubectl describe node`";
        (Reason::Killed, format!("container {name} {message} and the kernel's log there"))
    } else if again {
        (Reason::CrashLoop, format!("container {name} ended with exit code {exit} and is started again; see its log"))
    } else {
        return None;
    };
    Some(Trouble { reason, message })
}

/// Does the report of a container's end still tell how it is? A server whose start has failed is started again at once, and
/// has not got over that until it has started; what watches a server has not until all was well.
fn stands(report: &Report, container: &Value) -> bool {
    let running = container.pointer("/state/running").is_some();
    !running || (matches!(report.verb, Verb::Startup | Verb::Watch) && !is_started(container))
}

fn is_started(container: &Value) -> bool {
    container.pointer("/started").and_then(Value::as_bool).unwrap_or_default()
}

/// Who of a pod was ready, runs still, and does not answer any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The server.
    Server,
    /// Only what watches it, which tells all else by its end: what it looks at hangs where no signal reaches, and it can't end.
    Watch,
    /// Nobody that its kubelet tells of: somebody else says so, who has not heard of the kubelet.
    Node,
}

/// Who does not answer, if somebody does not.
pub fn silence(pod: &Value) -> Option<Silence> {
    if !fell_silent(pod) {
        return None;
    }
    let silent = pod.pointer("/status/containerStatuses")?.as_array()?.iter().filter(|container| container["ready"] == false);
    let silent: Vec<&str> = silent.map(|container| text(container, "/name")).collect();
    Some(match silent[..] {
        // What balances loads may add gates of its own to a pod's readiness.
        [] if pod.pointer("/spec/readinessGates").is_none() => Silence::Node,
        ["watch"] => Silence::Watch,
        _ => Silence::Server,
    })
}

/// Was the pod ready since its containers run, and is it not any more? Then it is neither starting nor gone: it does not answer.
fn fell_silent(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions.into_iter().flatten().find(|condition| text(condition, "/type") == "Ready");
    let Some(lost) = ready.filter(|ready| text(ready, "/status") == "False").map(|ready| text(ready, "/lastTransitionTime")) else {
        return false;
    };
    let mut mains = pod.pointer("/status/containerStatuses").and_then(Value::as_array).into_iter().flatten();
    // Times of the API server have one form: their order is that of their letters.
    mains.all(|container| is_started(container) && text(container, "/state/running/startedAt") < lost)
}

fn last_report(container: &Value) -> Option<Report> {
    ["/state/terminated/message", "/lastState/terminated/message"]
        .into_iter()
        .find_map(|pointer| Report::parse(container.pointer(pointer)?.as_str()?))
}

/// The newest report of each container.
pub fn reports(pod: &Value) -> Vec<Report> {
    containers(pod).filter_map(last_report).filter(|report| report.data.is_some() || report.outcome != Outcome::Done).collect()
}

/// The reason that a report names, in the words of the API.
pub fn reason_of(report: &Report) -> Reason {
    report.reason.and_then(|reason| reason.to_string().parse().ok()).unwrap_or(Reason::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Refusal;
    use serde_json::json;
    use strum::IntoEnumIterator;

    fn pod(container: &Value) -> Value {
        json!({"status": {"initContainerStatuses": [{"name": "install", "state": {"terminated": {"exitCode": 0}}}], "containerStatuses": [container]}})
    }

    #[test]
    fn every_cause_that_an_agent_names_is_a_reason_of_the_api() {
        for refusal in Refusal::iter() {
            assert!(refusal.to_string().parse::<Reason>().is_ok(), "{refusal}");
        }
    }

    #[test]
    fn a_healthy_pod_has_no_trouble() {
        assert_eq!(of_pod(&pod(&json!({"name": "a", "state": {"running": {}}}))), None);
        assert_eq!(of_pod(&json!({})), None);
    }

    #[test]
    fn what_the_agent_reports_is_told() {
        let report = r#"{"verb":"check","outcome":"Refused","reason":"DowngradeRefused","message":"no way back"}"#;
        let container = json!({"name": "check", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 2, "message": report}}});
        assert_eq!(of_pod(&pod(&container)), Some(Trouble { reason: Reason::DowngradeRefused, message: "no way back".into() }));
    }

    #[test]
    fn what_waits_for_a_server_beside_it_tells_why_it_ended_not_the_server_that_was_ended_with_it() {
        let report = r#"{"verb":"prove","outcome":"Refused","reason":"ApplicationTestFailed","message":"it does not start"}"#;
        let pod = json!({
            "spec": {"initContainers": [{"name": "restore"}, {"name": "dhis2", "restartPolicy": "Always"}]},
            "status": {
                "initContainerStatuses": [
                    {"name": "restore", "state": {"terminated": {"exitCode": 0}}},
                    {"name": "dhis2", "state": {"terminated": {"exitCode": 137}}},
                ],
                "containerStatuses": [{"name": "verify", "state": {"terminated": {"exitCode": 2, "message": report}}}],
            },
        });
        assert_eq!(of_pod(&pod).unwrap().reason, Reason::ApplicationTestFailed);
    }

    #[test]
    fn a_failed_start_is_told_until_one_succeeds() {
        let report = r#"{"verb":"startup","outcome":"Failed","reason":"StartFailed","message":"it answers 404"}"#;
        let told = |state: Value, started: bool| {
            let last = json!({"terminated": {"exitCode": 143, "message": report}});
            let container = json!({"name": "dhis2", "state": state, "started": started, "lastState": last});
            of_pod(&pod(&container)).map(|trouble| trouble.reason)
        };
        for state in [json!({"waiting": {"reason": "CrashLoopBackOff"}}), json!({"running": {}})] {
            assert_eq!(told(state, false), Some(Reason::StartFailed));
        }
        assert_eq!(told(json!({"running": {}}), true), None);
    }

    #[test]
    fn what_watches_a_server_is_believed_until_all_was_well() {
        let report = r#"{"verb":"watch","outcome":"Refused","reason":"DiskFull","message":"no room"}"#;
        let told = |started: bool| {
            let last = json!({"terminated": {"exitCode": 2, "message": report}});
            let container = json!({"name": "watch", "state": {"running": {}}, "started": started, "lastState": last});
            of_pod(&pod(&container)).map(|trouble| trouble.reason)
        };
        assert_eq!((told(false), told(true)), (Some(Reason::DiskFull), None));
    }

    #[test]
    fn a_pod_that_no_node_takes_is_told() {
        let condition = |status: &str| json!({"type": "PodScheduled", "status": status, "reason": "Unschedulable", "message": "0/3 nodes"});
        let told = |status: &str| of_pod(&json!({"status": {"conditions": [condition(status)]}}));
        assert_eq!(told("False"), Some(Trouble { reason: Reason::Unschedulable, message: "0/3 nodes".into() }));
        assert_eq!(told("True"), None);
    }

    #[test]
    fn what_the_kubelet_reports_is_told() {
        for (state, last, reason) in [
            (json!({"waiting": {"reason": "ImagePullBackOff"}}), json!({}), Reason::ImageUnavailable),
            (
                json!({"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"x\" not found"}}),
                json!({}),
                Reason::SecretMissing,
            ),
            (
                json!({"waiting": {"reason": "CreateContainerError", "message": "no space left on device"}}),
                json!({}),
                Reason::ContainerRefused,
            ),
            (json!({"waiting": {"reason": "CrashLoopBackOff"}}), json!({"terminated": {"reason": "OOMKilled"}}), Reason::OutOfMemory),
            (
                json!({"waiting": {"reason": "CrashLoopBackOff"}}),
                json!({"terminated": {"reason": "Completed", "exitCode": 0}}),
                Reason::CrashLoop,
            ),
        ] {
            let trouble = of_pod(&pod(&json!({"name": "dhis2", "image": "i", "state": state, "lastState": last}))).unwrap();
            assert_eq!(trouble.reason, reason);
        }
    }

    #[test]
    fn memory_that_ran_out_is_told_until_the_next_start_succeeds() {
        let told = |end: Value, started: bool| {
            let container = json!({"name": "dhis2", "state": {"running": {}}, "started": started, "lastState": {"terminated": end}});
            of_pod(&pod(&container)).map(|trouble| trouble.reason)
        };
        for end in [json!({"reason": "OOMKilled", "exitCode": 137}), json!({"reason": "Error", "exitCode": 3})] {
            assert_eq!(told(end.clone(), false), Some(Reason::OutOfMemory));
            assert_eq!(told(end, true), None);
        }
        assert_eq!(told(json!({"reason": "Error", "exitCode": 137}), false), Some(Reason::Killed), "by a node without memory");
        assert_eq!(told(json!({"reason": "Error", "exitCode": 143}), false), None, "a restart that was asked for");
    }

    #[test]
    fn what_watches_and_can_not_end_is_told_from_a_server_that_does_not_answer() {
        let told = |server: bool, watch: bool, spec: Value| {
            let container = |name: &str, ready: bool| json!({"name": name, "started": true, "ready": ready, "state": {"running": {"startedAt": "2026-01-01T00:00:10Z"}}});
            silence(&json!({"spec": spec, "status": {
                "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:05:00Z"}],
                "containerStatuses": [container("database", server), container("watch", watch)]
            }}))
        };
        let silence = |server: bool, watch: bool| told(server, watch, json!({}));
        let gates = json!({"readinessGates": [{"conditionType": "target-health.example.org/play"}]});
        assert_eq!(told(true, true, gates), Some(Silence::Server), "who balances loads keeps it from being ready");
        assert_eq!(silence(true, true), Some(Silence::Node), "the kubelet would have told who is not ready");
        assert_eq!(silence(true, false), Some(Silence::Watch));
        assert_eq!(silence(false, false), Some(Silence::Server));
        assert_eq!(silence(false, true), Some(Silence::Server));
    }

    #[test]
    fn a_server_falls_silent_only_after_it_was_ready() {
        let silent = |status: &str, lost: &str, started: bool| {
            let container = json!({"name": "dhis2", "started": started, "state": {"running": {"startedAt": "2026-01-01T00:00:10Z"}}});
            fell_silent(&json!({"status": {
                "conditions": [{"type": "Ready", "status": status, "lastTransitionTime": lost}], "containerStatuses": [container]
            }}))
        };
        assert!(silent("False", "2026-01-01T00:05:00Z", true));
        assert!(!silent("True", "2026-01-01T00:05:00Z", true));
        assert!(!silent("False", "2026-01-01T00:00:05Z", true), "it has started and was not ready yet");
        assert!(!silent("False", "2026-01-01T00:05:00Z", false), "it was started again");
    }
}
