//! Who waits for a pass, for `/metrics`: how many instances, and the oldest for how long. No names.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Unit,
};
use tokio::time::Instant;

use super::world::Key;

/// The instances that were asked for and whose pass has not begun, with the time of the first ask.
#[derive(Clone, Debug, Default)]
pub struct Backlog(Arc<Mutex<HashMap<Key, Instant>>>);

impl Backlog {
    /// A pass is asked for.
    pub fn asked(&self, key: &Key) {
        self.waiting().entry(key.clone()).or_insert_with(Instant::now);
    }

    /// Its pass begins, or there is nothing to look at any more.
    pub fn begun(&self, key: &Key) {
        self.waiting().remove(key);
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Key, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Backlog {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let (length, oldest) = {
            let waiting = self.waiting();
            (waiting.len(), waiting.values().min().map(Instant::elapsed).unwrap_or_default())
        };
        let length = ConstGauge::new(i64::try_from(length).unwrap_or(i64::MAX));
        length.encode(encoder.encode_descriptor("queue_length", "Instances that wait to be looked at", None, MetricType::Gauge)?)?;
        let text = "How long the instance that waits longest has waited";
        ConstGauge::new(oldest.as_secs_f64()).encode(encoder.encode_descriptor(
            "queue_oldest_age",
            text,
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::operator::metrics::Metrics;

    #[tokio::test(start_paused = true)]
    async fn it_tells_how_many_wait_and_since_when_the_first_one_does() {
        let metrics = Metrics::new();
        let told = |name: &str| {
            let body = metrics.encode().unwrap();
            body.lines().find_map(|line| line.strip_prefix(&format!("dhis2_operator_queue_{name} "))).map(str::to_owned)
        };
        let key = |name: &str| Key { namespace: "ns".into(), name: name.into() };
        let (length, age) = (|| told("length").unwrap(), || told("oldest_age_seconds").unwrap());
        assert_eq!((length().as_str(), age().as_str()), ("0", "0.0"));
        metrics.backlog.asked(&key("a"));
        tokio::time::advance(Duration::from_secs(2)).await;
        metrics.backlog.asked(&key("b"));
        metrics.backlog.asked(&key("a"));
        assert_eq!((length().as_str(), age().as_str()), ("2", "2.0"), "asked twice, it waits since the first time");
        metrics.backlog.begun(&key("a"));
        assert_eq!((length().as_str(), age().as_str()), ("1", "0.0"));
        metrics.backlog.begun(&key("b"));
        assert_eq!((length().as_str(), age().as_str()), ("0", "0.0"));
    }
}
