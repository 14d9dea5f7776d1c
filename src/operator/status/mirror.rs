//! Objects for backup sets that nobody asked for, so that what the repository holds can be listed, chosen and watched like what people
//! asked for: made from what a backup reports, and gone when the set is. They follow each new set once; the status of the instance, written
//! after them, is the record that they did. Only the object of the newest set is made again when it is missing; those whose set is gone go
//! whenever they are seen.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{
    backup,
    errand::{Answer, backed_up},
    requested::{self, Standing},
};
use crate::{
    api::{
        Dhis2Instance, Dhis2InstanceStatus, Reason,
        errand::{Dhis2BackupStatus, Phase, Progress},
        status::BackupStatus,
    },
    operator::{compare, desired::errand as job, errands::asked, kind::Kind, observe::Observed, slot::Slot},
    report::{BackedUp, Data, Listed},
};

/// The longest name that a `Dhis2Backup` may have.
const LONGEST: usize = 63;

/// What has to be done about the objects.
#[derive(Debug, Default, PartialEq)]
pub struct Mirrors {
    /// To be made, each with its status.
    pub make: Vec<Mirror>,
    /// News of those that are there.
    pub tell: Vec<Answer>,
    /// Those whose set is gone.
    pub gone: Vec<Gone>,
}

/// An object that is to be deleted as it was seen: another word of it may say that its set goes with it.
#[derive(Debug, PartialEq)]
pub struct Gone {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The version that it was seen at.
    pub version: u64,
}

/// An object to be made.
#[derive(Debug, PartialEq)]
pub struct Mirror {
    /// Its name.
    pub name: String,
    /// The set.
    pub set: String,
    /// What is told on it.
    pub status: Value,
}

/// What a new set gives to do; none where that is nothing. `told`: the status that is about to be written.
pub fn mirrors(
    resource: &Dhis2Instance,
    told: &Dhis2InstanceStatus,
    observed: &Observed,
    (runbooks, now): (&str, Timestamp),
) -> Option<Mirrors> {
    let last = |backup: Option<&BackupStatus>| Some(backup?.last.as_ref()?.set.clone());
    let new = last(told.backup.as_ref())?;
    let is_known = last(resource.status.as_ref().and_then(|status| status.backup.as_ref())).as_ref() == Some(&new);
    let reports = backup::runs(resource, observed, backup::PART).into_iter().flat_map(|(_, pod)| &pod.reports);
    let mut sets = reports.filter_map(|report| if let Some(Data::Backup(set)) = &report.data { Some(&**set) } else { None });
    let made = sets.find(|set| set.set == new)?;
    let view = View { resource, told, observed, made, runbooks, now };
    let is_missing = || view.object_of(&new).is_none() && !view.is_being_made(&new);
    let mut todo = if !is_known || is_missing() { view.of_those_that_are_there() } else { Mirrors::default() };
    view.of_those_that_are_gone(&mut todo);
    (todo != Mirrors::default()).then_some(todo)
}

struct View<'a> {
    resource: &'a Dhis2Instance,
    told: &'a Dhis2InstanceStatus,
    observed: &'a Observed,
    made: &'a BackedUp,
    runbooks: &'a str,
    now: Timestamp,
}

impl<'a> View<'a> {
    fn of_those_that_are_there(&self) -> Mirrors {
        let mut todo = Mirrors::default();
        for listed in &self.listed() {
            match self.object_of(&listed.set) {
                Some((name, slot)) => todo.tell.extend(self.news(name, slot, listed)),
                None if self.is_being_made(&listed.set) => {}
                None => todo.make.extend(self.mirror(listed)),
            }
        }
        todo
    }

    /// As long as the report of the newest set is there, since nothing was made after it.
    fn of_those_that_are_gone(&self, todo: &mut Mirrors) {
        // A release before this one lists nothing.
        for (name, slot) in self.objects().filter(|_| !self.made.listed.is_empty()) {
            self.is_gone(name, slot, todo);
        }
    }

    /// The new set, which its own report knows best, and the others.
    fn listed(&self) -> Vec<Listed> {
        let time = self.made.created.parse().map_or(self.now, |time: Timestamp| time).as_second();
        let new = Listed { set: self.made.set.clone(), time, proven: None, source: None };
        let others = self.made.listed.iter().filter(|listed| listed.set != new.set).cloned();
        std::iter::once(new.clone()).chain(others).collect()
    }

