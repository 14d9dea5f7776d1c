//! Whether the instance comes back when its cluster is gone.

use kube::ResourceExt;

use super::conditions::Told;
use crate::api::{Dhis2Instance, Dhis2InstanceStatus, KEY_EXPORTED, Reason, status::BackupStatus};

/// The condition `Recoverable`.
pub fn recoverable(resource: &Dhis2Instance, status: &Dhis2InstanceStatus) -> Told {
    let backup = status.backup.clone().unwrap_or_default();
    let (holds, reason, message) = match missing(resource, &backup) {
        Some((reason, message)) => (false, reason, message),
        None => (
            true,
            Reason::Done,
            "A set is proven, the repository is elsewhere, and its key was exported: docs/recover.md says how.".to_owned(),
        ),
    };
    Told { kind: "Recoverable", holds, reason, message }
}

/// What it would fail for.
fn missing(resource: &Dhis2Instance, backup: &BackupStatus) -> Option<(Reason, String)> {
    let name = resource.name_any();
    if is_in_cluster(resource) {
        let message = "The repository of the backups is in the cluster, and goes with it. Keep them elsewhere: spec.backup.repository.s3.";
        return Some((Reason::RepositoryInCluster, message.to_owned()));
    }
    if backup.last.is_none() {
        return Some((Reason::NoBackupYet, "No backup was made yet.".to_owned()));
    }
    let exported = resource.annotations().get(KEY_EXPORTED);
    if exported.is_none() || backup.key.is_some() && exported != backup.key.as_ref() {
        let what = if exported.is_none() { "was not exported" } else { "is another one than was exported" };
        let message = format!(
            "The key of the repository {what}. Without it the sets open for nobody. Take it out of the cluster, and say so: kubectl get secret {name}-backup -o jsonpath='{{.data.password}}' | base64 -d > key; kubectl annotate dhis2 {name} --overwrite {KEY_EXPORTED}=$(sha256sum < key | cut -c1-16)"
        );
        return Some((Reason::KeyNotExported, message));
    }
    backup.last_verified.is_none().then(|| (Reason::NotVerifiedYet, "No set was restored yet to see whether it can be.".to_owned()))
}

/// On a volume, or on a server that is a Service of the cluster.
fn is_in_cluster(resource: &Dhis2Instance) -> bool {
    let Some(s3) = &resource.spec.backup.repository.s3 else { return true };
    let host = s3.endpoint.as_deref().and_then(|endpoint| endpoint.strip_prefix("https://")).unwrap_or_default();
    let host = host.split([':', '/']).next().unwrap_or_default();
    host.split('.').nth(2) == Some("svc")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(repository: &Value, exported: Option<&str>, backup: &Value) -> (bool, Reason) {
        let annotations: Value = exported.map_or(json!({}), |digest| json!({ (KEY_EXPORTED): digest }));
        let resource: Dhis2Instance = serde_json::from_value(json!({
            "apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance", "metadata": {"name": "play", "annotations": annotations},
            "spec": {"version": "2.42.4", "web": {"host": "play.example.org"}, "backup": {"repository": repository}},
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
}
