//! How the instances are, for `/metrics`: how many are ready, or not for which reason. No names.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

use super::fleet::Fleet;
use crate::api::Dhis2Instance;

/// Counts at each scrape what the watches keep. Nothing before this replica leads: one that stands by looks at no instance.
#[derive(Clone, Debug, Default)]
pub struct Census(Arc<OnceLock<Arc<Fleet>>>);

/// How an instance is: the status of its condition `Ready`, and its reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct State {
    ready: String,
    reason: String,
}

impl State {
    /// What its status says; nothing is known of one that nobody has looked at.
    fn of(instance: &Dhis2Instance) -> Self {
        let conditions = instance.status.iter().flat_map(|status| &status.conditions);
        let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
        ready.map_or_else(
            || Self { ready: "Unknown".to_owned(), reason: String::new() },
            |ready| Self { ready: ready.status.clone(), reason: ready.reason.clone() },
        )
    }
}

impl Census {
    /// Counts these from now on.
    pub fn of(&self, fleet: Arc<Fleet>) {
        // A process leads once.
        let _ = self.0.set(fleet);
    }
}

impl Collector for Census {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Some(fleet) = self.0.get() else { return Ok(()) };
        let mut counts: BTreeMap<State, i64> = BTreeMap::new();
        fleet.each(|instance| *counts.entry(State::of(instance)).or_default() += 1);
        let mut family = encoder.encode_descriptor("instances", "Instances by their condition Ready", None, MetricType::Gauge)?;
        for (state, count) in counts {
            ConstGauge::new(count).encode(family.encode_family(&state)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;

    use super::*;
    use crate::operator::{arrived::Arrived, metrics::Metrics};

    fn instance(name: &str, ready: Option<(&str, &str)>) -> Arrived {
        let condition = ready.map(|(status, reason)| {
            json!({"type": "Ready", "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-11-25T12:00:00Z"})
        });
        let instance = serde_json::from_value(json!({
            "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance", "metadata": {"name": name, "namespace": "ns"},
            "spec": {"version": "2.42.4", "web": {"host": format!("{name}.example.org")}},
            "status": {"conditions": condition.into_iter().collect::<Vec<_>>()}
        }));
        Arrived(Ok(instance.unwrap()))
    }

    #[test]
    fn instances_are_counted_by_what_they_say() {
        let metrics = Metrics::new();
        let named = "dhis2_operator_instances{";
        assert!(!metrics.encode().unwrap().contains(named), "nobody has looked yet");
        let (store, mut writer) = reflector::store();
        let full = Some(("False", "DiskFull"));
        for instance in [instance("a", Some(("True", "Serving"))), instance("b", full), instance("c", full), instance("d", None)] {
            writer.apply_watcher_event(&Event::Apply(instance));
        }
        metrics.census.of(Arc::new(Fleet::new(vec![store])));
        let body = metrics.encode().unwrap();
        let mut told: Vec<_> = body.lines().filter(|line| line.starts_with(named)).collect();
        told.sort_unstable();
        let wanted = [r#"ready="False",reason="DiskFull"} 2"#, r#"ready="True",reason="Serving"} 1"#, r#"ready="Unknown",reason=""} 1"#];
        assert_eq!(told, wanted.map(|state| format!("{named}{state}")), "{body}");
    }
}
