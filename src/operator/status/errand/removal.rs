//! Objects that are deleted with `deletionPolicy: Delete`: a finalizer keeps them until their set is removed.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::{Hold, View, job};
use crate::operator::{
    errands::{Asked, removals},
    instance::Task,
    kind::Kind,
    status::operation::ended,
};

/// So long after it failed a removal is tried again: whoever held the repository is done by then.
const RETRY: Duration = Duration::from_hours(1);

/// Whose finalizer has to be set or taken away. Without its instance an object goes and its set stays: nobody opens the repository then.
pub fn holds(view: &View<'_>) -> Vec<Hold> {
    let there = view.instance.is_some();
    let removed: Vec<&str> = removals(view.observed).filter(|asked| is_done(asked, view)).map(|asked| asked.uid).collect();
    let hold = |(name, slot): (&str, &crate::operator::slot::Slot)| {
        let errand = slot.errand()?;
        let held = if slot.deleting {
            // No finalizer can be set any more.
            errand.held && errand.deletes && errand.set.is_some() && there && !removed.contains(&&*slot.uid)
        } else {
            errand.deletes && (there || errand.held)
        };
        (held != errand.held).then(|| Hold { name: name.to_owned(), uid: slot.uid.to_string(), held })
    };
    view.observed.slots(Kind::Dhis2Backup).filter_map(hold).collect()
}

/// Is the set of this removal gone?
pub fn is_done(asked: &Asked<'_>, view: &View<'_>) -> bool {
    asked.task == Task::Removal && asked.is_at_work() && ended(&job(asked, view), view.observed) == Some(true)
}

/// How long a removal that failed waits until it is tried again.
pub fn rests(asked: &Asked<'_>, now: Timestamp) -> Option<Duration> {
    let failed = asked.errand.progress()?.finished.as_ref().filter(|_| asked.task == Task::Removal)?.0;
    let past = Duration::try_from(now.duration_since(failed)).unwrap_or_default();
    RETRY.checked_sub(past).filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests;