    fn objects(&self) -> impl Iterator<Item = (&'a str, &'a Slot)> + use<'a> {
        self.observed.slots(Kind::Dhis2Backup)
    }

    fn object_of(&self, set: &str) -> Option<(&'a str, &'a Slot)> {
        self.objects().find(|(_, slot)| slot.errand().is_some_and(|errand| errand.set.as_deref() == Some(set)))
    }

    /// Somebody has asked for it and is told in a moment. A set gets a longer name than its Job where an older one has that name.
    fn is_being_made(&self, set: &str) -> bool {
        let job = |uid_of: crate::operator::instance::Errand| format!("{}-{}", self.resource.name_any(), job::name(&uid_of));
        asked(self.observed).filter(|asked| asked.task.kind() == Kind::Dhis2Backup).any(|asked| {
            let job = job(asked.to_do());
            set == job || set.strip_prefix(&job).is_some_and(|rest| rest.starts_with('-'))
        })
    }

    fn mirror(&self, listed: &Listed) -> Option<Mirror> {
        let name = object_name(&self.resource.name_any(), &listed.set);
        // One that a person has made for something else has the name.
        let free = self.observed.slot(Kind::Dhis2Backup, &name).is_none();
        free.then(|| Mirror { name, set: listed.set.clone(), status: self.status(listed, None) })
    }

    fn news(&self, name: &str, slot: &Slot, listed: &Listed) -> Option<Answer> {
        let errand = slot.errand().filter(|_| !slot.deleting)?;
        let answer = |status, added| Answer {
            kind: Kind::Dhis2Backup,
            name: name.to_owned(),
            uid: slot.uid.to_string(),
            version: slot.version,
            status,
            added,
        };
        if errand.mirror && errand.phase().is_none() {
            return Some(answer(self.status(listed, errand.generation), false));
        }
        let proven = listed.proven.and_then(time).filter(|_| !errand.proven)?;
        Some(answer(json!({ "proven": proven }), true))
    }

    fn is_gone(&self, name: &str, slot: &Slot, todo: &mut Mirrors) {
        let Some(errand) = slot.errand().filter(|_| !slot.deleting) else { return };
        let listed = |set: &str| set == self.made.set || self.made.listed.iter().any(|listed| listed.set == set);
        if errand.set.as_deref().is_none_or(listed) {
            return;
        }
        let uid = slot.uid.to_string();
        let all = u64::try_from(self.made.listed.len()).is_ok_and(|number| number >= self.made.sets_kept);
        if errand.mirror && slot.owner.as_deref() == Some(self.observed.instance.as_str()) {
            // Of a list that is not all its set may be there, and would go with it.
            if all || !errand.deletes {
                todo.gone.push(Gone { name: name.to_owned(), uid, version: slot.version });
            }
            return;
        }
        let phase = errand.phase();
        if !all || errand.removed || phase == Some(Phase::Failed.as_str()) {
            return;
        }
        let (status, added) = if errand.mirror && phase.is_none() {
            let message = "The repository has no set of this name.".to_owned();
            (json!(self.progress(Phase::Failed, Standing::Stalled, Reason::SetUnknown, message, errand.generation)), false)
        } else {
            (json!({ "removed": Time(self.now) }), true)
        };
        todo.tell.push(Answer { kind: Kind::Dhis2Backup, name: name.to_owned(), uid, version: slot.version, status, added });
    }

    fn progress(&self, phase: Phase, standing: Standing, reason: Reason, message: String, generation: Option<i64>) -> Progress {
        let place = (self.runbooks, self.now);
        Progress {
            observed_generation: generation,
            conditions: requested::conditions(&[], generation, standing, reason, &message, place),
            phase: Some(phase.as_str().to_owned()),
            message: Some(message),
            ..Progress::default()
        }
    }

    fn status(&self, listed: &Listed, generation: Option<i64>) -> Value {
        let message = format!("Set {} is in the repository.", listed.set);
        // What is made has its first generation.
        let progress = self.progress(Phase::Done, Standing::Complete, Reason::Done, message, generation.or(Some(1)));
        let here = format!("{}/{}", self.resource.namespace().unwrap_or_default(), self.resource.name_any());
        if listed.set == self.made.set {
            return json!(backed_up(progress, self.made, &here, Some(self.told)));
        }
        json!(Dhis2BackupStatus {
            progress,
            set: Some(listed.set.clone()),
            set_time: time(listed.time),
            source: Some(listed.source.clone().unwrap_or(here)),
            proven: listed.proven.and_then(time),
            ..Dhis2BackupStatus::default()
        })
    }
}

fn time(seconds: i64) -> Option<Time> {
    Timestamp::from_second(seconds).ok().map(Time)
}

/// The name of the object of a set: the set's own, unless that could be of another instance or is none that an object can have.
fn object_name(instance: &str, set: &str) -> String {
    let ours = set.strip_prefix(instance).is_some_and(|rest| rest.starts_with('-'));
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let fits = set.len() <= LONGEST && set.bytes().all(|byte| letter(byte) || byte == b'-') && set.bytes().last().is_some_and(letter);
    if ours && fits { set.to_owned() } else { format!("{instance}-set-{}", compare::digest(&json!(set))) }
}

#[cfg(test)]
mod tests;
