//! Neighbours: instances beside each other, of one namespace or of one name, know nothing of each other; two that want one
//! address are told, and the one that waits goes on by itself when it is free.

use std::time::Duration;

use dhis2_e2e::site::audit;
use dhis2_e2e::site::data::{self, Data};
use dhis2_e2e::site::door::{Account, Door, Scheme};
use dhis2_e2e::site::instance::{self, Instance, condition, holds};
use dhis2_e2e::site::operator::{self, Operator};
use dhis2_e2e::site::{Outcome, Story, wait};
use dhis2_operator::api::{Dhis2Instance, MANAGER};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{DeleteParams, LogParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

const NOTICED: Duration = Duration::from_secs(20);
const TOLD: Duration = Duration::from_secs(10);
/// How long the operator is watched while an instance waits.
const IDLE: Duration = Duration::from_secs(10);
/// The longest name.
const LONG: &str = "ministry-of-health-training-northern-reg";

#[test]
fn neighbours() {
    crate::tell("neighbours", |story| async move {
        let there = format!("{}-there", story.namespace);
        story.make_namespace(&there).await?;
        let mut values = operator::values(&story, &story.namespace);
        instance::merge(&mut values, &json!({ "watchNamespaces": [story.namespace, there] }));
        let operator = Operator::install_in(&story, &story.operator_namespace(), &values).await?;
        let street = Street { story: &story, there };
        let homes = street.built().await?;
        let residents = try_join_all(homes.iter().map(|home| Resident::moves_in(&story, home))).await?;
        nobody_opens_anothers(&residents).await?;
        street.databases_are_apart().await?;
        street.a_longer_name_is_refused().await?;
        street.a_neighbour_in_the_way_is_named().await?;
        Box::pin(street.the_later_one_waits(&homes[1], &operator)).await
    });
}

/// Two namespaces next to each other.
struct Street<'a> {
    story: &'a Story,
    there: String,
}

