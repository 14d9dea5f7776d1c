//! What keeps a request from beginning, in words.

use super::View;
use crate::{
    api::{Dhis2InstanceStatus, backup::VerifyLevel, restore, status::OperationStatus},
    operator::{
        errands::{Asked, under_way},
        instance::Task,
        parse::Refusal,
        status::Outcome,
    },
};

/// What it waits for; none when it may begin.
pub fn waits_for(asked: &Asked<'_>, view: &View<'_>) -> Option<String> {
    let name = view.name;
    if let Some(reason) = no_instance(view) {
        return Some(reason);
    }
    let (status, outcome) = view.instance?;
    match outcome {
        Outcome::Paused => return Some(format!("It waits: the annotation dhis2.hosting/paused keeps the operator away from {name}.")),
        Outcome::Refused(Refusal { message, .. }) | Outcome::Failed { refusal: Refusal { message, .. }, .. } => {
            return Some(format!("It waits until {name} is not stalled any more: {message}"));
        }
        Outcome::Applied { .. } | Outcome::Interrupted { .. } => {}
    }
    if let Some(operation) = status.operation.as_deref().filter(|operation| is_under_way(operation)) {
        return Some(format!("It waits for the end of {} {}.", operation.kind, operation.name));
    }
    if let Some(other) = under_way(view.observed) {
        return Some(format!("It waits for the end of {} {}.", other.task.kind().name(), other.name));
    }
    match asked.task {
        Task::Backup | Task::Removal => None,
        Task::RestoreTest => test_waits_for(asked, status, outcome, name),
    }
}

fn test_waits_for(asked: &Asked<'_>, status: &Dhis2InstanceStatus, outcome: &Outcome, name: &str) -> Option<String> {
    let starts = asked.errand.level == Some(VerifyLevel::Application);
    if let Outcome::Applied { instance, .. } = outcome
        && starts
        && !instance.policies
    {
        let message = format!(
            "It waits until spec.network.policies of {name} is true: DHIS2 is started on a copy only where that reaches nobody. Level Data goes without."
        );
        return Some(message);
    }
    if let Some(copy) = asked.errand.copy() {
        return without_copy(asked, outcome, name).or_else(|| {
            let copies = status.backup.iter().flat_map(|backup| &backup.copies);
            let has_a_set = copies.filter(|known| known.name == copy).any(|known| known.set.is_some());
            (!has_a_set).then(|| format!("It waits until copy {copy} of {name} has a backup set."))
        });
    }
    let has_a_set = status.backup.as_ref().is_some_and(|backup| backup.last.is_some());
    (!has_a_set).then(|| format!("It waits until {name} has a backup set."))
}

/// The copy that it is about is none of the instance's.
pub fn without_copy(asked: &Asked<'_>, outcome: &Outcome, name: &str) -> Option<String> {
    let (copy, Outcome::Applied { instance, .. }) = (asked.errand.copy()?, outcome) else { return None };
    let is_there = instance.copies.iter().any(|known| known.name == copy);
    (!is_there).then(|| format!("spec.copy: {name} has no copy {copy:?} in spec.backup.copies: add it there, or name one of those."))
}

/// There is nobody to carry it out.
pub fn no_instance(view: &View<'_>) -> Option<String> {
    let name = view.name;
    match view.instance {
        None => Some(format!("There is no Dhis2Instance {name} in this namespace.")),
        Some((status, _)) if status.admin.is_none() => {
            Some(format!("It waits until {name} is set up: its conditions tell how far that is."))
        }
        Some(_) => None,
    }
}

/// Why the set of an object that is being deleted may not go. The agent looks into the repository itself; this is what is known without it.
pub fn needed(asked: &Asked<'_>, view: &View<'_>) -> Option<String> {
    let (set, (status, outcome)) = (asked.errand.set.as_deref()?, view.instance?);
    let let_go = "To let the object go and keep the set, set its spec.deletionPolicy to Retain.";
    if let Outcome::Applied { instance, .. } = outcome
        && instance.backup.append_only
    {
        return Some(format!("Set {set} stays: spec.backup.appendOnly of {} is true. {let_go}", view.name));
    }
    let backup = status.backup.as_ref()?;
    if backup.last.as_ref().is_some_and(|last| last.set == set) {
        return Some(format!("Set {set} is the newest one and stays until there is another. {let_go}"));
    }
    let proven = backup.last_verified.as_ref().is_some_and(|last| last.set == set);
    proven.then(|| format!("Set {set} is the newest one that a restore test has proven, and stays until a newer one is. {let_go}"))
}

/// A blocked upgrade waits itself.
fn is_under_way(operation: &OperationStatus) -> bool {
    operation.phase.parse().is_ok_and(|phase: restore::Phase| !phase.is_over()) || operation.operation().is_none()
}
