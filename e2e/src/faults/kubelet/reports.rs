//! What the agent is played to report: that all went well, but for sets that a flow says are broken.

use dhis2_operator::report::{
    AdminPassword, BackedUp, Bootstrapped, Built, Capacity, Checked, Data, Filling, Generated, Generation, Imported, Listed,
    Outcome as Ending, Refusal, Rehearsed, Report, Restored, Retention, Verb, Verified,
};
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::is_broken;

/// What a repository is played to hold.
#[derive(Default)]
pub struct Held {
    /// The newest set.
    pub newest: String,
    /// Number of sets.
    pub sets: usize,
}

/// What the agent reports at the end of a container, by what it was called with.
pub fn report(container: &Container, pod: &Pod, held: &Held) -> Option<Report> {
    let words: Vec<&str> = container.command.iter().flatten().map(String::as_str).collect();
    let after = |word: &str| words.iter().skip_while(|known| **known != word).nth(1).copied().unwrap_or_default();
    let (verb, data) = match container.name.as_str() {
        "build" => {
            let built = Built {
                instance: after("--instance").to_owned(),
                postgresql: after("--postgresql").parse().ok()?,
                system_identifier: "7000000000000000000".to_owned(),
                built_at: "2026-01-01T00:00:00Z".to_owned(),
            };
            (Verb::DatabaseBuild, Data::DatabaseBuild(built))
        }
        "check" => {
            let version = after("--version").parse().ok()?;
            (Verb::Check, Data::Check(Checked { version, last_started: None, schema: None }))
        }
        "bootstrap" => {
            let version = after("--version").parse().ok()?;
            let done = Bootstrapped { version, admin_password: AdminPassword::Generated, district_refused: true };
            (Verb::Bootstrap, Data::Bootstrap(done))
        }
        "backup" => (Verb::Backup, Data::Backup(Box::new(set(pod, held)))),
        "restore" if is_broken(container) => {
            let (outcome, reason) = (Ending::Refused, Some(Refusal::SetIncomplete));
            return Some(Report { verb: Verb::Restore, outcome, reason, message: "played".to_owned(), data: None });
        }
        "restore" => (Verb::Restore, Data::Restore(restored(after)?)),
        "import" => (Verb::Import, Data::Import(imported(after))),
        "rehearse" => (Verb::Rehearse, Data::Rehearse(Rehearsed { version: after("--version").parse().ok()?, seconds: 1 })),
        "analytics" => (Verb::Analytics, Data::Analytics(Generated { outcome: Generation::Generated, seconds: 1 })),
        "verify" if is_broken(container) => {
            let (outcome, reason) = (Ending::Refused, Some(Refusal::SetUnknown));
            return Some(Report { verb: Verb::Verify, outcome, reason, message: "played".to_owned(), data: None });
        }
        "verify" => {
            let named = Some(after("--set")).filter(|set| !set.is_empty());
            let (set, now) = (named.unwrap_or(&held.newest).to_owned(), Timestamp::now().to_string());
            (
                Verb::Verify,
                Data::Verify(Verified { set, created: now.clone(), verified: now, seconds: 1, bytes: 1, start_seconds: None, copy: None }),
            )
        }
        _ => return None,
    };
    Some(Report { verb, outcome: Ending::Done, reason: None, message: "played".to_owned(), data: Some(data) })
}

fn restored<'a>(after: impl Fn(&str) -> &'a str) -> Option<Restored> {
    Some(Restored {
        set: after("--set").to_owned(),
        created: "2026-01-01T00:00:00Z".to_owned(),
        dhis2: after("--version").parse().ok()?,
        instance: after("--instance").to_owned(),
        postgresql: after("--postgresql").parse().unwrap_or_default(),
        system_identifier: "7000000000000000001".to_owned(),
        built_at: "2026-01-01T00:00:00Z".to_owned(),
        seconds: 1,
        database_bytes: 1,
        rows: 1,
        files: 1,
        file_bytes: 1,
    })
}

fn imported<'a>(after: impl Fn(&str) -> &'a str) -> Imported {
    Imported {
        dump: "dhis2.sql.gz".to_owned(),
        schema: "2.42.47".to_owned(),
        instance: after("--instance").to_owned(),
        postgresql: after("--postgresql").parse().unwrap_or_default(),
        system_identifier: "7000000000000000002".to_owned(),
        built_at: "2026-01-01T00:00:00Z".to_owned(),
        seconds: 1,
        database_bytes: 1,
        files: 1,
        file_bytes: 1,
        references: 1,
        references_without_file: 0,
    }
}

fn set(pod: &Pod, held: &Held) -> BackedUp {
    let now = Timestamp::now().to_string();
    let name = pod.labels().get("batch.kubernetes.io/job-name").cloned().unwrap_or_default();
    // The first one finds a set of somebody else in the repository, which is gone when the next one is made.
    let listed = |set: &str, source: Option<&str>| Listed {
        set: set.to_owned(),
        time: 1_767_225_600,
        proven: None,
        source: source.map(str::to_owned),
    };
    let first = "play-backup-first";
    let older = if name == first { listed("older", Some("elsewhere/lost")) } else { listed(first, None) };
    let more = (2..held.sets).map(|number| listed(&format!("play-backup-{number}"), None));
    let filling = Filling { used: 1 << 29, free: Some(1 << 29), per_day: None };
    BackedUp {
        set: name.clone(),
        created: now.clone(),
        bytes_added: 1,
        files: 1,
        file_bytes: 1,
        files_incomplete: false,
        references_without_file: 0,
        tables: 1,
        rows: 1,
        seconds: 1,
        retention: Retention::Done,
        sets_kept: u64::try_from(held.sets).unwrap_or_default(),
        oldest: now,
        key: String::new(),
        capacity: Capacity { database: Some(filling), files: Some(filling), repository: Some(filling) },
        database_bytes: Some(1),
        dhis2: None,
        postgresql: Some("17.5".to_owned()),
        verified: None,
        shrunk: None,
        listed: [listed(&name, None), older].into_iter().chain(more).collect(),
    }
}
