//! What is told on a request to restore.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use serde_json::json;

use super::{
    errand::Answer,
    requested::{self, Standing},
    volumes,
};
use crate::{
    api::{
        Dhis2InstanceStatus, Reason,
        restore::{Dhis2RestoreStatus, Phase},
        status::{CapacityStatus, OperationStatus},
    },
    operator::{
        desired::restore::build_name,
        kind::Kind,
        observe::Observed,
        quantity,
        restores::{Asked, asked},
    },
};

/// News of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion when that was found out.
    pub version: u64,
    /// How it is now.
    pub status: Dhis2RestoreStatus,
}

impl From<News> for Answer {
    fn from(News { name, uid, version, status }: News) -> Self {
        Self { kind: Kind::Dhis2Restore, name, uid, version, status: json!(status), added: false }
    }
}

/// The requests whose status is another one now. `instance` is none where there is none.
pub fn news(instance: Option<&Dhis2InstanceStatus>, observed: &Observed, runbooks: &str, now: Timestamp) -> Vec<News> {
    let told = |asked: Asked<'_>| {
        let status = told(&asked, instance, runbooks, now);
        let news = |status| News { name: asked.name.to_owned(), uid: asked.uid.to_owned(), version: asked.version, status };
        (status != *asked.status).then(|| news(status))
    };
    asked(observed).filter(|asked| !asked.deleting).filter_map(told).collect()
}

fn told(asked: &Asked<'_>, instance: Option<&Dhis2InstanceStatus>, runbooks: &str, now: Timestamp) -> Dhis2RestoreStatus {
    let old = asked.status;
    let operation = instance.and_then(|status| status.operation.as_deref());
    let own = operation.filter(|operation| operation.uid == asked.uid);
    let phase = own.map_or(old.phase.as_deref(), |operation| Some(&operation.phase)).map_or(Ok(Phase::Waiting), str::parse);
    // A word of a later release.
    let Ok(phase) = phase else { return old.clone() };
    let mut status = Dhis2RestoreStatus { observed_generation: asked.generation, ..old.clone() };
    let (phase, reason) = match own {
        Some(operation) => {
            of_operation(&mut status, operation, asked, instance, phase);
            (phase, operation.reason.as_ref().and_then(|reason| reason.parse().ok()).unwrap_or(Reason::Restoring))
        }
        None if phase.is_over() => {
            if asked.goes_back() && instance.is_some_and(|status| volumes::of_before(status, asked.uid).is_none()) {
                status.message = Some("It can't be taken back any more: the volumes of before are gone. Restore a set instead.".to_owned());
            }
            (phase, old.conditions.first().and_then(|known| known.reason.parse().ok()).unwrap_or(Reason::Failed))
        }
        None if asked.spec.revert => {
            status.message = Some("It was taken back before it began.".to_owned());
            (Phase::Canceled, Reason::RestoreCanceled)
        }
        None => {
            status.message = Some(waits_for(asked, instance, operation));
            (Phase::Waiting, Reason::RestoreWaiting)
        }
    };
    status.phase = Some(phase.as_str().to_owned());
    status.finished = phase.is_over().then(|| status.finished.take().unwrap_or(Time(now)));
    let message = status.message.clone().unwrap_or_default();
    status.conditions = conditions(asked, phase, reason, &message, runbooks, now);
    status
}

fn of_operation(
    status: &mut Dhis2RestoreStatus,
    operation: &OperationStatus,
    asked: &Asked<'_>,
    instance: Option<&Dhis2InstanceStatus>,
    phase: Phase,
) {
    // One that goes back has restored nothing; what was restored before stays told.
    if !operation.revert {
        status.started.clone_from(&operation.started);
        status.set.clone_from(&operation.set);
        status.set_time.clone_from(&operation.set_time);
        status.bytes = operation.bytes;
        status.safety_backup.clone_from(&operation.safety_backup);
    }
    status.message = Some(operation.message.clone().unwrap_or_else(|| doing(phase, operation, asked, instance)));
}

/// How much there is to restore, how long it takes as far as is known, and where one sees how far it is.
fn building(asked: &Asked<'_>, instance: Option<&Dhis2InstanceStatus>) -> String {
    let own = instance.filter(|_| asked.spec.from.as_ref().is_none_or(|from| from.copy.is_some()));
    let used = |capacity: &CapacityStatus| [&capacity.database, &capacity.files].into_iter().flatten().map(|volume| volume.used).sum();
    let size = own.and_then(|status| status.capacity.as_ref()).map(|capacity| quantity::rough(used(capacity)));
    let test = own.and_then(|status| status.backup.as_ref()?.last_verified.as_ref()?.seconds);
    let size = size.map_or_else(String::new, |size| format!(" Database and files have about {size}."));
    let estimate = test.map_or_else(String::new, |seconds| format!(" The last restore test took {seconds} s."));
    format!(
        "The set is restored to new volumes; nothing of the instance is touched.{size}{estimate} How far it is: kubectl logs --follow job/{}-{} -c restore",
        asked.spec.instance,
        build_name(asked.uid)
    )
}

fn doing(phase: Phase, operation: &OperationStatus, asked: &Asked<'_>, instance: Option<&Dhis2InstanceStatus>) -> String {
    match phase {
        Phase::Building => building(asked, instance),
        Phase::BackingUp => "The set is restored and as it should be. A backup of the present state is made before DHIS2 is stopped.".to_owned(),
        Phase::Stopping if operation.revert => "DHIS2 and PostgreSQL are being stopped, to go back to the volumes of before.".to_owned(),
        Phase::Stopping => "DHIS2 and PostgreSQL are being stopped.".to_owned(),
        _ => "PostgreSQL and DHIS2 are starting; conditions of the instance tell what keeps them from it. `spec.revert: true` goes back to the volumes of before.".to_owned(),
    }
}

fn waits_for(asked: &Asked<'_>, instance: Option<&Dhis2InstanceStatus>, operation: Option<&OperationStatus>) -> String {
    let name = &asked.spec.instance;
    let Some(status) = instance else {
        return format!("There is no Dhis2Instance {name} in this namespace.");
    };
    if let Some(operation) = operation {
        return format!("It waits for the end of {} {}.", operation.kind, operation.name);
    }
    let stalled = status.conditions.iter().find(|condition| condition.type_ == "Stalled" && condition.status == "True");
    match stalled {
        Some(stalled) => format!("It waits until {name} is not stalled any more: {}", stalled.message),
        None => format!("It waits until {name} is set up, or the operator is done with what it is about to do."),
    }
}

fn conditions(asked: &Asked<'_>, phase: Phase, reason: Reason, message: &str, runbooks: &str, now: Timestamp) -> Vec<Condition> {
    let complete = matches!(phase, Phase::Done | Phase::Reverted);
    let reason = match phase {
        Phase::Done | Phase::Reverted => Reason::Done,
        Phase::Canceled => Reason::RestoreCanceled,
        Phase::Failed => reason,
        Phase::Waiting => Reason::RestoreWaiting,
        _ => Reason::Restoring,
    };
    let standing = match phase {
        _ if complete => Standing::Complete,
        Phase::Failed => Standing::Stalled,
        _ if phase.is_over() => Standing::Canceled,
        _ => Standing::Open,
    };
    requested::conditions(&asked.status.conditions, asked.generation, standing, reason, message, (runbooks, now))
}
