//! The Job of a request for a backup or a restore test.

use super::{Wanted, backup, copies, removal, verify};
use crate::operator::instance::{Errand, Instance, Task};

/// The Job of the request that is carried out.
pub fn job(instance: &Instance) -> Option<Wanted> {
    let errand = instance.errand.as_ref().filter(|_| instance.stage.secured)?;
    let step = name(errand);
    Some(match errand.task {
        Task::Backup => backup::once(instance, &step),
        Task::RestoreTest => match &errand.copy {
            Some(name) => copies::test(instance, instance.copies.iter().find(|copy| copy.name == *name)?, &step, errand.set.as_deref()),
            None => verify::once(instance, &step, errand.set.as_deref(), errand.level),
        },
        Task::Removal => removal::once(instance, &step, errand.set.as_deref()?),
    })
}

/// Each request has a Job of its own. The set of a backup is named after it and may be kept for years: no other request of the
/// instance has the same twelve digits.
pub fn name(errand: &Errand) -> String {
    let short: String = errand.uid.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
    match errand.task {
        Task::Backup => format!("asked-{short}"),
        Task::RestoreTest => format!("test-{short}"),
        Task::Removal => format!("remove-{short}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{
        desired::{desired, fixture},
        instance::Stage,
        kind::Kind,
    };

    fn asked(task: Task, set: Option<&str>) -> Instance {
        fixture::asked(&fixture::plain(), task, set)
    }

    #[test]
    fn a_backup_that_is_asked_for_is_like_a_scheduled_one_and_suspending_does_not_stop_it() {
        let mut instance = asked(Task::Backup, None);
        instance.backup.suspend = true;
        let job = fixture::object(&instance, Kind::Job, "play-asked-0123456789ab");
        let cron = fixture::object(&instance, Kind::CronJob, "play-backup");
        assert_eq!(job["spec"], cron["spec"]["jobTemplate"]["spec"]);
        assert_eq!(cron["spec"]["suspend"], true);
    }

    #[test]
    fn a_test_that_is_asked_for_restores_the_set_that_is_named_and_has_no_time_to_live() {
        let cron = fixture::object(&asked(Task::RestoreTest, None), Kind::CronJob, "play-verify");
        let scheduled = &cron["spec"]["jobTemplate"]["spec"];
        for (set, said) in [(None, ""), (Some("kept"), "--set kept")] {
            let job = fixture::object(&asked(Task::RestoreTest, set), Kind::Job, "play-test-0123456789ab");
            let command = |spec: &serde_json::Value| {
                let words = spec["template"]["spec"]["containers"][0]["command"].clone();
                serde_json::from_value::<Vec<String>>(words).unwrap().join(" ")
            };
            assert_eq!(command(&job["spec"]), format!("{} {said}", command(scheduled)).trim_end());
            assert_eq!(job["spec"]["backoffLimit"], scheduled["backoffLimit"]);
            assert!(job["spec"]["ttlSecondsAfterFinished"].is_null(), "it goes when its result is recorded, and not before");
        }
    }

    #[test]
    fn nothing_is_made_before_the_instance_is_secured_and_names_are_short_enough_for_labels() {
        for task in [Task::Backup, Task::RestoreTest] {
            let mut instance = asked(task, None);
            instance.stage = Stage { secured: false, ..instance.stage };
            assert!(job(&instance).is_none());
            let longest = Errand { task, uid: "01234567-89ab-cdef-0123-456789abcdef".into(), set: None, copy: None, level: None };
            assert!(format!("{}-{}", "a".repeat(40), name(&longest)).len() <= 63);
        }
        assert!(job(&fixture::plain()).is_none());
        let jobs = desired(&asked(Task::Backup, None)).into_iter().filter(|wanted| wanted.kind == Kind::Job);
        assert_eq!(jobs.count(), 1);
    }
}
