//! The frame of the steps that run once.

use k8s_openapi::api::{
    batch::v1::{Job, JobSpec},
    core::v1::PodSpec,
};

use super::{
    Policy, Wanted,
    metadata::{Part, owned},
    pod::template,
};
use crate::operator::{instance::Instance, kind::Kind};

/// What happens when a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Its container is started again until it succeeds.
    InPlace,
    /// A new pod takes over, twice; the failed ones stay and tell why. All of them have two days.
    NewPod,
}

/// A step as a Job.
pub fn job(instance: &Instance, name: &str, part: Part, pod: PodSpec, retry: Retry, policy: Policy) -> Wanted {
    let job = Job { metadata: owned(instance, name, part), spec: Some(spec(instance, part, pod, retry)), status: None };
    Wanted::new(Kind::Job, name, &job, policy)
}

/// The spec of a step. It has no time to live: whoever made it deletes it when its result is recorded.
pub fn spec(instance: &Instance, part: Part, pod: PodSpec, retry: Retry) -> JobSpec {
    let restart_policy = match retry {
        Retry::InPlace => "OnFailure",
        Retry::NewPod => "Never",
    };
    JobSpec {
        backoff_limit: Some(match retry {
            Retry::InPlace => 100_000,
            Retry::NewPod => 2,
        }),
        // A backup that hangs would hold the repository's lock and keep all later ones from being made.
        active_deadline_seconds: (retry == Retry::NewPod).then_some(48 * 3600),
        // Two pods of one step never run side by side.
        pod_replacement_policy: Some("Failed".into()),
        template: template(instance, part, PodSpec { restart_policy: Some(restart_policy.into()), ..pod }, &[]),
        ..JobSpec::default()
    }
}
