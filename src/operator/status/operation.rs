//! Operations; here a restore, step by step. Each step begins when its beginning is written, and ends by what is then seen: pure, so that it goes on
//! from the status alone after any interruption.

use std::time::Duration;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};
use kube::ResourceExt;

use super::{Outcome, analytics::derived, conditions::Told, rollback, upgrade, volumes};
use crate::{
    api::{
        Dhis2Instance, Dhis2InstanceStatus, Reason,
        restore::Phase,
        status::{DatabaseStatus, Operation, OperationStatus},
    },
    operator::{
        desired::restore::{build_name, safety_name},
        kind::Kind,
        observe::Observed,
        parse::restoring::{names, set_source},
        restores::{Asked, asked},
        slot::Facts,
        trouble::Trouble,
    },
    report::Data,
};

/// What a step is decided on.
pub struct View<'a> {
    /// The instance.
    pub resource: &'a Dhis2Instance,
    /// Its name.
    pub name: String,
    /// What was seen.
    pub observed: &'a Observed,
    /// Was everything that is wanted there already, so that nothing had to be written?
    pub quiet: bool,
    /// The time of the pass.
    pub now: Timestamp,
}

/// The operation after a pass: begun, gone on with, or over and told.
pub fn advance(status: &mut Dhis2InstanceStatus, resource: &Dhis2Instance, observed: &Observed, outcome: &Outcome, now: Timestamp) {
    if matches!(outcome, Outcome::Paused | Outcome::Interrupted { .. } | Outcome::Failed { .. }) {
        return;
    }
    let quiet = matches!(outcome, Outcome::Applied { quiet: true, .. });
    let view = View { resource, name: resource.name_any(), observed, quiet, now };
    volumes::drop_those_gone(status, observed);
    let after = match status.operation.take() {
        None => begin(status, &view, outcome).or_else(|| upgrade::begin(resource, outcome, now)),
        Some(operation) => match operation.operation() {
            Some(Operation::Restore) => go_on(*operation, status, &view),
            // A version that does not start may need a restore.
            Some(Operation::Upgrade) if !operation.phase.parse().is_ok_and(Phase::prepares) => {
                begin(status, &view, outcome).or_else(|| upgrade::step(*operation, resource, status, &view))
            }
            Some(Operation::Upgrade) => upgrade::step(*operation, resource, status, &view),
            // One that can't be done, neither: another set may be whole.
            Some(Operation::Rollback) if operation.phase == Phase::Failed.as_str() => {
                begin(status, &view, outcome).or_else(|| rollback::go_on(*operation, resource, status, &view))
            }
            Some(Operation::Rollback) => rollback::go_on(*operation, resource, status, &view),
            // Of a later release: it knows how to go on.
            None => Some(*operation),
        },
    };
    status.operation = after.map(Box::new);
}

/// A restore after a pass; none when it is over and told.
fn go_on(mut operation: OperationStatus, status: &mut Dhis2InstanceStatus, view: &View<'_>) -> Option<OperationStatus> {
    let Ok(phase) = operation.phase.parse::<Phase>() else { return Some(operation) };
    let request = asked(view.observed).find(|asked| asked.uid == operation.uid);
    if phase.is_over() {
        let told = request.is_none_or(|asked| asked.status.phase.as_deref() == Some(&operation.phase));
        return (!told || volumes::unfinished(&operation, &view.name, view.observed)).then_some(operation);
    }
    if let Some(next) = step(phase, &mut operation, request.as_ref(), status, view) {
        enter(&mut operation, next, view.now);
    }
    Some(operation)
}

/// What ends a step may be what nobody tells of: that nothing was to be written any more.
pub fn again(status: &Dhis2InstanceStatus) -> Option<Duration> {
    let operation = status.operation.as_ref()?;
    let phase: Phase = operation.phase.parse().ok()?;
    Some(match phase {
        Phase::Checking => Duration::from_secs(20),
        _ if !operation.restores() => Duration::from_mins(1),
        Phase::Building | Phase::BackingUp | Phase::Failed => Duration::from_mins(1),
        Phase::Starting => Duration::from_secs(1),
        _ => Duration::from_millis(250),
    })
}

