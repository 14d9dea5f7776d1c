//! What `/metrics` tells. No label holds a name of an object: the number of series does not grow with the fleet.
use std::{fmt, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use super::{backlog::Backlog, census::Census};

/// The media type of [`Metrics::encode`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pass {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    verb: &'static str,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Restart {
    kind: &'static str,
    reason: &'static str,
}

/// The operator's counters; made once, shared by reference.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    passes: Family<Pass, Counter>,
    pass_seconds: Histogram,
    requests: Family<Request, Counter>,
    watch_restarts: Family<Restart, Counter>,
    leader: Gauge,
    /// Who waits for a pass.
    pub backlog: Backlog,
    /// How the instances are.
    pub census: Census,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("dhis2_operator");
        let passes = Family::default();
        let pass_seconds = Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]);
        let requests = Family::default();
        let leader = Gauge::default();
        registry.register("reconcile", "Passes over an instance, by how they ended", passes.clone());
        registry.register_with_unit("reconcile_duration", "Time a pass over an instance took", Unit::Seconds, pass_seconds.clone());
        registry.register(
            "api_requests",
            "Requests to the Kubernetes API, by verb and status code; code 0 is one without an answer",
            requests.clone(),
        );
        let watch_restarts = Family::default();
        registry.register(
            "watch_restarts",
            "Watches that broke off or could not be begun, by kind and reason; their regular ends do not count",
            watch_restarts.clone(),
        );
        registry.register("leader", "1 while this replica leads", leader.clone());
        let (backlog, census) = (Backlog::default(), Census::default());
        registry.register_collector(Box::new(backlog.clone()));
        registry.register_collector(Box::new(census.clone()));
        registry.register("build", "What this program is", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Self { registry, passes, pass_seconds, requests, watch_restarts, leader, backlog, census }
    }

    /// One pass over an instance ended with `result` (the name of an outcome or of an error variant) after `took`.
    pub fn pass(&self, result: &'static str, took: Duration) {
        self.passes.get_or_create(&Pass { result }).inc();
        self.pass_seconds.observe(took.as_secs_f64());
    }

    /// One request to the Kubernetes API was answered with `code`, or not at all (0).
    pub fn request(&self, verb: &'static str, code: u16) {
        self.requests.get_or_create(&Request { verb, code }).inc();
    }

    /// A watch of this kind has to begin again, for this reason.
    pub fn watch_restarted(&self, kind: &'static str, reason: &'static str) {
        self.watch_restarts.get_or_create(&Restart { kind, reason }).inc();
    }

    /// Whether this replica leads.
    pub fn lead(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Everything as `OpenMetrics` text, see [`MEDIA_TYPE`].
    ///
    /// # Errors
    /// A metric that cannot be written: a fault in this module.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut body = String::new();
        text::encode(&mut body, &self.registry)?;
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_shows_up_in_its_own_series() {
        let metrics = Metrics::new();
        metrics.pass("Applied", Duration::from_millis(20));
        metrics.pass("Applied", Duration::from_millis(20));
        metrics.pass("Refused", Duration::from_secs(2));
        metrics.request("patch", 200);
        metrics.request("get", 0);
        metrics.watch_restarted("Pod", "Expired");
        metrics.lead(true);
        let body = metrics.encode().unwrap();
        for line in [
            "dhis2_operator_reconcile_total{result=\"Applied\"} 2",
            "dhis2_operator_reconcile_total{result=\"Refused\"} 1",
            "dhis2_operator_reconcile_duration_seconds_count 3",
            "dhis2_operator_reconcile_duration_seconds_bucket{le=\"0.025\"} 2",
            "dhis2_operator_api_requests_total{verb=\"patch\",code=\"200\"} 1",
            "dhis2_operator_api_requests_total{verb=\"get\",code=\"0\"} 1",
            "dhis2_operator_watch_restarts_total{kind=\"Pod\",reason=\"Expired\"} 1",
            "dhis2_operator_leader 1",
            concat!("dhis2_operator_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(body.lines().any(|found| found == line), "{line} is not in\n{body}");
        }
        assert!(body.ends_with("# EOF\n"));
    }

    #[test]
    fn leadership_can_end() {
        let metrics = Metrics::new();
        metrics.lead(true);
        metrics.lead(false);
        assert!(metrics.encode().unwrap().contains("dhis2_operator_leader 0"));
    }
}
