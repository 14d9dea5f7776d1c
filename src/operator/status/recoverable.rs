//! Whether the instance comes back when its cluster is gone.

use kube::ResourceExt;

use super::conditions::Told;
use crate::api::{Dhis2Instance, Dhis2InstanceStatus, KEY_EXPORTED, Reason, backup::S3, status::BackupStatus};

/// The condition `Recoverable`.
pub fn recoverable(resource: &Dhis2Instance, status: &Dhis2InstanceStatus) -> Told {
    let backup = status.backup.clone().unwrap_or_default();
    let (holds, reason, message) = match missing(resource, &backup) {
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
}

/// What it would fail for.
fn missing(resource: &Dhis2Instance, backup: &BackupStatus) -> Option<(Reason, String)> {
    let copies = &resource.spec.backup.copies;
    let own = resource.spec.backup.repository.s3.as_ref().is_some_and(|s3| !is_in_cluster(s3));
    if !own && copies.iter().all(|copy| is_in_cluster(&copy.s3)) {
        let message = "All sets are in the cluster, and go with it. Keep them elsewhere: spec.backup.copies, or spec.backup.repository.s3.";
        return Some((Reason::RepositoryInCluster, message.to_owned()));
    }
    if backup.last.is_none() {
        return Some((Reason::NoBackupYet, "No backup was made yet.".to_owned()));
    }
    let own = own.then(|| Elsewhere { key: backup.key.clone(), secret: format!("{}-backup", resource.name_any()) });
    let elsewhere: Vec<Elsewhere> = own.into_iter().chain(copied_elsewhere(resource, backup)).collect();
    let Some(first) = elsewhere.first() else {
        return Some((Reason::NotCopiedYet, "No set was copied out of the cluster yet.".to_owned()));
    };
    let exported: Vec<&str> =
        resource.annotations().get(KEY_EXPORTED).into_iter().flat_map(|keys| keys.split(',')).map(str::trim).collect();
    let opens = |place: &Elsewhere| !exported.is_empty() && place.key.as_deref().is_none_or(|key| exported.contains(&key));
    if !elsewhere.iter().any(opens) {
        return Some((Reason::KeyNotExported, not_exported(&resource.name_any(), &first.secret, exported.is_empty())));
    }
    backup.last_verified.is_none().then(|| (Reason::NotVerifiedYet, "No set was restored yet to see whether it can be.".to_owned()))
}

fn copied_elsewhere(resource: &Dhis2Instance, backup: &BackupStatus) -> impl Iterator<Item = Elsewhere> {
    let outside = resource.spec.backup.copies.iter().filter(|copy| !is_in_cluster(&copy.s3));
    outside.filter_map(|copy| {
        let known = backup.copies.iter().find(|known| known.name == copy.name && known.set.is_some())?;
        Some(Elsewhere { key: known.key.clone(), secret: copy.password_secret_name.clone() })
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

    fn told(repository: &Value, exported: Option<&str>, backup: &Value) -> (bool, Reason) {
        told_with(&json!({ "repository": repository }), exported, backup)
    }

    fn told_with(spec: &Value, exported: Option<&str>, backup: &Value) -> (bool, Reason) {
        let annotations: Value = exported.map_or(json!({}), |digest| json!({ (KEY_EXPORTED): digest }));
        let resource: Dhis2Instance = serde_json::from_value(json!({
            "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance", "metadata": {"name": "play", "annotations": annotations},
            "spec": {"version": "2.42.4", "web": {"host": "play.example.org"}, "backup": spec},
        }))
        .unwrap();
        let status = serde_json::from_value(json!({ "backup": backup })).unwrap();
        let told = recoverable(&resource, &status);
        (told.holds, told.reason)
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
}