/// Why the instance does not serve, and that work is under way.
pub fn tell(conditions: &mut [Told], status: &Dhis2InstanceStatus) {
    let Some(operation) = &status.operation else { return };
    let Ok(phase) = operation.phase.parse::<Phase>() else { return };
    let upgrade = operation.operation() == Some(Operation::Upgrade);
    if upgrade && phase == Phase::Starting && operation.reason.is_some() {
        return upgrade::tell_failed(conditions, operation);
    }
    // What does not start waits for a person, though the operation is not over.
    if phase == Phase::Starting && conditions.iter().any(|told| told.kind == "Stalled" && told.holds) {
        return;
    }
    match operation.operation() {
        Some(Operation::Upgrade) => upgrade::tell(conditions, operation, phase),
        Some(Operation::Rollback) => rollback::tell(conditions, operation, phase),
        Some(Operation::Restore) if !phase.is_over() => tell_restore(conditions, operation, phase),
        _ => {}
    }
}

fn tell_restore(conditions: &mut [Told], operation: &OperationStatus, phase: Phase) {
    let stopped = matches!(phase, Phase::Stopping | Phase::Starting);
    let waits = operation.message.as_ref().filter(|_| operation.reason.is_some()).map_or_else(String::new, |message| format!(" {message}"));
    let message = format!("{} {} is under way: {}.{waits}", operation.kind, operation.name, phase.as_str());
    for told in conditions {
        let restarts = told.kind == "Ready" && !told.holds && stopped && !told.reason.needs_a_person();
        let fought = told.reason == Reason::FieldContested;
        if told.kind == "Reconciling" && !fought || restarts {
            *told = Told::new(told.kind, told.kind == "Reconciling", Reason::Restoring, message.clone());
        }
    }
}

/// Enters a phase.
pub fn enter(operation: &mut OperationStatus, phase: Phase, now: Timestamp) {
    phase.as_str().clone_into(&mut operation.phase);
    operation.since = Some(Time(now));
    operation.overdue = None;
}

/// The oldest request that is due, if nothing is in the way.
fn begin(status: &Dhis2InstanceStatus, view: &View<'_>, outcome: &Outcome) -> Option<OperationStatus> {
    // A lost volume is a reason to restore; whatever else is refused has to be mended first.
    let lost = matches!(outcome, Outcome::Refused(refusal) if refusal.reason == Reason::VolumeLost);
    let ready = status.admin.is_some() && (lost || matches!(outcome, Outcome::Applied { .. }));
    let due = |asked: &Asked<'_>| asked.is_due() || asked.goes_back() && volumes::of_before(status, asked.uid).is_some();
    let asked = asked(view.observed).filter(|_| ready).filter(due).min_by_key(|asked| (asked.created, asked.name.to_owned()))?;
    let mut operation = OperationStatus {
        kind: <&str>::from(Operation::Restore).to_owned(),
        name: asked.name.to_owned(),
        uid: asked.uid.to_owned(),
        started: Some(Time(view.now)),
        asked: asked.spec.set.clone(),
        before: asked.spec.before.clone(),
        number: volumes::next_number(&view.name, view.observed),
        ..OperationStatus::default()
    };
    enter(&mut operation, Phase::Building, view.now);
    if asked.goes_back() {
        go_back(&mut operation, status, view.now);
    } else if let Err(refusal) = set_source(view.resource, asked.spec, view.observed) {
        let phase = failed(&mut operation, refusal.reason, refusal.message);
        enter(&mut operation, phase, view.now);
    }
    Some(operation)
}

/// Turns to the volumes of before.
fn go_back(operation: &mut OperationStatus, status: &Dhis2InstanceStatus, now: Timestamp) {
    let Some(kept) = volumes::of_before(status, &operation.uid) else { return };
    operation.revert = true;
    operation.claims = Some(volumes::claims(kept));
    operation.system_identifier.clone_from(&kept.system_identifier);
    enter(operation, Phase::Stopping, now);
}

