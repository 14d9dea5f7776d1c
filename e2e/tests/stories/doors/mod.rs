//! Doors: from the first second on, everybody tries admin/district, from inside and outside; nobody is ever let in.
//! Afterwards the password that was generated works, and one that a person sets is that person's.

mod inside;
mod outside;

use std::time::Duration;

use dhis2_e2e::site::door::{Account, Door, Scheme};
use dhis2_e2e::site::instance::Instance;
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, wait};
use inside::Inside;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use outside::Knocker;
use serde_json::json;

/// How long the ingress controller may take to notice an Ingress.
const NOTICED: Duration = Duration::from_secs(20);
/// A password that a person might choose.
const PERSONAL: &str = "Zz3-Kigali-2026";

#[test]
fn doors() {
    crate::tell("doors", |story| async move {
        let operator = Operator::install(&story).await?;
        let instance = story.instance("play");
        let certificate = story.certificate("play-certificate", &instance.host).await?;
        let outside: Vec<Knocker> =
            [Scheme::Http, Scheme::Https].into_iter().map(|scheme| Knocker::begin(&story, &instance, scheme)).collect();
        let inside = Inside::begin(&story, &instance, "others").await?;
        let friend = Inside::begin(&story, &instance, "friends").await?;
        let spec = json!({ "web": { "tls": { "secretName": "play-certificate" } }, "network": friend.allowed() });
        instance.apply(&story.small_manifest("play", &spec)).await?;
        instance.settled().await?;
        let door = Door::trusting(&story.site, &instance.host, &certificate)?;
        door.opens(Scheme::Https, NOTICED).await?;
        only_the_generated_password_works(&door, &instance).await?;
        for knocker in outside {
            knocker.end(&story).await?;
        }
        inside.verdict(&story).await?;
        friend.is_answered_but_not_let_in(&story).await?;
        a_personal_password_stays(&story, &operator, &instance, &door).await
    });
}

async fn only_the_generated_password_works(door: &Door, instance: &Instance) -> Outcome {
    let admin = instance.admin().await?;
    assert_ne!(admin, Account::default_one());
    for scheme in [Scheme::Http, Scheme::Https] {
        assert_eq!(door.lets_in(scheme, &admin).await, Ok(true), "the generated password over {scheme:?}");
        assert_eq!(door.lets_in(scheme, &Account::default_one()).await, Ok(false), "admin/district over {scheme:?}");
    }
    Ok(())
}

/// A person changes the password; then everything restarts.
async fn a_personal_password_stays(story: &Story, operator: &Operator, instance: &Instance, door: &Door) -> Outcome {
    let generated = instance.admin().await?;
    let personal = Account::new(&generated.username, PERSONAL);
    let before = instance.secret("admin").await?.metadata;
    let change = json!({ "oldPassword": generated.password, "newPassword": PERSONAL });
    let changed = door.send("PUT", Scheme::Https, "/api/me/changePassword", Some(&generated), Some(&change))?;
    assert!((200..300).contains(&changed.status), "change the password: {changed:?}");
    assert_eq!(door.lets_in(Scheme::Https, &personal).await, Ok(true), "the personal password");
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    let servers = pods
        .list(&ListParams::default())
        .await?
        .items
        .into_iter()
        .filter(|pod| pod.owner_references().iter().any(|owner| owner.kind == "StatefulSet"));
    let servers: Vec<Pod> = servers.collect();
    assert_eq!(servers.len(), 2, "database and DHIS2");
    for pod in &servers {
        pods.delete(&pod.name_any(), &DeleteParams::default()).await?;
    }
    operator.restart().await?;
    for pod in &servers {
        let fresh = |seen: &Pod| seen.metadata.uid != pod.metadata.uid && is_ready(seen);
        wait::until(&pods, &pod.name_any(), "the pod to be ready again", story.site.patience(), fresh).await?;
    }
    instance.settled().await?;
    let ask = async || door.lets_in(Scheme::Https, &personal).await.and_then(|let_in| if let_in { Ok(()) } else { Err("401".to_owned()) });
    wait::ask("the personal password to work again", NOTICED, ask).await?;
    for (whose, account) in [("generated", &generated), ("default", &Account::default_one())] {
        assert_eq!(door.lets_in(Scheme::Https, account).await, Ok(false), "the {whose} password");
    }
    let after = instance.secret("admin").await?.metadata;
    assert_eq!((after.uid, after.resource_version), (before.uid, before.resource_version), "the Secret of the administrator was touched");
    Ok(())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
