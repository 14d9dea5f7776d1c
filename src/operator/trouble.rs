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

/// The trouble of a pod, the earliest in its life first.
pub fn of_pod(pod: &Value) -> Option<Trouble> {
    unschedulable(pod).or_else(|| containers(pod).find_map(of_container))
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["/status/initContainerStatuses", "/status/containerStatuses"].into_iter().filter_map(|list| pod.pointer(list)?.as_array()).flatten()
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
    let told = last_report(container).filter(|report| report.outcome != Outcome::Done);
    let reason = match waiting {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
            return Some(Trouble { reason: Reason::ImageUnavailable, message: format!("{}: {detail}", text(container, "/image")) });
        }
        "CreateContainerConfigError" => {
            return Some(Trouble { reason: Reason::SecretMissing, message: format!("container {name}: {detail}") });
        }
        _ if told.as_ref().is_some_and(|report| stands(report, container)) => {
            return told.map(|report| Trouble { reason: reason_of(&report), message: cut(&report.message) });
        }
        "CrashLoopBackOff" if text(container, "/lastState/terminated/reason") == "OOMKilled" => Reason::OutOfMemory,
        "CrashLoopBackOff" => Reason::CrashLoop,
        _ if text(container, "/state/terminated/reason") == "OOMKilled" => Reason::OutOfMemory,
        _ => return None,
    };
    let exit = container.pointer("/lastState/terminated/exitCode").and_then(Value::as_i64).unwrap_or_default();
    Some(Trouble { reason, message: format!("container {name} ended with exit code {exit} and is started again; see its log") })
}

/// Does the report of a container's end still tell how it is? A server whose start has failed is started again at once, and
/// has not got over that until it has started.
fn stands(report: &Report, container: &Value) -> bool {
    let running = container.pointer("/state/running").is_some();
    let started = container.pointer("/started").and_then(Value::as_bool).unwrap_or_default();
    !running || (report.verb == Verb::Startup && !started)
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
}
