//! When backups are made: read as Kubernetes' `CronJob`s read it, or refused before one is made of it.

use croner::parser::{CronParser, Seconds, Year};
use k8s_openapi::jiff::{Timestamp, tz::TimeZone};
use kube::ResourceExt;
use serde_json::json;

use super::Refusal;
use crate::{
    api::{ACCEPTED_SET, Dhis2Instance, Reason},
    operator::{compare::digest, instance::Backup},
};

/// When backups are made, and what is kept of them.
///
/// # Errors
/// When the schedule or its time zone can't be read.
pub fn backup(resource: &Dhis2Instance) -> Result<Backup, Refusal> {
    let spec = &resource.spec.backup;
    let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
    let schedule = asked("spec.backup.schedule", spec.schedule.as_ref(), || spread(&namespace, &name))?;
    let verify_schedule = asked("spec.backup.verify.schedule", spec.verify.schedule.as_ref(), || spread_weekly(&namespace, &name))?;
    let time_zone = match &spec.time_zone {
        Some(name) if !is_time_zone(name) => {
            return Err(Refusal::new(
                Reason::InvalidSpec,
                format!("spec.backup.timeZone: {name:?} is no time zone; write one such as Africa/Kigali, with its capitals"),
            ));
        }
        Some(name) => name.clone(),
        None => "Etc/UTC".into(),
    };
    Ok(Backup {
        schedule,
        time_zone: Some(time_zone),
        retention: spec.retention,
        append_only: spec.append_only,
        suspend: spec.suspend,
        accepted: accepted(resource)?,
        verify_schedule,
        verify_suspend: spec.verify.suspend,
        verify_level: spec.verify.level,
    })
}

/// A name that the agent would refuse, since restic could not take it as a tag, would end every backup.
fn accepted(resource: &Dhis2Instance) -> Result<Option<String>, Refusal> {
    let Some(set) = resource.annotations().get(ACCEPTED_SET) else { return Ok(None) };
    if set.is_empty() || !set.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.') {
        let message = format!("metadata.annotations[{ACCEPTED_SET}]: {set:?} is no name of a set; copy it from status.backup.shrunk.set");
        return Err(Refusal::new(Reason::InvalidSpec, message));
    }
    Ok(Some(set.clone()))
}

/// That of the field, or the default.
pub(super) fn asked(field: &str, schedule: Option<&String>, default: impl FnOnce() -> String) -> Result<String, Refusal> {
    let Some(schedule) = schedule else { return Ok(default()) };
    fires(schedule).map_err(|wrong| Refusal::new(Reason::InvalidSchedule, format!("{field}: {schedule:?} {wrong}")))?;
    Ok(schedule.clone())
}

/// A minute between 00:00 and 05:00 that follows from the name, so that a fleet does not start at once.
pub(super) fn spread(namespace: &str, name: &str) -> String {
    let minute = number(namespace, name) % 300;
    format!("{} {} * * *", minute % 60, minute / 60)
}

/// A minute of a Saturday or Sunday that follows from the name, between 06:00 and 22:00: when few people work, and no backup is made.
pub(super) fn spread_weekly(namespace: &str, name: &str) -> String {
    // Beside what the backups are spread by: those of one hour are not all tested in one hour.
    let minute = number(namespace, name) / 300 % (2 * 960);
    let (day, minute) = (if minute < 960 { 6 } else { 0 }, minute % 960);
    format!("{} {} * * {day}", minute % 60, 6 + minute / 60)
}

/// A minute between 05:00 and 09:00 that follows from the names: when the backups of the night are made.
pub(super) fn spread_after(namespace: &str, name: &str) -> String {
    let minute = number(namespace, name) % 240;
    format!("{} {} * * *", minute % 60, 5 + minute / 60)
}

fn number(namespace: &str, name: &str) -> u64 {
    u64::from_str_radix(&digest(&json!([namespace, name])), 16).unwrap_or_default()
}

fn fires(schedule: &str) -> Result<(), String> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let cron = parser
        .parse(schedule)
        .map_err(|error| format!("is not five cron fields (minute, hour, day of month, month, day of week): {error}"))?;
    // Any moment will do: what comes at all comes again, February 29th within eight years.
    let some_day = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    cron.find_next_occurrence(&some_day, false).map(drop).map_err(|_| "never comes: that month has no such day".to_owned())
}

