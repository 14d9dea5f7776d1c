//! One event for each transition of a condition that people watch.

use std::sync::{Mutex, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use super::leader::Leadership;
use crate::api::{Dhis2Instance, Dhis2InstanceStatus, Reason};

/// Conditions whose transitions are events.
const TOLD: [&str; 10] = [
    "Ready",
    "Stalled",
    "AdminPasswordSet",
    "BackupHealthy",
    "ContentSane",
    "RestoreVerified",
    "CapacitySufficient",
    "DataLoaded",
    "BackupCopied",
    "AnalyticsFresh",
];

/// A recorder keeps every event for minutes, to tell repetitions as such, and looks through all of them at each. After this many it is
/// replaced: those of a burst would be most of the operator's memory.
const KEPT: usize = 256;

/// Publishes events.
pub struct Events {
    client: Client,
    reporter: Reporter,
    recorder: Mutex<(Recorder, usize)>,
}

impl Events {
    /// In the name of this reporter.
    pub fn new(client: Client, reporter: Reporter) -> Self {
        let recorder = Mutex::new((Recorder::new(client.clone(), reporter.clone()), 0));
        Self { client, reporter, recorder }
    }

    /// The recorder of the next event.
    fn recorder(&self) -> Recorder {
        let mut place = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        let (recorder, told) = &mut *place;
        if *told == KEPT {
            (*recorder, *told) = (Recorder::new(self.client.clone(), self.reporter.clone()), 0);
        }
        *told += 1;
        recorder.clone()
    }
}

/// Publishes the transitions between the resource's old status and the new one. An event that can't be
/// published is logged and changes nothing.
pub async fn publish(events: &Events, leadership: &Leadership, resource: &Dhis2Instance, told: &Dhis2InstanceStatus) {
    let reference = resource.object_ref(&());
    for event in transitions(resource.status.as_ref(), told) {
        if !leadership.still_leading() {
            return;
        }
        if let Err(error) = events.recorder().publish(&event, &reference).await {
            tracing::warn!(%error, "an event was not published");
        }
    }
}

fn transitions(old: Option<&Dhis2InstanceStatus>, new: &Dhis2InstanceStatus) -> Vec<Event> {
    let before = |kind: &str| old.iter().flat_map(|status| &status.conditions).find(|condition| condition.type_ == kind);
    new.conditions
        .iter()
        .filter(|condition| TOLD.contains(&condition.type_.as_str()) || is_contested(condition))
        .filter(|condition| match before(&condition.type_) {
            Some(old) => (&old.status, &old.reason) != (&condition.status, &condition.reason),
            // Of a new instance, how it is, and nothing else that is as it should be.
            None => condition.type_ == "Ready" || is_trouble(condition),
        })
        .map(event)
        .collect()
}

/// Nobody looks at a condition of an instance that serves: that somebody fights with the operator is told in an event.
fn is_contested(condition: &Condition) -> bool {
    condition.reason == Reason::FieldContested.as_str()
}

fn is_trouble(condition: &Condition) -> bool {
    condition.reason.parse().is_ok_and(Reason::is_trouble)
}

fn event(condition: &Condition) -> Event {
    Event {
        type_: if is_trouble(condition) { EventType::Warning } else { EventType::Normal },
        reason: condition.reason.clone(),
        note: Some(format!("{}: {}", condition.type_, condition.message)),
        action: condition.type_.clone(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(ready: &str, reason: &str, message: &str) -> Dhis2InstanceStatus {
        of("Ready", ready, reason, message)
    }

    fn of(kind: &str, status: &str, reason: &str, message: &str) -> Dhis2InstanceStatus {
        let condition =
            json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"});
        serde_json::from_value(json!({ "conditions": [condition] })).unwrap()
    }

    #[test]
    fn analytics_that_are_lost_and_not_generated_are_told() {
        let told = |reason| of("AnalyticsFresh", "False", reason, "no space");
        let events = transitions(Some(&told("GeneratingAnalytics")), &told("AnalyticsFailed"));
        assert_eq!(events.iter().map(|event| event.reason.as_str()).collect::<Vec<_>>(), ["AnalyticsFailed"]);
    }

    #[test]
    fn one_event_a_transition_and_none_for_a_new_wording() {
        let old = status("False", "StartingDatabase", "a");
        assert_eq!(transitions(Some(&old), &status("False", "StartingDatabase", "b")).len(), 0);
        assert_eq!(transitions(Some(&old), &status("True", "Serving", "")).len(), 1);
        assert_eq!(transitions(Some(&old), &status("False", "DiskFull", "")).len(), 1);
        assert_eq!(transitions(None, &old).len(), 1);
    }

    #[test]
    fn a_new_instance_is_told_once() {
        let mut new = status("False", "Creating", "");
        new.conditions.extend(of("Stalled", "False", "Unobstructed", "").conditions);
        let reasons = |new: &Dhis2InstanceStatus| transitions(None, new).into_iter().map(|event| event.reason).collect::<Vec<_>>();
        assert_eq!(reasons(&new), ["Creating"]);
        new.conditions.extend(of("BackupHealthy", "False", "BackupFailed", "").conditions);
        assert_eq!(reasons(&new), ["Creating", "BackupFailed"]);
    }

    #[test]
    fn what_a_backup_or_a_restore_test_finds_is_a_warning() {
        for (kind, reason) in
            [("ContentSane", "ContentShrunk"), ("RestoreVerified", "RepositoryDamaged"), ("CapacitySufficient", "CapacityShort")]
        {
            let told = transitions(Some(&of(kind, "True", "Done", "")), &of(kind, "False", reason, ""));
            assert_eq!(
                told.into_iter().map(|event| (event.type_, event.reason)).collect::<Vec<_>>(),
                [(EventType::Warning, reason.into())]
            );
        }
    }

    #[test]
    fn a_fight_over_a_field_is_a_warning_and_other_work_no_event() {
        let calm = of("Reconciling", "False", "Settled", "");
        assert_eq!(transitions(Some(&calm), &of("Reconciling", "True", "Restarting", "")).len(), 0);
        let told = transitions(Some(&calm), &of("Reconciling", "True", "FieldContested", ""));
        assert_eq!(told.into_iter().map(|event| event.type_).collect::<Vec<_>>(), [EventType::Warning]);
    }

    #[test]
    fn only_what_goes_wrong_is_a_warning() {
        for (ready, reason, kind) in [
            ("False", "StartingDatabase", EventType::Normal),
            ("True", "Serving", EventType::Normal),
            ("False", "DiskFull", EventType::Warning),
        ] {
            assert_eq!(transitions(None, &status(ready, reason, "")).remove(0).type_, kind, "{reason}");
        }
    }

    #[tokio::test]
    async fn repetitions_are_told_as_such_and_a_burst_is_not_kept() {
        let asked = std::sync::Arc::new(Mutex::new(Vec::new()));
        let methods = asked.clone();
        let server = tower::service_fn(move |request: axum::http::Request<kube::client::Body>| {
            methods.lock().unwrap().push(request.method().to_string());
            async {
                let body = request.into_body().collect_bytes().await.unwrap();
                let mut event: serde_json::Value = serde_json::from_slice(&body).unwrap();
                event["metadata"]["namespace"] = json!("ns");
                Ok::<_, std::convert::Infallible>(axum::http::Response::new(axum::body::Body::from(event.to_string())))
            }
        });
        let reporter = Reporter { controller: "operator".into(), instance: None };
        let events = Events::new(Client::new(server, "ns"), reporter);
        let reference = |name: String| k8s_openapi::api::core::v1::ObjectReference {
            name: Some(name),
            namespace: Some("ns".into()),
            ..Default::default()
        };
        let told = event(&status("False", "Failed", "").conditions[0]);
        let tell = async |name: String| drop(events.recorder().publish(&told, &reference(name)).await);
        tell("play".into()).await;
        tell("play".into()).await;
        assert_eq!(*asked.lock().unwrap(), ["POST", "PATCH"]);
        for number in 0..KEPT {
            tell(number.to_string()).await;
        }
        tell("play".into()).await;
        assert_eq!(asked.lock().unwrap().last().unwrap(), "POST", "the first one was forgotten");
    }
}
