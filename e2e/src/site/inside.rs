//! What is inside the pods of a story, and pods of its own to look from.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::{Outcome, Story, wait};
use crate::cluster::run;

/// A pod is scheduled and started.
const LIMIT: Duration = Duration::from_mins(2);

/// What is known of a container of a pod.
pub fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.iter().find(|container| container.name == name)
}

impl Story {
    /// What a shell in a pod's main container says to a command.
    ///
    /// # Errors
    /// When the command fails.
    pub fn inside(&self, pod: &str, command: &str) -> Outcome<String> {
        Ok(run::output(self.site.kubectl().args(["--namespace", &self.namespace, "exec", pod, "--", "sh", "-c", command]))?)
    }

    /// What the PostgreSQL of an instance says to a statement of its superuser, one row a line.
    ///
    /// # Errors
    /// When the statement fails.
    pub fn sql(&self, instance: &str, statement: &str) -> Outcome<String> {
        let mut psql = self.site.kubectl();
        psql.args(["--namespace", &self.namespace, "exec", &format!("{instance}-database-0"), "--", "psql", "-U", "postgres"]);
        Ok(run::output(psql.args(["-d", "dhis2", "-v", "ON_ERROR_STOP=1", "-Atc", statement]))?.trim().to_owned())
    }

    /// A pod with a shell, and with these claims at `/` and their names, as people make one; returns it when it has an address.
    ///
    /// # Errors
    /// When the API server refuses it, or it does not run in time.
    pub async fn shell(&self, namespace: &str, name: &str, command: &[&str], claims: &[&str]) -> Outcome<Pod> {
        let of = |part: fn(&str) -> Value| claims.iter().map(|claim| part(claim)).collect::<Vec<_>>();
        let pod = json!({
            "metadata": { "name": name, "namespace": namespace },
            "spec": {
                "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 0,
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 65534, "runAsGroup": 65534, "seccompProfile": { "type": "RuntimeDefault" },
                },
                "volumes": of(|claim| json!({ "name": claim, "persistentVolumeClaim": { "claimName": claim } })),
                "containers": [{
                    "name": "shell", "image": self.site.images.postgres, "command": command,
                    "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
                    "volumeMounts": of(|claim| json!({ "name": claim, "mountPath": format!("/{claim}") })),
                }],
            },
        });
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
        let runs = |pod: &Pod| container(pod, "shell").and_then(|shell| shell.state.as_ref()?.running.as_ref()).is_some();
        Ok(wait::until(&pods, name, "the pod with a shell to run", LIMIT, runs).await?)
    }
}
