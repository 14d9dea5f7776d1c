//! Whether the instance comes back when its cluster is gone.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{backup::when, conditions::Told, verify};
use crate::{
    api::{Dhis2Instance, Dhis2InstanceStatus, KEY_EXPORTED, Reason, backup::S3, status::BackupStatus},
    operator::parse::span,
};

/// The condition `Recoverable`.
pub fn recoverable(resource: &Dhis2Instance, status: &Dhis2InstanceStatus, now: Timestamp) -> Told {
    let backup = status.backup.clone().unwrap_or_default();
    let (holds, reason, message) = match missing(resource, &backup, now) {
        Some((reason, message)) => (false, reason, message),
        None => {
            (true, Reason::Done, "A set is proven, sets are elsewhere, and their key was exported: docs/recover.md says how.".to_owned())
        }
    };
    Told { kind: "Recoverable", holds, reason, message }
}

/// A repository outside of the cluster that holds a set.
struct Elsewhere {
    /// By which its key is known.
    key: Option<String>,
    /// The Secret that has it.
    secret: String,
    /// The moment of which the newest set in it is.
    newest: Option<Timestamp>,
}

impl Elsewhere {
    /// Has somebody its key?
    fn opens_with(&self, exported: &[&str]) -> bool {
        !exported.is_empty() && self.key.as_deref().is_none_or(|key| exported.contains(&key))
    }
}

/// Digests of the keys that somebody has taken out.
fn exported(resource: &Dhis2Instance) -> Vec<&str> {
    resource.annotations().get(KEY_EXPORTED).into_iter().flat_map(|keys| keys.split(',')).map(str::trim).collect()
}

/// What it would fail for.
fn missing(resource: &Dhis2Instance, backup: &BackupStatus, now: Timestamp) -> Option<(Reason, String)> {
    let copies = &resource.spec.backup.copies;
    if !is_elsewhere(resource) && copies.iter().all(|copy| is_in_cluster(&copy.s3)) {
        let message = "All sets are in the cluster, and go with it. Keep them elsewhere: spec.backup.copies, or spec.backup.repository.s3.";
        return Some((Reason::RepositoryInCluster, message.to_owned()));
    }
    if backup.last.is_none() {
        return Some((Reason::NoBackupYet, "No backup was made yet.".to_owned()));
    }
    let elsewhere = elsewhere(resource, backup);
    let Some(first) = elsewhere.first() else {
        return Some((Reason::NotCopiedYet, "No set was copied out of the cluster yet.".to_owned()));
    };
    let exported = exported(resource);
    if !elsewhere.iter().any(|place| place.opens_with(&exported)) {
        return Some((Reason::KeyNotExported, not_exported(&resource.name_any(), &first.secret, exported.is_empty())));
    }
    if backup.last_verified.is_none() {
        return Some((Reason::NotVerifiedYet, verify::not_yet(backup)));
    }
    missed(resource, backup, now).map(|message| (Reason::ObjectiveMissed, message))
}

/// What was measured and is more than it may be.
fn missed(resource: &Dhis2Instance, backup: &BackupStatus, now: Timestamp) -> Option<String> {
    let objectives = resource.spec.backup.objectives.as_ref()?;
    if overdue_by(resource, backup, now) == Some(Duration::ZERO) {
        let (asked, newest) = (objectives.data_loss.as_deref().unwrap_or_default(), newest(resource, backup)?);
        return Some(format!(
            "The newest set outside of the cluster is of {newest:.0}. What was entered since then would be lost: more than spec.backup.objectives.dataLoss, {asked}."
        ));
    }
    let (asked, proof) = (objectives.restore_time.as_deref()?, backup.last_verified.as_ref()?);
    let seconds = proof.seconds.unwrap_or_default() + proof.start_seconds.unwrap_or_default();
    (SignedDuration::from_secs(seconds) > span(asked)?).then(|| {
        format!("The last restore test took {seconds} s, and so would a restore: more than spec.backup.objectives.restoreTime, {asked}.")
    })
}

/// How long until the newest set outside of the cluster is older than it may be; zero when it is.
pub fn overdue_in(resource: &Dhis2Instance, status: &Dhis2InstanceStatus, now: Timestamp) -> Option<Duration> {
    overdue_by(resource, status.backup.as_ref()?, now)
}

