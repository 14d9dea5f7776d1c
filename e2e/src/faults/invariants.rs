//! What holds after every run, whatever broke in it. Each is a function that says what is wrong.

use std::collections::{BTreeMap, HashMap};

use dhis2_operator::api::{Dhis2Instance, MANAGER};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use sha2::{Digest, Sha256};

use super::flow::Flow;
use super::ledger::{Change, INSTANCE, Present, Record};
use super::snapshot::{self, Snapshot};
use crate::cluster::cache::hex;
use crate::rig::process::Usage;

/// What was seen of a run.
#[derive(Debug)]
pub struct Seen {
    /// Everything that happened in the namespace, the part without faults as well.
    pub records: Vec<Record>,
    /// Number of the first record of the part with faults.
    pub from: usize,
    /// What was there in the end.
    pub present: Present,
    /// The same, to be compared.
    pub snapshot: Snapshot,
    /// Why all did not come to where it should, if it did not.
    pub stuck: Option<String>,
    /// How the operator ended, if it did by itself.
    pub ended: Option<String>,
    /// Writes after it had come to rest.
    pub late: Vec<String>,
    /// What the operator said, and how it was called.
    pub said: String,
    /// What the operator used in the end.
    pub usage: Usage,
}

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Of which invariant.
    pub invariant: &'static str,
    /// What is wrong.
    pub what: String,
}

type Check = fn(&Flow, &Seen, &Seen) -> Vec<String>;

/// All of them, by name; first what others follow from. Each is given the run without faults and the one to judge.
pub const ALL: &[(&str, Check)] = &[
    ("the operator ends when it is told to only", runs_on),
    ("the flow comes to its end", ends),
    ("same objects as without faults", same_objects),
    ("nothing belongs to nobody", no_orphan),
    ("Secrets keep their content", secrets_keep_their_content),
    ("volumes stay", volumes_stay),
    ("nothing is done twice", nothing_twice),
    ("nothing is written when all is done", idle),
    ("Ready is told of the newest generation", ready_of_generation),
    ("no secret is told", no_secret_told),
    ("memory and threads stay as they were", frugal),
];

/// Checks all.
pub fn violations(flow: &Flow, clean: &Seen, seen: &Seen) -> Vec<Violation> {
    let of = |(invariant, check): &(&'static str, Check)| {
        let wrong = check(flow, clean, seen);
        wrong.into_iter().map(|what| Violation { invariant, what }).collect::<Vec<_>>()
    };
    ALL.iter().flat_map(of).collect()
}

/// Before all others.
fn ends(_: &Flow, _: &Seen, seen: &Seen) -> Vec<String> {
    seen.stuck.iter().cloned().collect()
}

/// I1.
fn same_objects(_: &Flow, clean: &Seen, seen: &Seen) -> Vec<String> {
    snapshot::differences(&clean.snapshot, &seen.snapshot)
}

/// I2. What has an owner that is not there would be collected some day; what has neither owner nor the mark of its maker never.
fn no_orphan(_: &Flow, _: &Seen, seen: &Seen) -> Vec<String> {
    let living: Vec<String> = seen.present.values().filter_map(|object| object.uid()).collect();
    let ours = seen.present.iter().filter(|((kind, _), object)| {
        let label = object.labels().get("app.kubernetes.io/managed-by");
        *kind != INSTANCE && label.is_some_and(|label| label == MANAGER)
    });
    let lost = ours.filter(|(_, object)| match object.owner_references() {
        [] => !object.annotations().contains_key(dhis2_operator::api::INSTANCE),
        owners => owners.iter().any(|owner| !living.contains(&owner.uid)),
    });
    lost.map(|((kind, name), _)| format!("{kind} {name}")).collect()
}

/// I3. A generated value that changes is lost: what was encrypted with it, or the only password to a volume.
fn secrets_keep_their_content(flow: &Flow, _: &Seen, seen: &Seen) -> Vec<String> {
    let mut known: HashMap<String, String> = HashMap::new();
    let mut wrong = Vec::new();
    for record in seen.records.iter().filter(|record| record.kind == "Secret") {
        let name = record.object.name_any();
        if record.change == Change::Gone {
            if !lets_go(flow, seen, record) {
                wrong.push(format!("Secret {name} was deleted"));
            }
            known.remove(&name);
            continue;
        }
        let content = hex(&Sha256::digest(record.object.data.get("data").map(ToString::to_string).unwrap_or_default()));
        if known.insert(name.clone(), content.clone()).is_some_and(|before| before != content) {
            wrong.push(format!("the content of Secret {name} changed"));
        }
    }
    wrong
}

/// I4.
fn volumes_stay(flow: &Flow, _: &Seen, seen: &Seen) -> Vec<String> {
    let gone = seen.records.iter().filter(|record| record.kind == "PersistentVolumeClaim");
    let gone = gone.filter(|record| record.change == Change::Gone || record.object.metadata.deletion_timestamp.is_some());
    let wrongly = gone.filter(|record| !lets_go(flow, seen, record));
    wrongly.map(|record| format!("volume {} was deleted", record.object.name_any())).collect()
}

