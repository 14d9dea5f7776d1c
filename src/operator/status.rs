//! What is told about an instance. Pure; computed once a pass, from data; no other place makes a status.

mod analytics;
mod backup;
mod bootstrap;
mod capacity;
mod conditions;
mod copies;
mod errand;
mod facts;
mod mirror;
mod operation;
mod recoverable;
mod requested;
mod restore;
mod rollback;
mod runbook;
mod upgrade;
mod verify;
mod volumes;

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};

pub use errand::{Answer, Answers, Hold, View, answers};
pub use mirror::{Gone, Mirror, Mirrors, mirrors};
pub use restore::{News, news};
pub use runbook::linked;
pub use volumes::{Superseded, superseded};

use super::{
    apply,
    blocked::Obstacle,
    contest::Contested,
    instance::Instance,
    kind::Kind,
    observe::{self, Observed},
    parse::Refusal,
    restart::Restart,
};
use crate::api::{Dhis2Instance, Dhis2InstanceStatus, Reason, status::Made};

/// How a pass went.
#[derive(Debug)]
pub enum Outcome {
    /// The resource says: hands off.
    Paused,
    /// Nothing was touched, for this reason.
    Refused(Refusal),
    /// The API server did not take something just now; it is tried again.
    Interrupted {
        /// What was parsed.
        instance: Box<Instance>,
        /// Secrets and claims to be recorded.
        made: Vec<(Kind, Made)>,
    },
    /// Something could not be written that needs a person.
    Failed {
        /// What was parsed.
        instance: Box<Instance>,
        /// Secrets and claims to be recorded.
        made: Vec<(Kind, Made)>,
        /// What stood in the way.
        refusal: Refusal,
    },
    /// Everything that is due was written.
    Applied {
        /// What was parsed.
        instance: Box<Instance>,
        /// Secrets and claims to be recorded.
        made: Vec<(Kind, Made)>,
        /// What restarting needs.
        restart: Restart,
        /// Objects that somebody else keeps changing.
        contested: Vec<Contested>,
        /// Was everything so already, so that nothing was written?
        quiet: bool,
    },
}

impl Outcome {
    /// When an object that somebody else keeps changing is to be looked at again.
    pub fn again(&self) -> Option<Duration> {
        match self {
            Self::Applied { contested, .. } => contested.iter().map(|contested| contested.again).min(),
            _ => None,
        }
    }
}

/// The status after a pass.
pub fn status(resource: &Dhis2Instance, observed: &Observed, outcome: &Outcome, now: Timestamp) -> Dhis2InstanceStatus {
    let mut status = facts::recorded(resource, observed, outcome, now);
    status.observed_generation = resource.metadata.generation;
    status.conditions = conditions::conditions(resource, &status, observed, outcome, now);
    status
}

/// When an instance is to be looked at again although nothing happens: when its last backup gets too old, or a Secret that is
/// lost may be back. A backup that is too old already is no reason: it was told, and the next one brings a pass.
pub fn revisit(resource: &Dhis2Instance, status: &Dhis2InstanceStatus, observed: &Observed, now: Timestamp) -> Duration {
    const DAY: Duration = Duration::from_hours(24);
    let overdue = [
        backup::overdue_in(status, now),
        verify::overdue_in(status, now),
        copies::overdue_in(status, now),
        recoverable::overdue_in(resource, status, now),
        analytics::again_in(status, now),
    ];
    let overdue = overdue.into_iter().flatten().filter(|wait| !wait.is_zero());
    overdue.chain(search(status, observed, now)).chain(operation::again(status)).fold(DAY, Duration::min)
}

/// Secrets are not watched: one that is lost or missing is looked for, soon at first, every five minutes in the end. One that the
/// kubelet misses needs no search: it looks itself, and its pod is watched.
fn search(status: &Dhis2InstanceStatus, observed: &Observed, now: Timestamp) -> Option<Duration> {
    let searched = |reason: &str| reason == Reason::SecretLost.as_str() || !observed.missing.is_empty();
    let lost = |condition: &&Condition| condition.type_ == "Stalled" && searched(&condition.reason);
    let since = status.conditions.iter().find(lost)?.last_transition_time.0;
    let missing = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    Some(missing.clamp(Duration::from_secs(30), Duration::from_mins(5)))
}

/// What a failed write means for a person; none when it is not to be told, as after losing leadership.
pub fn told(error: &apply::Error) -> Option<Refusal> {
    match error {
        apply::Error::Conflict(Obstacle { kind, name, retained: true, .. }) => Some(Refusal::new(
            Reason::RetainedDataFound,
            format!(
                "{} {name} was left behind by a deleted instance of this name. Set spec.adopt: true to take over its data, or delete it, or use another name.",
                kind.name()
            ),
        )),
        apply::Error::Conflict(Obstacle { kind, name, .. }) => Some(Refusal::new(
            Reason::NameConflict,
            format!(
                "{} {name} exists and belongs to somebody else. Was an instance of this name deleted a moment ago, its objects go by themselves: wait. Otherwise use another name, or delete what is there if nobody needs it.",
                kind.name()
            ),
        )),
        apply::Error::Api { verb, kind, name, source } => Some(api_error(verb, *kind, name, source)),
        apply::Error::Random(_) => Some(Refusal::new(Reason::Failed, "the operating system gives no random bytes")),
        apply::Error::Fenced => None,
    }
}

/// What it means for a person that the cluster could not be looked at; none when that usually passes.
pub fn unseen(error: &observe::Error) -> Option<Refusal> {
    Some(api_error("get the metadata of", error.kind, &error.name, &error.source)).filter(|refusal| refusal.reason == Reason::Forbidden)
}

/// `User "…" cannot create resource "…"`: what an admission policy refuses has the same code, and any words.
fn lacks_a_right(message: &str) -> bool {
    message.contains("\" cannot ") && message.contains(" resource \"")
}

fn api_error(verb: &str, kind: Kind, name: &str, source: &kube::Error) -> Refusal {
    let (reason, detail) = match source {
        kube::Error::Api(status) if status.is_forbidden() && lacks_a_right(&status.message) => (Reason::Forbidden, status.message.clone()),
        kube::Error::Api(status) if status.is_forbidden() || status.is_invalid() || status.code == 400 => {
            (Reason::ObjectRejected, status.message.clone())
        }
        kube::Error::Api(status) => (Reason::Failed, status.message.clone()),
        // Its words may differ from try to try, and each other text would be a write.
        _ => (Reason::Failed, "the API server could not be reached; the operator's log says more".to_owned()),
    };
    let detail: String = detail.chars().take(600).collect();
    Refusal::new(reason, format!("could not {verb} {} {name}: {detail}", kind.name()))
}

#[cfg(test)]
mod tests;