/// `CronJob`s take the names of the database as they are written there, capitals and all.
fn is_time_zone(name: &str) -> bool {
    TimeZone::get(name).is_ok_and(|zone| zone.iana_name() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    #[test]
    fn backups_are_spread_over_the_night_and_stay_where_they_are() {
        let times: Vec<_> = (0..100).map(|n| spread("ns", &format!("i{n}"))).collect();
        assert!(times.iter().collect::<std::collections::BTreeSet<_>>().len() > 50);
        assert_eq!(spread("ns", "play"), spread("ns", "play"));
        for time in times {
            assert_eq!(fires(&time), Ok(()), "it is not checked later");
            let hour: u32 = time.split(' ').nth(1).unwrap().parse().unwrap();
            assert!(hour < 5, "{time}");
        }
    }

    #[test]
    fn copies_come_after_the_backups_of_the_night() {
        for time in (0..100).map(|n| spread_after("ns", &format!("i{n}"))) {
            assert_eq!(fires(&time), Ok(()));
            let hour: u32 = time.split(' ').nth(1).unwrap().parse().unwrap();
            assert!((5..9).contains(&hour), "{time}");
        }
    }

    #[test]
    fn what_comes_is_taken() {
        for schedule in ["0 1 * * *", "00 01 1-7 * mon", "*/15 0-6/2 * JAN,jul 0", "0 0 29 2 *", "0 0 30 2 1", "59 23 31 12 6"] {
            assert_eq!(fires(schedule), Ok(()), "{schedule}");
        }
    }

    #[test]
    fn what_never_comes_is_not() {
        for schedule in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "61 0 * * *", "5-1 0 * * *", "*/0 * * * *", "0 0 0 * * *", ""] {
            assert!(fires(schedule).is_err(), "{schedule}");
        }
    }

    /// The reader of Kubernetes' `CronJob`s: `ParseStandard` of robfig/cron v3, without what begins with `@` or `TZ=`.
    fn cron_job_takes(schedule: &str) -> bool {
        const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
        const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
        let bounds: [(u32, u32, &[&str]); 5] = [(0, 59, &[]), (0, 23, &[]), (1, 31, &[]), (1, 12, &MONTHS), (0, 6, &DAYS)];
        let fields: Vec<&str> = schedule.split_whitespace().collect();
        let entry = |text: &str, (least, most, names): (u32, u32, &[&str])| {
            let value = |text: &str| {
                let named = names.iter().position(|name| *name == text.to_lowercase()).and_then(|n| u32::try_from(n).ok());
                named.map(|n| n + least).or_else(|| text.parse().ok())
            };
            let (range, step) = text.split_once('/').map_or((text, Some(1)), |(range, step)| (range, step.parse::<u32>().ok()));
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let ends = if ["*", "?"].contains(&range) { Some((least, most)) } else { value(first).zip(value(last)) };
            ends.is_some_and(|(first, last)| least <= first && first <= last && last <= most) && step.is_some_and(|step| step > 0)
        };
        fields.len() == 5 && fields.iter().zip(bounds).all(|(field, bounds)| field.split(',').all(|text| entry(text, bounds)))
    }

    fn taken(schedule: &str) -> bool {
        let spec = json!({"version": "2.42.4", "web": {"host": "play.example.org"}, "backup": {"schedule": schedule}});
        let resource = Dhis2Instance::new("play", serde_json::from_value(spec).unwrap());
        backup(&resource).is_ok() && resource.validate_cel().is_ok()
    }

    #[test]
    fn a_range_of_days_does_not_end_with_sunday() {
        for days in ["mon-sat", "sun-sat", "sun", "sat,sun", "0-fri"] {
            assert!(taken(&format!("0 1 * * {days}")), "{days}");
        }
        for days in ["mon-sun", "5-sun", "MON-SUN", "sat,mon-sun/2", "mon-0", "fri-mon"] {
            assert!(!taken(&format!("0 1 * * {days}")), "{days}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_taken_by_cron_jobs(
            fields in vec("[*]|[0-9]{1,2}|[0-9]{1,2}-[0-9]{1,2}(/[0-9]{1,2})?|[*]/[0-9]{1,2}|(mon|JAN|fri|dec|L|[?]|1#2|x)(-(sun|feb|5))?|[0-9,/*-]{1,4}", 4..7),
        ) {
            let schedule = fields.join(" ");
            if taken(&schedule) {
                prop_assert!(cron_job_takes(&schedule), "{schedule}");
            }
        }

        #[test]
        fn any_text_is_read_or_not(text in ".{0,24}") {
            let _ = (fires(&text), is_time_zone(&text));
        }
    }

    #[test]
    fn time_zones_are_written_as_in_their_database() {
        for (name, is) in [
            ("Africa/Kigali", true),
            ("Etc/GMT+2", true),
            ("UTC", true),
            ("africa/kigali", false),
            ("Africa/Atlantis", false),
            ("Local", false),
            ("../etc/passwd", false),
        ] {
            assert_eq!(is_time_zone(name), is, "{name}");
        }
    }
}
