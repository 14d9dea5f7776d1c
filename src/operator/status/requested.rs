//! The conditions of what people ask for with an object of its own.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::runbook;
use crate::api::Reason;

/// How a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is waited for or worked on.
    Open,
    /// It did what was asked.
    Complete,
    /// It came to nothing.
    Stalled,
    /// It was taken back.
    Canceled,
}

/// `Complete`, `Reconciling` and `Stalled`. Their times move only with their status.
pub fn conditions(
    old: &[Condition],
    generation: Option<i64>,
    standing: Standing,
    reason: Reason,
    message: &str,
    (runbooks, now): (&str, Timestamp),
) -> Vec<Condition> {
    [("Complete", Standing::Complete), ("Reconciling", Standing::Open), ("Stalled", Standing::Stalled)]
        .into_iter()
        .map(|(kind, when)| {
            let status = if standing == when { "True" } else { "False" };
            let old = old.iter().find(|old| old.type_ == kind && old.status == status);
            Condition {
                type_: kind.into(),
                status: status.into(),
                reason: reason.as_str().into(),
                message: runbook::with_page(message, reason, runbooks),
                observed_generation: generation,
                last_transition_time: old.map_or(Time(now), |old| old.last_transition_time.clone()),
            }
        })
        .collect()
}
