//! The frame of the steps that run once.

use k8s_openapi::{
    api::{
        batch::v1::{CronJob, CronJobSpec, Job, JobSpec, JobTemplateSpec},
        core::v1::PodSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    Policy, Wanted,
    metadata::{Part, labels, owned},
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

/// When a Job is made, and how much is kept of it.
pub struct Cron<'a> {
    /// Five cron fields, in the time zone of the backups.
    pub schedule: &'a str,
    /// None is made.
    pub suspend: bool,
    /// So many hours late one may still be made: after an outage of the control plane it is made up for.
    pub late: i64,
    /// So many Jobs that succeeded stay, and as many that failed.
    pub kept: i32,
}

/// Jobs by the clock, one at a time, once the instance is secured.
pub fn scheduled(instance: &Instance, part: Part, cron: &Cron<'_>, spec: JobSpec) -> Option<Wanted> {
    scheduled_as(instance, &instance.child(part.into()), part, cron, spec)
}

/// Likewise, where a part has several of them.
pub fn scheduled_as(instance: &Instance, name: &str, part: Part, cron: &Cron<'_>, spec: JobSpec) -> Option<Wanted> {
    let cron_job = CronJob {
        metadata: owned(instance, name, part),
        spec: Some(CronJobSpec {
            schedule: cron.schedule.to_owned(),
            time_zone: instance.backup.time_zone.clone(),
            // The repository is being read, or the servers are about to stop.
            suspend: Some(cron.suspend || instance.restoring.is_some()),
            concurrency_policy: Some("Forbid".into()),
            starting_deadline_seconds: Some(cron.late * 3600),
            successful_jobs_history_limit: Some(cron.kept),
            failed_jobs_history_limit: Some(cron.kept),
            job_template: JobTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels(instance, part)), ..ObjectMeta::default() }),
                spec: Some(spec),
            },
        }),
        status: None,
    };
    instance.stage.secured.then(|| Wanted::new(Kind::CronJob, name, &cron_job, Policy::Keep))
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
