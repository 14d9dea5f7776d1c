//! The analytics tables: what they are lost by, whether DHIS2 has generated them since, and when it is asked again. Pure.

use std::time::Duration;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};
use kube::ResourceExt;

use super::{conditions::Told, operation::ended};
use crate::{
    api::{
        Dhis2Instance, Dhis2InstanceStatus, Reason,
        analytics::Generate,
        restore::Phase,
        status::{AnalyticsStatus, Operation, OperationStatus},
    },
    dhis2::version::{Line, Version},
    operator::{desired::analytics::job_name, kind::Kind, observe::Observed},
    report::{Data, Generation},
};

/// A run that failed is tried again after this time: it takes DHIS2 hours, and what it failed for may be gone by then.
const AGAIN: SignedDuration = SignedDuration::from_hours(6);

/// Whoever opens a dashboard after a restore sees an empty one, and must not take that for a loss.
pub fn derived(resource: &Dhis2Instance) -> &'static str {
    match resource.spec.analytics.generate {
        Generate::WhenMissing => {
            "What DHIS2 makes itself is in no set: dashboards are empty until it has generated its analytics tables, as the condition AnalyticsFresh tells."
        }
        Generate::Never => {
            "What DHIS2 makes itself is in no set: dashboards are empty until it has generated its analytics tables (app Data Administration)."
        }
    }
}

/// After a pass that led from `before` to `status`: lost, generated, or tried again.
pub fn advance(
    before: &Dhis2InstanceStatus,
    status: &mut Dhis2InstanceStatus,
    resource: &Dhis2Instance,
    observed: &Observed,
    now: Timestamp,
) {
    let never = resource.spec.analytics.generate == Generate::Never;
    if let Some((after, all)) = lost(before, status, resource).filter(|_| !never) {
        let (after, since) = (<&str>::from(after).to_owned(), Some(Time(now)));
        let run = status.analytics.as_ref().map_or(0, |analytics| analytics.run) + 1;
        status.analytics = Some(Box::new(AnalyticsStatus { after, run, all, since, ..AnalyticsStatus::default() }));
        return;
    }
    let Some(analytics) = status.analytics.as_deref_mut() else { return };
    match &analytics.finished {
        None if never => end_with(analytics, Generation::NotNeeded, 0, "people generate them", now),
        Some(_) if never => {}
        None => end(analytics, &resource.name_any(), observed, now),
        Some(finished) if failed(analytics) && now.duration_since(finished.0) >= AGAIN => {
            // What failed may have left some of them.
            (analytics.all, analytics.run) = (true, analytics.run + 1);
            (analytics.finished, analytics.outcome) = (None, None);
        }
        Some(_) => {}
    }
}

/// What tables are lost by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
enum Loss {
    Restore,
    Rollback,
    Upgrade,
    Bootstrap,
}

/// What has just ended, and whether the tables that are there are of no use.
fn lost(before: &Dhis2InstanceStatus, status: &Dhis2InstanceStatus, resource: &Dhis2Instance) -> Option<(Loss, bool)> {
    if let Some(loaded) = status.bootstrap.as_ref().filter(|_| before.bootstrap.is_none()) {
        // A dump brings those of its line along.
        let line = loaded.schema.as_deref().and_then(Line::of_schema);
        let asked = resource.spec.version.parse::<Version>().ok().map(Version::line);
        return Some((Loss::Bootstrap, line.is_some() && line != asked));
    }
    let line = |status: &Dhis2InstanceStatus| status.version.as_ref()?.running.as_ref()?.parse().ok().map(Version::line);
    let other = line(before).zip(line(status)).is_some_and(|(old, new)| old != new);
    restored(before, status).map(|loss| (loss, false)).or(other.then_some((Loss::Upgrade, true)))
}

/// Has the instance just come to serve a set?
fn restored(before: &Dhis2InstanceStatus, status: &Dhis2InstanceStatus) -> Option<Loss> {
    let started = before.operation.as_deref().filter(|old| is(old, Phase::Starting) && !old.revert)?;
    let now = status.operation.as_deref();
    match started.operation()? {
        Operation::Restore => now.is_some_and(|now| now.uid == started.uid && is(now, Phase::Done)).then_some(Loss::Restore),
        Operation::Rollback => now.is_none().then_some(Loss::Rollback),
        Operation::Upgrade => None,
    }
}

