//! Which pod is to be deleted, so that its StatefulSet starts it anew with what it reads only at start.
//! One at a time: the database first, DHIS2 when the database serves again; none while DHIS2 migrates. Pure.

use super::{desired::Wanted, instance::Instance, kind::Kind, observe::Observed};
use crate::{
    api::RESTART,
    report::{Data, Report},
};

/// A pod that runs with something else than what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outdated {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// What restarting needs now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restart {
    /// All pods run with what is wanted.
    Settled,
    /// This one is next.
    Next(Outdated),
    /// One is outdated, but something else has to become ready first.
    Later,
    /// One is outdated, but DHIS2 is starting another version: a migration is not cut short.
    Migrating,
}

/// The next step of restarting.
pub fn restart(instance: &Instance, observed: &Observed, wanted: &[Wanted]) -> Restart {
    let database = instance.child("database");
    let stale = |set: &str| outdated(set, observed, wanted);
    match (stale(&database), stale(&instance.name)) {
        (None, None) => Restart::Settled,
        _ if migrating(instance, observed) => Restart::Migrating,
        (Some(pod), _) => Restart::Next(pod),
        (None, Some(pod)) if observed.set_is_ready(&database) || !observed.set_is_ready(&instance.name) => Restart::Next(pod),
        (None, Some(_)) => Restart::Later,
    }
}

/// Did the other version's pod start, and neither serve nor fail yet?
fn migrating(instance: &Instance, observed: &Observed) -> bool {
    let pod = observed.pod_of_set(&instance.name).and_then(|(_, slot)| slot.pod());
    let checked = |report: &Report| matches!(&report.data, Some(Data::Check(checked)) if checked.version == instance.version);
    instance.stage.upgrading && pod.is_some_and(|pod| !pod.ready && pod.trouble.is_none() && pod.reports.iter().any(checked))
}

/// The pod of a set, if its template is as wanted and the pod was started with another one.
fn outdated(set: &str, observed: &Observed, wanted: &[Wanted]) -> Option<Outdated> {
    let wish = wanted.iter().find(|wish| wish.kind == Kind::StatefulSet && wish.name == set)?;
    let applied = observed.slot(Kind::StatefulSet, set)?.satisfied.as_deref() == Some(&wish.digest());
    let (name, slot) = observed.pod_of_set(set)?;
    let pod = slot.pod()?;
    let due = wish.object.pointer("/spec/template/metadata/annotations")?.get(RESTART)?.as_str();
    (applied && !slot.deleting && pod.restart.as_deref() != due).then(|| Outdated { name: name.to_owned(), uid: slot.uid.to_string() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::operator::{
        desired::{desired, fixture},
        instance::Stage,
        slot::{Facts, Pod, Slot, fixture::owned},
        trouble::Trouble,
    };

    fn upgrading() -> Instance {
        Instance { stage: Stage { upgrading: true, ..fixture::SECURED }, ..fixture::plain() }
    }

    /// Both sets are as wanted and have a pod that was started with something else.
    fn observed(instance: &Instance, dhis2: Pod) -> Observed {
        let mut observed = Observed { instance: instance.uid.clone(), ..Observed::default() };
        let slot = |uid: &str, owner: &str, satisfied: Option<String>, facts: Facts| Slot {
            satisfied: satisfied.map(Into::into),
            ..owned(uid, owner, facts)
        };
        for (set, pod) in [("play", dhis2), ("play-database", Pod { ready: true, ..Pod::default() })] {
            let wish = desired(instance).into_iter().find(|wish| wish.kind == Kind::StatefulSet && wish.name == set).unwrap();
            observed.children.insert(Kind::StatefulSet, set, slot(set, "uid-1", Some(wish.digest()), Facts::Plain));
            observed.children.insert(Kind::Pod, &format!("{set}-0"), slot(&format!("{set}-0"), set, None, Facts::Pod(Box::new(pod))));
        }
        observed
    }

    fn checked(version: &str) -> Vec<Report> {
        let report = json!({"verb": "check", "outcome": "Done", "message": "", "data": {"check": {"version": version}}});
        vec![Report::parse(&report.to_string()).unwrap_or_else(|| panic!("no report: {report}"))]
    }

    #[test]
    fn a_migration_is_not_cut_short() {
        let instance = upgrading();
        let next = |pod| restart(&instance, &observed(&instance, pod), &desired(&instance));
        let migrating = Pod { reports: checked("2.42.4.1"), ..Pod::default() };
        assert_eq!(next(migrating.clone()), Restart::Migrating);
        let trouble = Some(Trouble { reason: crate::api::Reason::CrashLoop, message: String::new() });
        for pod in [
            Pod { trouble, ..migrating.clone() },
            Pod { ready: true, ..migrating },
            Pod { reports: checked("2.41.8.1"), ..Pod::default() }, // the old version, not serving
            Pod::default(),                                         // not checked yet
        ] {
            assert!(matches!(next(pod.clone()), Restart::Next(next) if next.name == "play-database-0"), "{pod:?}");
        }
    }

    #[test]
    fn dhis2_that_serves_waits_for_its_database_and_one_that_does_not_is_not_kept() {
        let instance = fixture::plain();
        let wanted = desired(&instance);
        let due = wanted.iter().find(|wish| wish.kind == Kind::StatefulSet && wish.name == "play-database").unwrap();
        let due = due.object.pointer("/spec/template/metadata/annotations").unwrap()[RESTART].as_str().map(str::to_owned);
        for (database, dhis2, next) in [(true, true, true), (true, false, true), (false, true, false), (false, false, true)] {
            let mut observed = observed(&instance, Pod { ready: dhis2, ..Pod::default() });
            let pod = Pod { ready: database, restart: due.clone(), ..Pod::default() };
            observed.children.insert(Kind::Pod, "play-database-0", owned("play-database-0", "play-database", Facts::Pod(Box::new(pod))));
            let told = restart(&instance, &observed, &wanted);
            let is_next = matches!(&told, Restart::Next(next) if next.name == "play-0");
            assert_eq!((is_next, told == Restart::Later), (next, !next), "database {database}, DHIS2 {dhis2}: {told:?}");
        }
    }

    #[test]
    fn a_first_start_can_be_corrected() {
        let instance = fixture::plain();
        let pod = Pod { reports: checked("2.42.4.1"), ..Pod::default() };
        assert!(matches!(restart(&instance, &observed(&instance, pod), &desired(&instance)), Restart::Next(_)));
    }
}