/// Whether an object is gone because somebody asked for that, and not before.
fn lets_go(flow: &Flow, seen: &Seen, gone: &Record) -> bool {
    let instances = seen.records.iter().filter(|record| record.kind == INSTANCE && record.change == Change::Gone);
    // Versions, since each kind is heard of by a watch of its own.
    let asked = instances.filter_map(version).min().is_some_and(|first| Some(first) < version(gone));
    flow.lets_go(gone.kind, &gone.object.name_any(), asked)
}

fn version(record: &Record) -> Option<u64> {
    record.object.resource_version()?.parse().ok()
}

/// I5. How often each object was made: a step that runs again, and a pod that is restarted again, is made again.
fn nothing_twice(_: &Flow, clean: &Seen, seen: &Seen) -> Vec<String> {
    let (clean, seen) = (made(clean), made(seen));
    let more = seen.iter().filter(|(what, count)| clean.get(*what).is_none_or(|often| *count > often));
    more.map(|(what, count)| format!("{what} was made {count} times instead of {}", clean.get(what).copied().unwrap_or_default())).collect()
}

fn made(seen: &Seen) -> BTreeMap<String, usize> {
    let mut made = BTreeMap::new();
    let records = seen.records.iter().skip(seen.from);
    let requests = snapshot::short_uids(&seen.records);
    for record in records.filter(|record| record.change == Change::Made && record.kind != super::ledger::EVENT) {
        let name = requests.iter().fold(record.object.name_any(), |name, short| name.replace(short.as_str(), "<short uid>"));
        *made.entry(format!("{} {name}", record.kind)).or_default() += 1;
    }
    made
}

/// I6.
fn idle(_: &Flow, _: &Seen, seen: &Seen) -> Vec<String> {
    seen.late.iter().map(|what| format!("{what} after it had come to rest")).collect()
}

/// I7. A status is written of the generation that it was computed from: at that moment there is no newer one.
fn ready_of_generation(_: &Flow, _: &Seen, seen: &Seen) -> Vec<String> {
    let mut last: Option<Dhis2Instance> = None;
    let mut wrong = Vec::new();
    for record in seen.records.iter().filter(|record| record.kind == INSTANCE && record.change != Change::Gone) {
        let Ok(now) = serde_json::to_value(record.object.as_ref()).and_then(serde_json::from_value::<Dhis2Instance>) else {
            wrong.push("an instance that can't be read".to_owned());
            continue;
        };
        let told = last.as_ref().is_none_or(|last| last.status != now.status);
        let ready = |condition: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
            condition.type_ == "Ready" && condition.status == "True"
        };
        let status = now.status.as_ref();
        let generations =
            status.map(|status| (status.observed_generation, status.conditions.iter().find(ready).map(|ready| ready.observed_generation)));
        if let Some((observed, Some(of_ready))) = generations.filter(|_| told)
            && (observed != now.metadata.generation || of_ready != observed)
        {
            wrong.push(format!(
                "Ready of generation {of_ready:?}, the status of {observed:?}, the resource of {:?}",
                now.metadata.generation
            ));
        }
        last = Some(now);
    }
    wrong
}

/// I9. No value of a generated Secret is in another object, an event, the log or the arguments.
fn no_secret_told(_: &Flow, _: &Seen, seen: &Seen) -> Vec<String> {
    let secrets = seen.records.iter().filter(|record| record.kind == "Secret");
    let values: Vec<(String, String)> = secrets.flat_map(contents).collect();
    let mut wrong = Vec::new();
    for record in seen.records.iter().filter(|record| record.kind != "Secret") {
        let text = serde_json::to_string(record.object.as_ref()).unwrap_or_default();
        let told = values.iter().filter(|(_, value)| text.contains(value.as_str()));
        wrong.extend(told.map(|(secret, _)| format!("{} {} tells {secret}", record.kind, record.object.name_any())));
    }
    wrong.extend(
        values.iter().filter(|(_, value)| seen.said.contains(value.as_str())).map(|(secret, _)| format!("the operator tells {secret}")),
    );
    wrong.sort();
    wrong.dedup();
    wrong
}

/// Shorter values are words, such as the name of a database's user.
const SHORTEST: usize = 16;

fn contents(record: &Record) -> Vec<(String, String)> {
    let secret = serde_json::to_value(record.object.as_ref()).and_then(serde_json::from_value::<Secret>).unwrap_or_default();
    let name = secret.name_any();
    let texts = secret.data.into_iter().flatten().filter_map(|(key, value)| Some((key, String::from_utf8(value.0).ok()?)));
    texts.filter(|(_, value)| value.len() >= SHORTEST).map(|(key, value)| (format!("{key} of Secret {name}"), value)).collect()
}

/// I10.
fn frugal(_: &Flow, clean: &Seen, seen: &Seen) -> Vec<String> {
    /// What two runs of the same may differ in, in KiB.
    const NOISE: u64 = 8 << 10;
    let (clean, now) = (clean.usage, seen.usage);
    let mut wrong = Vec::new();
    if now.threads > clean.threads {
        wrong.push(format!("{} threads instead of {}", now.threads, clean.threads));
    }
    if now.resident > clean.resident + NOISE {
        wrong.push(format!("{} KiB of memory instead of {}", now.resident, clean.resident));
    }
    wrong
}

/// One that ends by itself would be started again, and again.
fn runs_on(_: &Flow, _: &Seen, seen: &Seen) -> Vec<String> {
    seen.ended.iter().cloned().collect()
}

#[cfg(test)]
mod tests;