fn is(operation: &OperationStatus, phase: Phase) -> bool {
    operation.phase == phase.as_str()
}

fn failed(analytics: &AnalyticsStatus) -> bool {
    let outcome = analytics.outcome.as_deref().and_then(|outcome| outcome.parse().ok());
    matches!(outcome, None | Some(Generation::Failed | Generation::ByHand))
}

fn end(analytics: &mut AnalyticsStatus, name: &str, observed: &Observed, now: Timestamp) {
    let job = format!("{name}-{}", job_name(analytics.run));
    let told = observed.result_of_step(&job).and_then(|report| match &report.data {
        Some(Data::Analytics(generated)) => Some((generated.outcome, generated.seconds, report.message.clone())),
        _ => None,
    });
    let lost = || {
        let pods = observed.own(Kind::Job, &job).map(|slot| slot.uid.to_string()).unwrap_or_default();
        let untold = ended(&job, observed) == Some(true) && observed.pods_of(&pods).all(|pod| pod.ended);
        untold.then(|| (Generation::Failed, 0, format!("what Job {job} reported went with its pod")))
    };
    if let Some((outcome, seconds, message)) = told.or_else(lost) {
        end_with(analytics, outcome, seconds, &message, now);
    }
}

fn end_with(analytics: &mut AnalyticsStatus, outcome: Generation, seconds: u64, message: &str, now: Timestamp) {
    analytics.outcome = Some(<&str>::from(outcome).to_owned());
    (analytics.seconds, analytics.message) = (i64::try_from(seconds).ok(), Some(message.to_owned()));
    analytics.finished = Some(Time(now));
}

/// The condition `AnalyticsFresh`; none where tables have not been lost.
pub fn fresh(resource: &Dhis2Instance, status: &Dhis2InstanceStatus, observed: &Observed) -> Option<Told> {
    const KIND: &str = "AnalyticsFresh";
    let analytics = status.analytics.as_deref().filter(|_| resource.spec.analytics.generate != Generate::Never)?;
    let after = match analytics.after.as_str() {
        "Restore" => "a restore",
        "Rollback" => "a rollback",
        "Upgrade" => "an upgrade to another line",
        _ => "the start with other data",
    };
    let why = analytics.message.as_deref().unwrap_or_default().trim_end_matches('.');
    if analytics.finished.is_none() {
        let job = format!("{}-{}", resource.name_any(), job_name(analytics.run));
        if let Some(trouble) = observed.pod_of_step(&job).and_then(|pod| pod.trouble.as_ref()) {
            return Some(Told::new(KIND, false, trouble.reason, trouble.message.clone()));
        }
        let again = if why.is_empty() { String::new() } else { format!(" The last run failed: {why}.") };
        let message = format!("DHIS2 is asked to generate its analytics tables after {after}; dashboards are empty until then.{again}");
        return Some(Told::new(KIND, false, Reason::GeneratingAnalytics, message));
    }
    Some(match analytics.outcome.as_deref() {
        Some("Generated") => {
            let seconds = analytics.seconds.unwrap_or_default();
            Told::new(KIND, true, Reason::Done, format!("DHIS2 generated its analytics tables after {after}, in {seconds} s."))
        }
        Some("NotNeeded") => Told::new(KIND, true, Reason::Done, format!("Nothing had to be generated after {after}: {why}.")),
        _ => {
            let message = format!(
                "Analytics tables are missing since {after}, and dashboards are empty: {why}. It is tried again every six hours; to have them now, generate them in the app Data Administration."
            );
            Told::new(KIND, false, Reason::AnalyticsFailed, message)
        }
    })
}

/// How long until a run that failed is tried again.
pub fn again_in(status: &Dhis2InstanceStatus, now: Timestamp) -> Option<Duration> {
    let analytics = status.analytics.as_deref().filter(|analytics| failed(analytics))?;
    let due = analytics.finished.as_ref()?.0 + AGAIN;
    Some(Duration::try_from(due.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests;
