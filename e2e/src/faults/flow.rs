//! What a test does to an instance, as data. One entry is one flow.

use serde_json::{Value, json};

/// A way of an instance from one state to another.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Its name.
    pub name: &'static str,
    /// What happens before, without faults.
    pub given: Vec<Act>,
    /// What happens while faults are injected.
    pub acts: Vec<Act>,
    /// When it is over.
    pub goal: Goal,
    /// Whether a second operator stands by: then the first is not started again when it is killed.
    pub standby: bool,
    /// Whether volumes of a restore go in the end.
    pub discards: bool,
}

/// Something that a person does, or waits for.
#[derive(Clone, Debug)]
pub enum Act {
    /// Creates the instance with these fields of its spec, beside version and host.
    Create(Value),
    /// Changes fields of its spec, by a merge patch.
    Change(Value),
    /// Deletes it.
    Delete,
    /// Makes a Secret.
    Secret(&'static str, Value),
    /// Edits an object, by a merge patch.
    Edit(&'static str, &'static str, Value),
    /// Deletes an object.
    Remove(&'static str, &'static str),
    /// Makes a Job from the CronJob of this part, as `kubectl create job --from` does.
    Start(&'static str),
    /// Asks for a restore: a `Dhis2Restore` of this name, with these fields beside the instance.
    Ask(&'static str, Value),
    /// Asks for a backup or a restore test: an object of this kind and name, with these fields beside the instance.
    Order(&'static str, &'static str, Value),
    /// Ends the operator and starts it with another value of one of its variables.
    Upgrade(&'static str, &'static str),
    /// Waits.
    Until(Goal),
    /// Waits until clocks that have no fractions of a second tell what comes from what was.
    NextSecond,
}

/// How an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Ready, as it is asked for now, with nothing left to do.
    Ready,
    /// This part of its status is there, or is not, and as `Ready` beside: what ends a flow in which `Ready` holds from the beginning.
    Status(&'static str, bool),
    /// Gone, with all that goes with it.
    Gone,
    /// This `Dhis2Restore` in this phase: over, and as `Ready` beside, or with its step under way.
    Restore(&'static str, &'static str),
    /// This `Dhis2Backup` or `Dhis2RestoreTest` in this phase, which is over, and as `Ready` beside.
    Order(&'static str, &'static str, &'static str),
    /// An object of this kind and name with a finalizer.
    Held(&'static str, &'static str),
    /// None of this kind and name any more, and as `Ready` beside.
    Without(&'static str, &'static str),
}

impl Flow {
    /// Of a restore that failed what it had built, else what it replaced.
    fn discarded(&self, claim: &str) -> bool {
        let failed = matches!(self.goal, Goal::Restore(_, "Failed" | "Canceled"));
        claim.ends_with("-2") == failed && claim != "play-backups"
    }

    fn to(self, goal: Goal) -> Self {
        Self { goal, ..self }
    }

    /// Whether an object goes in this flow because somebody asks for that. `deleted`: the resource was deleted before it went.
    pub fn lets_go(&self, kind: &str, name: &str, deleted: bool) -> bool {
        let all = || self.given.iter().chain(&self.acts);
        let policy = all().filter_map(policy).next_back().unwrap_or("Retain");
        // It stands for a set that only the first backup has listed.
        if kind == "Dhis2Backup" && name.starts_with("play-set-") {
            return true;
        }
        if self.discards && kind == "PersistentVolumeClaim" && self.discarded(name) {
            return true;
        }
        let keeps = RETAINED.contains(&(kind, name)) && policy == "Retain";
        (deleted && !keeps) || all().any(|act| matches!(act, Act::Remove(of, which) if (*of, *which) == (kind, name)))
    }
}

/// What outlives an instance unless its policy is another one.
const RETAINED: [(&str, &str); 6] = [
    ("Secret", "play-admin"),
    ("Secret", "play-encryption"),
    ("Secret", "play-backup"),
    ("PersistentVolumeClaim", "play-database"),
    ("PersistentVolumeClaim", "play-files"),
    ("PersistentVolumeClaim", "play-backups"),
];

/// The deletion policy that an act asks for.
fn policy(act: &Act) -> Option<&str> {
    match act {
        Act::Create(spec) | Act::Change(spec) => spec.get("deletionPolicy")?.as_str(),
        _ => None,
    }
}

fn flow(name: &'static str, given: Vec<Act>, acts: Vec<Act>) -> Flow {
    Flow { name, given, acts, goal: Goal::Ready, standby: false, discards: false }
}

fn ready(spec: Value) -> Vec<Act> {
    vec![Act::Create(spec), Act::Until(Goal::Ready)]
}

/// All flows.
pub fn all() -> Vec<Flow> {
    let mut all = lives();
    all.extend(changes());
    all.extend(others());
    all.extend(restores());
    all.extend(orders());
    all
}

/// From nothing to an instance, and to nothing again.
fn lives() -> Vec<Flow> {
    let retained = || [ready(json!({})), vec![Act::Delete, Act::Until(Goal::Gone)]].concat();
    let delete = json!({ "deletionPolicy": "Delete" });
    let dump = json!({ "volumeClaim": "brought", "path": "dhis2.sql.gz" });
    let bucket = json!({ "bucket": "sets", "prefix": "hmis/old", "credentials": { "secretName": "s3" } });
    let backup = json!({ "repository": { "s3": bucket }, "passwordSecretName": "old-backup", "set": "kept" });
    // The default schedules depend on the namespace.
    let kept = json!({ "repository": { "s3": bucket }, "schedule": "17 2 * * *", "verify": { "schedule": "30 7 * * 6" } });
    let keys = vec![Act::Secret("s3", json!({})), Act::Secret("old-backup", json!({ "password": "a-key-of-more-than-24-characters" }))];
    let from_backup = |adopt: bool| vec![Act::Create(json!({ "bootstrap": { "fromBackup": backup }, "backup": kept, "adopt": adopt }))];
    let claims = ["play-database", "play-files", "play-backups"].map(|claim| Act::Remove("PersistentVolumeClaim", claim));
    // The Secrets of an instance that was, and no volume of it.
    let lost = [keys.clone(), retained(), claims.into()].concat();
    vec![
        flow("create", vec![], vec![Act::Create(json!({}))]),
        flow("create-all", secrets(), vec![Act::Create(everything())]),
        flow("adopt", retained(), vec![Act::Create(json!({ "adopt": true }))]),
        flow(
            "retain",
            ready(delete.clone()),
            vec![Act::Change(json!({ "deletionPolicy": "Retain" })), Act::Until(Goal::Ready), Act::Delete],
        )
        .to(Goal::Gone),
        flow("delete", ready(json!({})), vec![Act::Change(delete), Act::Until(Goal::Ready), Act::Delete]).to(Goal::Gone),
        Flow { standby: true, ..flow("take-over", vec![], vec![Act::Create(json!({}))]) },
        flow("from-dump", vec![], vec![Act::Create(json!({ "bootstrap": { "fromDump": dump } }))]),
        flow("from-backup", keys, from_backup(false)),
        flow("recover", lost, from_backup(true)),
    ]
}

/// What people change.
fn changes() -> Vec<Flow> {
    let change = |name, spec: Value| flow(name, ready(json!({})), vec![Act::Change(spec)]);
    vec![
        change("configuration", json!({ "config": { "max.sessions.per_user": "5" } })),
        change("size", json!({ "size": "medium" })),
        change("pod", json!({ "pod": { "labels": { "team": "north" }, "nodeSelector": { "disk": "fast" } } })),
        change("version", json!({ "version": "2.42.5" })),
        change("line", json!({ "version": "2.43.1" })),
        flow("rehearsal", ready(json!({ "upgrade": { "rehearse": true } })), vec![Act::Change(json!({ "version": "2.42.5" }))]),
        flow("rollback", ready(json!({ "upgrade": { "onFailure": "Rollback" } })), vec![Act::Change(json!({ "version": FAILING }))]),
        change("schedule", json!({ "backup": { "schedule": "5 1 * * *", "retention": { "daily": 3 } } })),
        change("suspend", json!({ "backup": { "suspend": true } })),
        change("policies", json!({ "network": { "policies": false } })),
        change("address", json!({ "web": { "host": "other.example.org" } })),
        change("database", json!({ "database": { "bundled": { "parameters": { "shared_buffers": "300MB" } } } })),
    ]
}

/// What happens without a change of the resource.
fn others() -> Vec<Flow> {
    let edit = |kind, name, patch| Act::Edit(kind, name, patch);
    let drift = vec![
        edit("ConfigMap", "play", json!({ "data": { "dhis.conf": "changed" } })),
        edit("Service", "play", json!({ "spec": { "ports": [{ "name": "http", "port": 9999 }] } })),
        edit("StatefulSet", "play", json!({ "spec": { "revisionHistoryLimit": 7 } })),
        edit("Ingress", "play", json!({ "metadata": { "labels": { "app.kubernetes.io/component": "changed" } } })),
        edit("CronJob", "play-backup", json!({ "spec": { "suspend": true } })),
        edit("NetworkPolicy", "play-deny", json!({ "spec": { "policyTypes": ["Ingress"] } })),
    ];
    let gone = [
        ("ConfigMap", "play"),
        ("Service", "play"),
        ("Service", "play-database"),
        ("Ingress", "play"),
        ("CronJob", "play-backup"),
        ("NetworkPolicy", "play-deny"),
    ];
    let gone = gone.into_iter().map(|(kind, name)| Act::Remove(kind, name)).collect();
    vec![
        flow("backup", ready(json!({})), vec![Act::Start("backup")]).to(Goal::Status("/backup/history/1", true)),
        flow("verify", ready(json!({})), vec![Act::Start("verify")]).to(Goal::Status("/backup/lastVerified", true)),
        flow("drift", ready(json!({})), drift),
        flow("gone", ready(json!({})), gone),
        flow("upgrade", ready(json!({})), vec![Act::Upgrade("OPERATOR_IMAGE", "dhis2-operator:next")]),
        flow("new-postgres", ready(json!({})), vec![Act::Upgrade("POSTGRES_IMAGE", "docker.io/postgis/postgis:17-3.6")]),
    ]
}

/// Back to a set, and there again.
fn restores() -> Vec<Flow> {
    let ask = || Act::Ask("back", json!({ "set": "play-backup-first" }));
    let restored = || [ready(json!({})), vec![ask(), Act::Until(Goal::Restore("back", "Done"))]].concat();
    let backed_up = [restored(), vec![Act::NextSecond, Act::Start("backup"), Act::Until(Goal::Status("/backup/history/2", true))]].concat();
    let revert = || Act::Edit("Dhis2Restore", "back", json!({ "spec": { "revert": true } }));
    let bucket = json!({ "bucket": "sets", "endpoint": "https://s3.example.org", "credentials": { "secretName": "other-s3" } });
    let from = json!({ "from": { "repository": { "s3": bucket }, "passwordSecretName": "other-backup" } });
    let stuck = vec![Act::Ask("back", json!({ "set": STUCK })), Act::Until(Goal::Restore("back", "Building"))];
    let under_way = [ready(json!({})), stuck].concat();
    let gone = || vec![Act::Delete, Act::Until(Goal::Gone)];
    vec![
        flow("restore", ready(json!({})), vec![ask()]).to(Goal::Restore("back", "Done")),
        flow("restore-from", ready(json!({})), vec![Act::Ask("back", from)]).to(Goal::Restore("back", "Done")),
        flow("restore-upgrade", ready(json!({})), vec![ask(), Act::Upgrade("OPERATOR_IMAGE", "dhis2-operator:next")])
            .to(Goal::Restore("back", "Done")),
        flow("restore-adopt", [restored(), gone()].concat(), vec![Act::Create(json!({ "adopt": true }))]),
        Flow { discards: true, ..flow("restore-canceled", under_way, vec![revert()]) }.to(Goal::Restore("back", "Canceled")),
        flow("restore-revert", restored(), vec![revert()]).to(Goal::Restore("back", "Reverted")),
        Flow { discards: true, ..flow("restore-failed", ready(json!({})), vec![Act::Ask("back", json!({ "set": BROKEN }))]) }
            .to(Goal::Restore("back", "Failed")),
        Flow { discards: true, ..flow("restore-proven", backed_up, vec![Act::Start("verify")]) }.to(Goal::Status("/kept", false)),
    ]
}

/// A backup and a restore test that somebody asks for, and a set that goes with its object.
fn orders() -> Vec<Flow> {
    let backup = |name| Act::Order("Dhis2Backup", name, json!({}));
    let made = |name| [backup(name), Act::Until(Goal::Order("Dhis2Backup", name, "Done"))];
    let delete = Act::Edit("Dhis2Backup", "first", json!({ "spec": { "deletionPolicy": "Delete" } }));
    let deleted = [delete, Act::Until(Goal::Held("Dhis2Backup", "first")), Act::Remove("Dhis2Backup", "first")];
    let test = |set: &str| Act::Order("Dhis2RestoreTest", "is-it-good", json!({ "set": set }));
    let done = |kind, name| Goal::Order(kind, name, "Done");
    vec![
        flow("asked-backup", ready(json!({})), vec![backup("first"), Act::Until(done("Dhis2Backup", "first")), backup("second")])
            .to(done("Dhis2Backup", "second")),
        flow("remove-set", [ready(json!({})), made("first").into(), made("second").into()].concat(), deleted.into())
            .to(Goal::Without("Dhis2Backup", "first")),
        flow("asked-restore-test", ready(json!({})), vec![test("play-backup-first")]).to(done("Dhis2RestoreTest", "is-it-good")),
        flow("asked-restore-test-failed", ready(json!({})), vec![test(BROKEN)]).to(Goal::Order("Dhis2RestoreTest", "is-it-good", "Failed")),
    ]
}

/// A version of DHIS2, as its image says it, that does not start.
pub const FAILING: &str = "2.43.0.0";
/// A set that can't be restored.
pub const BROKEN: &str = "broken";
/// A set whose restore does not come to an end.
pub const STUCK: &str = "stuck";

/// The example that says everything there is to say.
fn everything() -> Value {
    let example: Value = serde_yaml::from_str(include_str!("../../../examples/everything.yaml")).unwrap_or_default();
    example.get("spec").cloned().unwrap_or_default()
}

/// The Secrets that it names.
fn secrets() -> Vec<Act> {
    let key = json!({ "password": "a-key-of-more-than-24-characters" });
    [
        ("registry", json!({})),
        ("dhis2-example-org-tls", json!({})),
        ("encryption-key", key),
        ("ldap", json!({ "password": "of-the-directory" })),
    ]
    .into_iter()
    .map(|(name, content)| Act::Secret(name, content))
    .collect()
}