/// The phase that follows, if it is time.
fn step(
    phase: Phase,
    operation: &mut OperationStatus,
    request: Option<&Asked<'_>>,
    status: &mut Dhis2InstanceStatus,
    view: &View<'_>,
) -> Option<Phase> {
    let taken_back = request.is_none_or(|asked| asked.deleting || asked.spec.revert);
    if taken_back && !operation.revert && phase != Phase::Starting {
        operation.message = Some("It was taken back before DHIS2 was stopped or anything else had changed.".to_owned());
        return Some(Phase::Canceled);
    }
    match phase {
        Phase::Building => match request.map(|asked| set_source(view.resource, asked.spec, view.observed)) {
            Some(Err(refusal)) => Some(failed(operation, refusal.reason, refusal.message)),
            _ => build(operation, view),
        },
        Phase::BackingUp => back_up(operation, view),
        Phase::Stopping => stop(operation, status, view),
        Phase::Starting if taken_back && request.is_some() && !operation.revert => {
            go_back(operation, status, view.now);
            None
        }
        Phase::Starting => start(operation, view),
        _ => None,
    }
}

fn failed(operation: &mut OperationStatus, reason: Reason, message: String) -> Phase {
    operation.reason = Some(reason.as_str().to_owned());
    operation.message = Some(message);
    Phase::Failed
}

fn lost_before_the_switch(operation: &mut OperationStatus, claim: &str) -> Phase {
    let message = format!("PersistentVolumeClaim {claim}, which the instance was to be served from, is gone.");
    failed(operation, Reason::VolumeLost, message)
}

/// Has the step ended, and well?
pub fn ended(job: &str, observed: &Observed) -> Option<bool> {
    match observed.own(Kind::Job, job)?.facts {
        Facts::Job { finished } => finished,
        _ => None,
    }
}

/// So long after its phase began nobody tells any more what a step reported whose pod is gone.
const UNTOLD: SignedDuration = SignedDuration::from_mins(10);

/// Has the step failed, or has its report gone with its pod? A node that was lost for good takes it along; nobody knows what was done then.
pub fn came_to_nothing(operation: &OperationStatus, job: &str, view: &View<'_>) -> bool {
    match ended(job, view.observed) {
        Some(true) => {
            let owner = view.observed.own(Kind::Job, job).map(|slot| slot.uid.to_string()).unwrap_or_default();
            let long = operation.since.as_ref().is_some_and(|since| view.now.duration_since(since.0) >= UNTOLD);
            // A pod that is not known to have ended may have more to tell.
            long && view.observed.result_of_step(job).is_none() && view.observed.pods_of(&owner).all(|pod| pod.ended)
        }
        failed => failed == Some(false),
    }
}

/// How long a step may be kept from beginning, by an image that is not there or a node that has no room, until that is told.
const HINDERED: SignedDuration = SignedDuration::from_secs(20);

/// What keeps a step from beginning; such a Job waits without end.
pub fn hindrance<'a>(operation: &OperationStatus, job: &str, view: &View<'a>) -> Option<&'a Trouble> {
    let hindered = [Reason::ImageUnavailable, Reason::Unschedulable, Reason::SecretMissing, Reason::ContainerRefused];
    let trouble = view.observed.pod_of_step(job).and_then(|pod| pod.trouble.as_ref());
    let long = operation.since.as_ref().is_some_and(|since| view.now.duration_since(since.0) >= HINDERED);
    trouble.filter(|trouble| long && hindered.contains(&trouble.reason))
}

/// A step that can't begin is waited for: a node comes back, a person makes room. Who waits is told what for.
fn tell_hindrance(operation: &mut OperationStatus, job: &str, view: &View<'_>) {
    operation.reason = hindrance(operation, job, view).map(|trouble| trouble.reason.as_str().to_owned());
    operation.message = waits(operation, job, view);
}

/// What a step waits for that can't begin.
pub fn waits(operation: &OperationStatus, job: &str, view: &View<'_>) -> Option<String> {
    hindrance(operation, job, view).map(|trouble| format!("Job {job} can't begin, and is waited for: {}", trouble.message))
}