impl Street<'_> {
    fn manifest(&self, namespace: &str, name: &str, host: &str, more: &Value) -> Value {
        let mut manifest = self.story.manifest(name, &json!({ "resources": { "memory": "1Gi", "cpu": "100m" }, "web": { "host": host } }));
        instance::merge(&mut manifest, &json!({ "metadata": { "namespace": namespace }, "spec": more }));
        manifest
    }

    /// Makes an instance; it is opened at `host`.
    async fn make(&self, namespace: &str, name: &str, host: &str, more: &Value) -> Outcome<Instance> {
        let mut instance = self.story.instance_in(namespace, name);
        host.clone_into(&mut instance.host);
        instance.apply(&self.manifest(namespace, name, host, more)).await?;
        Ok(instance)
    }

    /// Two in one namespace, and two of one name.
    async fn built(&self) -> Outcome<Vec<Instance>> {
        let here = &self.story.namespace;
        let mut homes = Vec::new();
        for (namespace, name, host) in [(here, "play", "play"), (here, LONG, "long"), (&self.there, "play", "there")] {
            homes.push(self.make(namespace, name, &self.story.host(host), &json!({})).await?);
        }
        try_join_all(homes.iter().map(Instance::settled)).await?;
        try_join_all(homes.iter().map(|home| home.until("BackupHealthy"))).await?;
        Ok(homes)
    }

    /// A pod with all that makes the one of DHIS2 known reaches the database of its own instance, and no other.
    async fn databases_are_apart(&self) -> Outcome {
        const TRY: &str = r#"
knock() { timeout 2 bash -c 'exec 3<>/dev/tcp/$0/5432' "$1" 2>/dev/null; }
until knock "$OWN"; do sleep 0.2; done
echo own
for try in 1 2 3; do for other in $OTHERS; do knock "$other" && echo "$other"; done; done
echo end"#;
        if self.story.site.own.is_none() {
            self.story.tell("left out: that databases are apart needs a cluster that enforces NetworkPolicy");
            return Ok(());
        }
        let here = &self.story.namespace;
        let others = [format!("{LONG}-database.{here}.svc"), format!("play-database.{}.svc", self.there)];
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "knock", "labels": {
                "app.kubernetes.io/instance": "play", "app.kubernetes.io/component": "application", "app.kubernetes.io/managed-by": MANAGER,
            } },
            "spec": {
                "automountServiceAccountToken": false,
                "restartPolicy": "Never",
                "securityContext": { "runAsNonRoot": true, "runAsUser": 65534, "seccompProfile": { "type": "RuntimeDefault" } },
                "containers": [{
                    "name": "knock", "image": self.story.site.images.postgres, "imagePullPolicy": "IfNotPresent",
                    "command": ["bash", "-c", TRY],
                    "env": [{ "name": "OWN", "value": format!("play-database.{here}.svc") }, { "name": "OTHERS", "value": others.join(" ") }],
                    "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
                }],
            },
        }))?;
        let pods: Api<Pod> = Api::namespaced(self.story.client.clone(), here);
        pods.create(&PostParams::default(), &pod).await?;
        let ended = |pod: &Pod| pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Succeeded"));
        wait::until(&pods, "knock", "the tries at the databases", Duration::from_mins(1), ended).await?;
        let log = pods.logs("knock", &LogParams::default()).await?;
        pods.delete("knock", &DeleteParams::default()).await?;
        assert_eq!(log.lines().collect::<Vec<_>>(), ["own", "end"], "databases of neighbours were reached");
        Ok(())
    }

    async fn a_longer_name_is_refused(&self) -> Outcome {
        let (here, name) = (&self.story.namespace, format!("{LONG}x"));
        assert_eq!((LONG.len(), name.len()), (40, 41));
        let refused = self.make(here, &name, &self.story.host("longer"), &json!({})).await.err().map(|error| error.to_string());
        let said = refused.unwrap_or_default();
        assert!(said.contains("metadata.name must be at most 40 characters"), "{said}");
        Ok(())
    }

    /// Two that never run, of one namespace: the later one is told whose address it is, and no more when the first one moves.
    async fn a_neighbour_in_the_way_is_named(&self) -> Outcome {
        let (here, host) = (&self.story.namespace, self.story.host("shared"));
        let nowhere = json!({ "pod": { "nodeSelector": { "example.org/node": "none" } }, "deletionPolicy": "Delete" });
        let mut both = [self.make(here, "one", &host, &nowhere).await?, self.make(here, "other", &host, &nowhere).await?];
        // Made in one second they count as made together, and their uids decide.
        let made = try_join_all(both.iter().map(async |instance| instance.api.get_metadata(&instance.name).await)).await?;
        let rank = |at: usize| (made[at].creation_timestamp(), made[at].uid());
        if rank(1) < rank(0) {
            both.reverse();
        }
        let [first, second] = both;
        let message = conflict(&second).await?;
        assert!(message.contains(&host) && message.contains(&format!("instance {} of this namespace", first.name)), "{message}");
        first.change(&json!({ "web": { "host": self.story.host("elsewhere") } })).await?;
        wait::until(&second.api, &second.name, "the address to be free", TOLD, |seen| !conflicts(seen)).await?;
        for instance in [first, second] {
            instance.api.delete(&instance.name, &DeleteParams::default()).await?;
        }
        Ok(())
    }

    /// One that wants the address of an instance of another namespace: it is built and stays shut, without a word of who is in its
    /// way and without a request; once that one is gone it opens by itself.
    async fn the_later_one_waits(&self, owner: &Instance, operator: &Operator) -> Outcome {
        let late = self.make(&self.there, "late", &owner.host, &json!({})).await?;
        let message = conflict(&late).await?;
        assert!(message.contains(&owner.host) && message.contains("another namespace"), "{message}");
        assert!(!message.contains(LONG) && !message.contains(&self.story.namespace), "it names the neighbour: {message}");
        late.when("all but the door", |seen| holds(seen, "AdminPasswordSet") && holds(seen, "BackupHealthy")).await?;
        let doors: Api<Ingress> = Api::namespaced(self.story.client.clone(), &self.there);
        assert!(doors.get_opt("late").await?.is_none(), "a taken address was opened a second time");
        let seen = late.api.get("late").await?;
        assert!(conflicts(&seen) && !holds(&seen, "Ready"), "{:?}", seen.status);
        assert!(holds(&owner.api.get(&owner.name).await?, "Ready"), "the one whose address it is");
        self.waiting_is_free(operator).await?;
        owner.api.delete(&owner.name, &DeleteParams::default()).await?;
        late.settled().await?;
        Door::new(&self.story.site, &late.host).opens(Scheme::Http, NOTICED).await?;
        Ok(())
    }

    async fn waiting_is_free(&self, operator: &Operator) -> Outcome {
        let Some(counts) = audit::idle(self.story, &operator.user(), IDLE).await? else {
            self.story.tell("left out: that waiting takes no requests needs our own cluster's audit log");
            return Ok(());
        };
        self.story.tell(&format!("requests in {} s while one waits for its address: {}", IDLE.as_secs(), audit::told(&counts)));
        assert!(counts.is_empty(), "waiting takes requests: {counts:?}");
        Ok(())
    }
}

fn conflicts(seen: &Dhis2Instance) -> bool {
    condition(seen, "Exposed").is_some_and(|told| told.reason == "HostConflict")
        && condition(seen, "Stalled").is_some_and(|told| told.status == "True")
}

/// Waits until it is told that its address is another's, and says in which words.
async fn conflict(instance: &Instance) -> Outcome<String> {
    let seen = wait::until(&instance.api, &instance.name, "HostConflict", TOLD, conflicts).await?;
    Ok(condition(&seen, "Stalled").map(|told| told.message.clone()).unwrap_or_default())
}

/// Who lives in an instance, with something of their own.
struct Resident {
    door: Door,
    account: Account,
    data: Data,
}

impl Resident {
    async fn moves_in(story: &Story, home: &Instance) -> Outcome<Self> {
        let door = Door::new(&story.site, &home.host);
        door.opens(Scheme::Http, NOTICED).await?;
        let account = home.admin().await?;
        let data = data::put(&door, &account).await?;
        Ok(Self { door, account, data })
    }
}

/// Each one's password opens its own door only, and behind each is what was put there.
async fn nobody_opens_anothers(residents: &[Resident]) -> Outcome {
    for (here, home) in residents.iter().enumerate() {
        for (there, other) in residents.iter().enumerate() {
            assert_eq!(home.door.lets_in(Scheme::Http, &other.account).await, Ok(here == there), "password of {there} at door {here}");
        }
        data::is_there(&home.door, &home.account, &home.data).await?;
        let (door, account, data) = (home.door.clone(), home.account.clone(), residents[(here + 1) % residents.len()].data.clone());
        let foreign = tokio::task::spawn_blocking(move || data::check(&door, &account, &data)).await?;
        assert!(foreign.is_err(), "what was put into one instance is in another");
    }
    Ok(())
}
