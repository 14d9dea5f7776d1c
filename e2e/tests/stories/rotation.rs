//! Rotation: Secrets that are changed, gone, without their key or no text are told by the next start and taken up by it, in whichever
//! order people do it; a certificate is taken up as it is. What runs is left alone. The operator is killed after each step.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use dhis2_e2e::site::door::{Door, Scheme};
use dhis2_e2e::site::instance::Instance;
use dhis2_e2e::site::operator::{self, Operator};
use dhis2_e2e::site::{Outcome, Story, data, process, wait};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

/// From the start of the new pod.
const TOLD: Duration = Duration::from_mins(1);
const REPLACED: Duration = Duration::from_mins(2);
const CERTIFICATE: &str = "play-certificate";

#[test]
fn rotation() {
    crate::tell("rotation", |story| async move {
        let values = operator::mortal(&story, &story.namespace);
        let operator = Operator::install_in(&story, &story.operator_namespace(), &values).await?;
        let instance = story.instance("play");
        let secrets = Api::namespaced(story.client.clone(), &story.namespace);
        let parts = Parts { victim: RefCell::default(), secrets, story: &story, operator: &operator, instance: &instance };
        parts.put("ldap", "password", b"first").await?;
        story.certificate(CERTIFICATE, &instance.host).await?;
        let config = json!({ "ldap.manager.password": { "secretName": "ldap", "key": "password" } });
        let web = json!({ "tls": { "secretName": CERTIFICATE } });
        let spec = json!({ "backup": { "suspend": true }, "secretConfig": config, "web": web });
        instance.apply(&story.small_manifest("play", &spec)).await?;
        instance.settled().await?;
        let (door, admin) = (Door::new(&story.site, &instance.host), instance.admin().await?);
        door.opens(Scheme::Http, REPLACED).await?;
        let before = data::put(&door, &admin).await?;
        parts.of_the_address().await?;
        parts.of_the_users().await?;
        parts.of_the_database().await?;
        data::is_there(&door, &admin, &before).await
    });
}

struct Parts<'a> {
    /// The pod of the operator that was killed last.
    victim: RefCell<String>,
    story: &'a Story,
    operator: &'a Operator,
    instance: &'a Instance,
    secrets: Api<Secret>,
}

impl Parts<'_> {
    /// Makes a Secret anew, with this one key.
    async fn put(&self, name: &str, key: &str, value: &[u8]) -> Outcome {
        // It may not be there.
        let _ = self.secrets.delete(name, &DeleteParams::default()).await;
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let data = Some(BTreeMap::from([(key.to_owned(), ByteString(value.to_vec()))]));
        self.secrets.create(&PostParams::default(), &Secret { metadata, data, ..Secret::default() }).await?;
        Ok(())
    }

    /// Deletes a pod, and waits for the next of its name.
    async fn restart(&self, name: &str) -> Outcome {
        let pods: Api<Pod> = Api::namespaced(self.story.client.clone(), &self.story.namespace);
        let before = pods.get(name).await?.metadata.uid;
        pods.delete(name, &DeleteParams::default()).await?;
        wait::until(&pods, name, "a new pod", REPLACED, |pod| pod.metadata.uid != before).await?;
        Ok(())
    }

    /// Kills the operator, in the middle of whatever it does. The lease may still name the one that was killed before.
    async fn killed(&self) -> Outcome {
        let last = self.victim.borrow().clone();
        let leader = self.operator.leads(&last).await?;
        self.operator.kill(self.story, &leader).await?;
        self.victim.replace(leader);
        Ok(())
    }

    async fn told(&self, reason: &str, about: &str) -> Outcome {
        let after = self.instance.unready(reason, about, TOLD).await?;
        self.story.tell(&format!("{reason} after {:.1} s", after.as_secs_f32()));
        Ok(())
    }

    /// The certificate: a new one is served without anybody's doing, a missing one is told at the next visit.
    async fn of_the_address(&self) -> Outcome {
        self.serves(&self.story.certificate(CERTIFICATE, &self.instance.host).await?).await?;
        self.secrets.delete(CERTIFICATE, &DeleteParams::default()).await?;
        self.instance.change(&json!({ "pod": { "labels": { "visit": "1" } } })).await?;
        self.killed().await?;
        self.told("SecretMissing", "spec.web.tls.secretName").await?;
        let new = self.story.certificate(CERTIFICATE, &self.instance.host).await?;
        self.killed().await?;
        self.instance.settled().await?;
        self.serves(&new).await
    }

    /// Whether people are shown this certificate, soon.
    async fn serves(&self, certificate: &str) -> Outcome {
        let door = Door::trusting(&self.story.site, &self.instance.host, certificate)?;
        door.opens(Scheme::Https, TOLD).await?;
        Ok(())
    }

    /// A Secret that `secretConfig` names.
    async fn of_the_users(&self) -> Outcome {
        self.secrets.delete("ldap", &DeleteParams::default()).await?;
        self.instance.settled().await?;
        self.restart("play-0").await?;
        self.killed().await?;
        self.told("SecretMissing", "ldap").await?;
        self.put("ldap", "other", b"x").await?;
        self.killed().await?;
        self.told("SecretMissing", "password").await?;
        self.put("ldap", "password", b"caf\xe9").await?;
        self.killed().await?;
        self.told("SecretMissing", "UTF-8").await?;
        self.put("ldap", "password", b"second").await?;
        self.killed().await?;
        self.instance.settled().await?;
        if self.story.site.own.is_some() && self.story.site.is_stand_in() {
            assert!(self.environment().await?.contains("=second\0"), "DHIS2 does not have the new value");
        }
        Ok(())
    }

    /// What DHIS2's process was given.
    async fn environment(&self) -> Outcome<String> {
        let pods: Api<Pod> = Api::namespaced(self.story.client.clone(), &self.story.namespace);
        let uid = pods.get("play-0").await?.metadata.uid.unwrap_or_default();
        let process = process::dhis2(&uid)?;
        Ok(String::from_utf8_lossy(&fs::read(format!("/proc/{process}/environ"))?).into_owned())
    }

    /// The password of the database: DHIS2 first is told, and goes on when the database follows.
    async fn of_the_database(&self) -> Outcome {
        let patch = json!({ "stringData": { "password": "Rotated-Secret-123456" } });
        self.secrets.patch("play-database", &PatchParams::default(), &Patch::Merge(&patch)).await?;
        self.instance.settled().await?;
        self.restart("play-0").await?;
        self.killed().await?;
        self.told("DatabasePasswordRefused", "password").await?;
        self.restart("play-database-0").await?;
        self.killed().await?;
        self.instance.settled().await?;
        Ok(())
    }
}