fn overdue_by(resource: &Dhis2Instance, backup: &BackupStatus, now: Timestamp) -> Option<Duration> {
    let may = span(resource.spec.backup.objectives.as_ref()?.data_loss.as_deref()?)?;
    let until = newest(resource, backup)?.checked_add(may).ok()?;
    Some(Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// The newest set that somebody could open.
fn newest(resource: &Dhis2Instance, backup: &BackupStatus) -> Option<Timestamp> {
    let exported = exported(resource);
    elsewhere(resource, backup).into_iter().filter(|place| place.opens_with(&exported)).filter_map(|place| place.newest).max()
}

/// The repositories outside of the cluster that hold sets.
fn elsewhere(resource: &Dhis2Instance, backup: &BackupStatus) -> Vec<Elsewhere> {
    let newest = backup.last.as_ref().and_then(when);
    let own = || Elsewhere { key: backup.key.clone(), secret: format!("{}-backup", resource.name_any()), newest };
    is_elsewhere(resource).then(own).into_iter().chain(copied_elsewhere(resource, backup)).collect()
}

/// Is the repository outside of the cluster?
fn is_elsewhere(resource: &Dhis2Instance) -> bool {
    resource.spec.backup.repository.s3.as_ref().is_some_and(|s3| !is_in_cluster(s3))
}

fn copied_elsewhere(resource: &Dhis2Instance, backup: &BackupStatus) -> impl Iterator<Item = Elsewhere> {
    let outside = resource.spec.backup.copies.iter().filter(|copy| !is_in_cluster(&copy.s3));
    outside.filter_map(|copy| {
        let known = backup.copies.iter().find(|known| known.name == copy.name && known.set.is_some())?;
        let of_ours = backup.history.iter().find(|set| known.set.as_ref() == Some(&set.set)).and_then(when);
        let newest = of_ours.or(known.set_time.as_ref().map(|time| time.0));
        Some(Elsewhere { key: known.key.clone(), secret: copy.password_secret_name.clone(), newest })
    })
}

fn not_exported(name: &str, secret: &str, none: bool) -> String {
    let what = if none { "was not exported" } else { "is another one than was exported" };
    format!(
        "The key of the repository {what}. Without it the sets open for nobody. Take it out of the cluster, and say so: kubectl get secret {secret} -o jsonpath='{{.data.password}}' | base64 -d > key; kubectl annotate dhis2 {name} --overwrite {KEY_EXPORTED}=$(sha256sum < key | cut -c1-16)"
    )
}

/// On a server that is a Service of the cluster.
fn is_in_cluster(s3: &S3) -> bool {
    let host = s3.endpoint.as_deref().and_then(|endpoint| endpoint.strip_prefix("https://")).unwrap_or_default();
    let host = host.split([':', '/']).next().unwrap_or_default();
    host.split('.').nth(2) == Some("svc")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: &str = "2026-11-29T12:00:00Z";

    fn told(repository: &Value, exported: Option<&str>, backup: &Value) -> (bool, Reason) {
        told_with(&json!({ "repository": repository }), exported, backup)
    }

    fn told_with(spec: &Value, exported: Option<&str>, backup: &Value) -> (bool, Reason) {
        let resource = resource(spec, exported);
        let status = serde_json::from_value(json!({ "backup": backup })).unwrap();
        let told = recoverable(&resource, &status, NOW.parse().unwrap());
        (told.holds, told.reason)
    }

    fn resource(spec: &Value, exported: Option<&str>) -> Dhis2Instance {
        let annotations: Value = exported.map_or(json!({}), |digest| json!({ (KEY_EXPORTED): digest }));
        serde_json::from_value(json!({
            "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance", "metadata": {"name": "play", "annotations": annotations},
            "spec": {"version": "2.42.4", "web": {"host": "play.example.org"}, "backup": spec},
        }))
        .unwrap()
    }

    #[test]
    fn it_takes_a_proven_set_elsewhere_and_its_key() {
        let at = |endpoint: &str| json!({"s3": {"bucket": "sets", "endpoint": endpoint, "credentials": {"secretName": "s3"}}});
        let elsewhere = at("https://s3.example.org:9000");
        let proven = json!({"last": {"set": "a"}, "key": "0123456789abcdef", "lastVerified": {"set": "a"}});
        assert_eq!(told(&elsewhere, None, &json!({})), (false, Reason::NoBackupYet));
        assert_eq!(told(&json!({}), Some("0123456789abcdef"), &proven), (false, Reason::RepositoryInCluster));
        for host in ["https://minio.storage.svc:9000", "https://minio.storage.svc.cluster.local/"] {
            assert_eq!(told(&at(host), Some("0123456789abcdef"), &proven), (false, Reason::RepositoryInCluster), "{host}");
        }
        assert_eq!(told(&elsewhere, None, &proven), (false, Reason::KeyNotExported));
        assert_eq!(told(&elsewhere, Some("fedcba9876543210"), &proven), (false, Reason::KeyNotExported), "another key");
        let unproven = json!({"last": {"set": "a"}, "key": "0123456789abcdef"});
        assert_eq!(told(&elsewhere, Some("0123456789abcdef"), &unproven), (false, Reason::NotVerifiedYet));
        assert_eq!(told(&elsewhere, Some("0123456789abcdef"), &proven), (true, Reason::Done));
    }

    #[test]
    fn a_copy_elsewhere_does_as_well() {
        let copy = |endpoint: &str| {
            let s3 = json!({"bucket": "sets", "endpoint": endpoint, "credentials": {"secretName": "s3"}});
            json!({ "copies": [{"name": "away", "passwordSecretName": "key", "s3": s3}] })
        };
        let away = copy("https://s3.example.org");
        let backup =
            |copies: Value| json!({"last": {"set": "a"}, "key": "0123456789abcdef", "lastVerified": {"set": "a"}, "copies": copies});
        let at = |set: Value| json!([{"name": "away", "repository": "s3:https://s3.example.org/sets/ns/play", "set": set, "key": "aaaaaaaaaaaaaaaa"}]);
        let copied = backup(at(json!("a")));
        assert_eq!(told_with(&away, Some("aaaaaaaaaaaaaaaa"), &backup(at(Value::Null))), (false, Reason::NotCopiedYet));
        assert_eq!(
            told_with(&away, Some("0123456789abcdef"), &copied),
            (false, Reason::KeyNotExported),
            "that of the volume opens no copy"
        );
        assert_eq!(told_with(&away, Some("0123456789abcdef, aaaaaaaaaaaaaaaa"), &copied), (true, Reason::Done));
        let inside = copy("https://minio.storage.svc");
        assert_eq!(told_with(&inside, Some("aaaaaaaaaaaaaaaa"), &copied), (false, Reason::RepositoryInCluster));
    }

    #[test]
    fn what_was_measured_is_held_against_the_objectives() {
        let asked = |objectives: Value, copies: Value| {
            let s3 = json!({"bucket": "sets", "endpoint": "https://s3.example.org", "credentials": {"secretName": "s3"}});
            let copy = json!([{"name": "away", "passwordSecretName": "key", "s3": s3}]);
            let spec = json!({"repository": {"s3": s3}, "copies": copy, "objectives": objectives});
            let backup = json!({
                "last": {"set": "b", "time": "2026-11-29T00:00:00Z"}, "key": "aaaaaaaaaaaaaaaa", "copies": copies,
                "lastVerified": {"set": "a", "seconds": 3600, "startSeconds": 600},
            });
            told_with(&spec, Some("aaaaaaaaaaaaaaaa"), &backup)
        };
        let none = json!([]);
        assert_eq!(asked(json!({}), none.clone()), (true, Reason::Done));
        for (objectives, met) in [
            (json!({"dataLoss": "12h"}), false),
            (json!({"dataLoss": "721m"}), true),
            (json!({"dataLoss": "1d", "restoreTime": "1h"}), false),
            (json!({"restoreTime": "69m"}), false),
            (json!({"restoreTime": "70m"}), true),
        ] {
            let told = if met { (true, Reason::Done) } else { (false, Reason::ObjectiveMissed) };
            assert_eq!(asked(objectives.clone(), none.clone()), told, "{objectives}");
        }
        let newer = |key: &str| json!([{"name": "away", "repository": "s3:x", "set": "c", "setTime": "2026-11-29T11:00:00Z", "key": key}]);
        assert_eq!(asked(json!({"dataLoss": "2h"}), newer("aaaaaaaaaaaaaaaa")).1, Reason::Done, "what is newest anywhere outside counts");
        assert_eq!(asked(json!({"dataLoss": "2h"}), newer("bbbbbbbbbbbbbbbb")).1, Reason::ObjectiveMissed, "unless nobody has its key");
    }

    /// The set is twelve hours old, whatever the clock of its node said.
    #[test]
    fn a_clock_that_was_wrong_makes_no_set_newer_than_it_is() {
        let s3 = json!({"bucket": "sets", "endpoint": "https://s3.example.org", "credentials": {"secretName": "s3"}});
        let inside = json!({"bucket": "sets", "endpoint": "https://minio.storage.svc", "credentials": {"secretName": "s3"}});
        let copy = json!([{"name": "away", "passwordSecretName": "key", "s3": s3}]);
        let set = json!({"set": "b", "time": "2031-01-01T00:00:00Z", "started": "2026-11-29T00:00:00Z"});
        let copied =
            json!([{"name": "away", "repository": "s3:x", "set": "b", "setTime": "2031-01-01T00:00:00Z", "key": "aaaaaaaaaaaaaaaa"}]);
        let backup = json!({"last": set, "history": [set], "key": "aaaaaaaaaaaaaaaa", "copies": copied, "lastVerified": {"set": "b"}});
        for repository in [&s3, &inside] {
            for (may, told) in [("11h", (false, Reason::ObjectiveMissed)), ("13h", (true, Reason::Done))] {
                let spec = json!({"repository": {"s3": repository}, "copies": copy, "objectives": {"dataLoss": may}});
                assert_eq!(told_with(&spec, Some("aaaaaaaaaaaaaaaa"), &backup), told, "{may} {repository}");
            }
        }
    }

    #[test]
    fn the_moment_at_which_it_is_missed_is_known_before() {
        let spec = json!({
            "repository": {"s3": {"bucket": "sets", "endpoint": "https://s3.example.org", "credentials": {"secretName": "s3"}}},
            "objectives": {"dataLoss": "13h"},
        });
        let resource = resource(&spec, Some("aaaaaaaaaaaaaaaa"));
        let status = |time: &str| serde_json::from_value(json!({"backup": {"last": {"set": "b", "time": time}}})).unwrap();
        let wait = |time: &str| overdue_in(&resource, &status(time), NOW.parse().unwrap());
        assert_eq!(wait("2026-11-29T00:00:00Z"), Some(Duration::from_hours(1)));
        assert_eq!(wait("2026-11-28T00:00:00Z"), Some(Duration::ZERO));
    }
}