/// Why a step came to nothing.
pub fn why(job: &str, observed: &Observed) -> (Reason, String) {
    let trouble = observed.pod_of_step(job).and_then(|pod| pod.trouble.clone());
    let unknown = || {
        let message = match ended(job, observed) {
            Some(true) => format!("Job {job} succeeded, but what it reported went with its pod"),
            _ => format!("Job {job} failed, and no pod of it tells why"),
        };
        (Reason::Failed, message)
    };
    trouble.map_or_else(unknown, |trouble| (trouble.reason, trouble.message))
}

/// The claims are made and filled.
pub fn build(operation: &mut OperationStatus, view: &View<'_>) -> Option<Phase> {
    operation.claims = Some(volumes::being_built(operation, &view.name, view.observed));
    (operation.reason, operation.message) = (None, None);
    if let Some(lost) = volumes::lost(operation, view.observed) {
        return Some(lost_before_the_switch(operation, &lost));
    }
    let job = format!("{}-{}", view.name, build_name(&operation.uid));
    if let Some(Data::Restore(restored)) = view.observed.result_of_step(&job).and_then(|report| report.data.as_ref()) {
        operation.set = Some(restored.set.clone());
        operation.set_time = restored.created.parse().ok().map(Time);
        operation.bytes = i64::try_from(restored.database_bytes + restored.file_bytes).ok();
        operation.system_identifier = Some(restored.system_identifier.clone());
        if view.observed.set_is_ready(&view.name) {
            return Some(Phase::BackingUp);
        }
        operation.safety_backup = Some("none: DHIS2 did not serve; the volumes are kept".to_owned());
        return Some(Phase::Stopping);
    }
    if came_to_nothing(operation, &job, view) {
        let (reason, message) = why(&job, view.observed);
        return Some(failed(operation, reason, message));
    }
    tell_hindrance(operation, &job, view);
    None
}

fn back_up(operation: &mut OperationStatus, view: &View<'_>) -> Option<Phase> {
    (operation.reason, operation.message) = (None, None);
    if let Some(lost) = volumes::lost(operation, view.observed) {
        return Some(lost_before_the_switch(operation, &lost));
    }
    let job = format!("{}-{}", view.name, safety_name(&operation.uid));
    if let Some(Data::Backup(set)) = view.observed.result_of_step(&job).and_then(|report| report.data.as_ref()) {
        operation.safety_backup = Some(set.set.clone());
        return Some(Phase::Stopping);
    }
    if came_to_nothing(operation, &job, view) {
        let (_, message) = why(&job, view.observed);
        operation.safety_backup = Some(format!("none, but the volumes are kept: {message}"));
        return Some(Phase::Stopping);
    }
    tell_hindrance(operation, &job, view);
    None
}

/// Nothing runs any more, and each claim says what it is for: the switch is one write of the status.
pub fn stop(operation: &mut OperationStatus, status: &mut Dhis2InstanceStatus, view: &View<'_>) -> Option<Phase> {
    if let Some(lost) = volumes::lost(operation, view.observed) {
        return Some(lost_before_the_switch(operation, &lost));
    }
    let running = [view.name.clone(), format!("{}-database", view.name)].iter().any(|set| view.observed.pod_of_set(set).is_some());
    if running || !view.quiet {
        return None;
    }
    volumes::switch(operation, status, view.now);
    let identifier = operation.system_identifier.clone();
    status.database.get_or_insert_with(DatabaseStatus::default).system_identifier = identifier;
    Some(Phase::Starting)
}

/// Both servers serve from the claims of the operation.
pub fn start(operation: &mut OperationStatus, view: &View<'_>) -> Option<Phase> {
    let serves = view.observed.set_is_ready(&view.name) && view.observed.set_is_ready(&format!("{}-database", view.name));
    if !serves || !view.quiet {
        return None;
    }
    let [database, files] = names(&view.name, operation);
    let empty = if operation.revert { String::new() } else { format!(" {}", derived(view.resource)) };
    operation.message = Some(format!("The instance is served from {database} and {files}.{empty}"));
    Some(if operation.revert { Phase::Reverted } else { Phase::Done })
}

#[cfg(test)]
pub mod tests;
