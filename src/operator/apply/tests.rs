//! Writing against an API server of a few lines that holds one object.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use axum::{
    body::Body as Answer,
    http::{Method, Request, Response, StatusCode},
};
use kube::client::Body;

use super::*;
use crate::operator::{
    desired::fixture,
    observe::SecretSeen,
    slot::{Facts, fixture::owned},
};

type Store = Arc<Mutex<(Option<Value>, Vec<String>)>>;

async fn answer(store: Store, request: Request<Body>) -> Result<Response<Answer>, Infallible> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let bytes = request.into_body().collect_bytes().await.unwrap();
    let mut store = store.lock().unwrap();
    store.1.push(method.to_string());
    let refuse = |code: StatusCode, reason: &str| {
        (code, json!({"kind": "Status", "status": "Failure", "code": code.as_u16(), "reason": reason, "message": path}))
    };
    let (code, body) = match (method, store.0.clone()) {
        (Method::POST, Some(_)) => refuse(StatusCode::CONFLICT, "AlreadyExists"),
        (Method::GET, Some(there)) => {
            // Its controller tells a status once its spec was cleared, after this answer and before what is sent upon it.
            if there["spec"].get("externalName") == Some(&Value::Null) && there["metadata"]["resourceVersion"] == "9" {
                let told = store.0.as_mut().unwrap();
                told["metadata"]["resourceVersion"] = json!("10");
            }
            (StatusCode::OK, there)
        }
        (_, None) => refuse(StatusCode::NOT_FOUND, "NotFound"),
        (Method::PATCH, Some(there))
            if is_of(&bytes, &there) && there["spec"].get("externalName").is_some_and(Value::is_string) && !clears(&bytes) =>
        {
            refuse(StatusCode::UNPROCESSABLE_ENTITY, "Invalid")
        }
        // A request that was sent before somebody else's write arrives after it: nothing but the version tells.
        (Method::PATCH, Some(there)) if !is_of(&bytes, &there) => refuse(StatusCode::CONFLICT, "Conflict"),
        (_, Some(there)) => {
            let mut new: Value = serde_json::from_slice(&bytes).unwrap();
            new["metadata"]["uid"] = there["metadata"]["uid"].clone();
            new["metadata"]["resourceVersion"] = json!("9");
            store.0 = Some(new.clone());
            (StatusCode::OK, new)
        }
    };
    Ok(Response::builder().status(code).header("content-type", "application/json").body(body.to_string().into()).unwrap())
}

/// Does a patch name the object as it is: its uid and its version?
fn is_of(patch: &[u8], there: &Value) -> bool {
    let patch: Value = serde_json::from_slice(patch).unwrap();
    ["uid", "resourceVersion"].iter().all(|field| patch["metadata"][field] == there["metadata"][field])
}

/// Does a merge patch take the foreign field away?
fn clears(patch: &[u8]) -> bool {
    serde_json::from_slice::<Value>(patch).unwrap()["spec"].get("externalName") == Some(&Value::Null)
}

fn service() -> Wanted {
    let wanted = crate::operator::desired::desired(&fixture::plain());
    wanted.into_iter().find(|wish| wish.kind == Kind::Service && wish.name == "play").unwrap()
}

/// Brings the Service `play` about where this is there and that is known. Returns what went wrong, the requests, the world.
async fn bring(there: Option<Value>, observed: Observed) -> (Option<Error>, Vec<String>, Arc<World>) {
    bring_while(&service(), there, observed, Leadership::until_told().1, |_, _| ()).await
}

/// The same by somebody who leads until so many requests were sent.
async fn bring_until(there: Option<Value>, observed: Observed, last: usize) -> (Option<Error>, Vec<String>, Arc<World>) {
    let (term, leadership) = Leadership::until_told();
    let leads_until = move |sent: usize, _: &World| {
        if sent == last {
            term.send_replace(None);
        }
    };
    bring_while(&service(), there, observed, leadership, leads_until).await
}

/// The same of any object, while something happens after so many requests, before the answer of the last one is taken in.
async fn bring_while(
    wish: &Wanted,
    there: Option<Value>,
    observed: Observed,
    leadership: Leadership,
    happens: impl Fn(usize, &World) + Send + Sync + 'static,
) -> (Option<Error>, Vec<String>, Arc<World>) {
    let store: Store = Arc::new(Mutex::new((there, Vec::new())));
    let (world, secrets, contests) = (Arc::new(World::default()), Secrets::default(), Contests::default());
    happens(0, &world);
    let client = {
        let (store, world) = (store.clone(), world.clone());
        let answered = Arc::new(move |sent: usize| happens(sent, &world));
        let server = tower::service_fn(move |request| {
            let (store, answered) = (store.clone(), answered.clone());
            async move {
                let response = answer(store.clone(), request).await;
                answered(store.lock().unwrap().1.len());
                response
            }
        });
        Client::new(server, "demo")
    };
    let key = Key { namespace: "demo".into(), name: "play".into() };
    for (kind, name, slot) in observed.children.iter() {
        world.put(&key, kind, name, slot.clone());
    }
    let instance = fixture::plain();
    let writer = Writer {
        client: &client,
        world: &world,
        secrets: &secrets,
        contests: &contests,
        leadership: &leadership,
        key: &key,
        instance: &instance,
        observed: &observed,
    };
    let error = writer.bring(wish).await.err();
    let requests = store.lock().unwrap().1.clone();
    (error, requests, world)
}

/// The Service as it is in the cluster, without one of our labels.
fn edited() -> Value {
    let mut there = service().stamped();
    there["metadata"]["uid"] = json!("uid-of-service");
    there["metadata"]["resourceVersion"] = json!("5");
    there["metadata"]["labels"].as_object_mut().unwrap().remove("app.kubernetes.io/managed-by");
    there
}

#[tokio::test]
async fn an_object_that_lost_its_label_is_repaired_where_it_is_met() {
    let (error, requests, world) = bring(Some(edited()), Observed::default()).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(requests, ["POST", "GET", "GET", "PATCH"]);
    let key = Key { namespace: "demo".into(), name: "play".into() };
    let children = world.children(&key);
    let slot = children.get(Kind::Service, "play").unwrap();
    assert_eq!(slot.satisfied.as_deref(), Some(&*service().digest()));
}

/// A rival's change of an object, told by the watch before the answer to our own write was taken in, passed for ours.
#[tokio::test]
async fn an_answer_does_not_speak_for_what_came_after_it() {
    let key = Key { namespace: "demo".into(), name: "play".into() };
    let rival = |version| {
        let key = key.clone();
        move |sent: usize, world: &World| {
            if sent == 4 {
                world.put(&key, Kind::Service, "play", Slot { version, ..owned("uid-of-service", "uid-1", Facts::Plain) });
            }
        }
    };
    // The write of ours is of version 9.
    for (version, satisfied) in [(8, true), (9, true), (10, false)] {
        let leadership = Leadership::until_told().1;
        let (error, requests, world) = bring_while(&service(), Some(edited()), Observed::default(), leadership, rival(version)).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(requests.len(), 4);
        let known = world.children(&key).get(Kind::Service, "play").unwrap().satisfied.is_some();
        assert_eq!(known, satisfied, "when a change of version {version} is known");
    }
}

#[tokio::test]
async fn whoever_stops_leading_between_two_requests_does_not_send_the_second() {
    let mut there = edited();
    there["metadata"]["managedFields"] = json!([{ "manager": MANAGER, "operation": "Update" }]);
    let (all, requests, _) = bring(Some(there.clone()), Observed::default()).await;
    assert!(all.is_none(), "{all:?}");
    assert_eq!(requests, ["POST", "GET", "GET", "PATCH", "PATCH"]);
    for last in [0, 3, 4] {
        let (error, sent, _) = bring_until(Some(there.clone()), Observed::default(), last).await;
        assert!(matches!(error, Some(Error::Fenced)), "{error:?}");
        assert_eq!(sent, requests[..last]);
    }
}

#[tokio::test]
async fn what_can_not_be_beside_our_fields_goes() {
    let mut there = edited();
    there["spec"]["externalName"] = json!("elsewhere.example.org");
    let (error, requests, world) = bring(Some(there), Observed::default()).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(requests, ["POST", "GET", "GET", "PATCH", "PATCH", "GET", "PATCH", "GET", "PATCH"]);
    let key = Key { namespace: "demo".into(), name: "play".into() };
    assert!(world.children(&key).get(Kind::Service, "play").is_some());
}

/// Secrets are not watched: what a request that arrives late did to one would be seen by nobody.
#[tokio::test]
async fn whose_a_secret_is_changes_as_it_was_seen() {
    let wanted = crate::operator::desired::desired(&fixture::plain());
    let wish = wanted.iter().find(|wish| wish.kind == Kind::Secret).unwrap();
    let mut there = wish.stamped();
    there["metadata"]["uid"] = json!("uid-of-secret");
    there["metadata"]["resourceVersion"] = json!("5");
    let seen = SecretSeen { uid: "uid-of-secret".into(), owned: Some(wish.object.pointer("/metadata/ownerReferences").is_none()) };
    let observed = || Observed { secrets: [(wish.name.clone(), seen.clone())].into(), ..Observed::default() };
    let bring = |there| bring_while(wish, Some(there), observed(), Leadership::until_told().1, |_, _| ());
    let (error, requests, _) = bring(there.clone()).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(requests, ["GET", "PATCH"]);
    there["metadata"]["uid"] = json!("uid-of-another");
    assert!(bring(there).await.0.is_some(), "another one was marked");
}

#[tokio::test]
async fn an_object_that_went_unseen_is_forgotten() {
    let slot = Slot { version: 5, ..owned("uid-of-service", "uid-1", Facts::Plain) };
    let mut observed = Observed { instance: "uid-1".into(), ..Observed::default() };
    observed.children.insert(Kind::Service, "play", slot);
    let (error, _, world) = bring(None, observed).await;
    assert!(error.is_some_and(|error| error.passes()));
    let key = Key { namespace: "demo".into(), name: "play".into() };
    assert!(world.children(&key).is_empty(), "the next pass makes it anew");
}

#[tokio::test]
async fn what_a_former_instance_leaves_to_be_collected_is_known_so_that_its_end_asks_for_a_pass() {
    let key = Key { namespace: "demo".into(), name: "play".into() };
    let mut there = service().stamped();
    there["metadata"]["uid"] = json!("uid-of-former");
    there["metadata"]["ownerReferences"][0]["uid"] = json!("uid-0");
    let mut foreign = there.clone();
    foreign["metadata"]["labels"].as_object_mut().unwrap().remove("app.kubernetes.io/managed-by");
    for (there, heard) in [(there, true), (foreign, false)] {
        let (error, requests, world) = bring(Some(there), Observed::default()).await;
        assert!(matches!(error, Some(Error::Conflict(Obstacle { retained: false, .. }))), "{error:?}");
        assert_eq!(requests, ["POST", "GET"], "nothing of it is touched");
        assert_eq!(world.remove(&key, Kind::Service, "play", "uid-of-former"), heard);
    }
}

/// Something that failed beside it would not be tried again before the hour is over.
#[test]
fn an_instance_is_blocked_only_where_nothing_else_went_wrong() {
    let conflict = || conflict(&service(), Ownership::Foreign, &owned("theirs", "uid-0", Facts::Plain));
    let passing = || Error::Fenced;
    assert_eq!(obstacle(&[conflict(), conflict()]).map(|obstacle| obstacle.uid.to_string()).as_deref(), Some("theirs"));
    for errors in [vec![], vec![passing()], vec![conflict(), passing()], vec![passing(), conflict()]] {
        assert_eq!(obstacle(&errors), None);
    }
}

/// All that is wanted is there and as it is wanted.
fn complete(wanted: &[Wanted]) -> Observed {
    let mut observed = Observed { instance: "uid-1".into(), ..Observed::default() };
    for wish in wanted {
        match &wish.policy {
            Policy::Generate(_) => {
                observed.secrets.insert(
                    wish.name.clone(),
                    SecretSeen { uid: "1".into(), owned: Some(wish.object.pointer("/metadata/ownerReferences").is_some()) },
                );
            }
            _ => observed.children.insert(wish.kind, &wish.name, known(&wish.digest())),
        }
    }
    observed
}

fn known(satisfied: &str) -> Slot {
    Slot { satisfied: Some(satisfied.into()), ..owned("1", "uid-1", Facts::Plain) }
}

#[test]
fn whoever_has_something_to_write_is_known_before() {
    let instance = fixture::plain();
    let wanted = crate::operator::desired::desired(&instance);
    let work = |change: &dyn Fn(&mut Observed)| {
        let mut observed = complete(&wanted);
        change(&mut observed);
        has_work(&instance, &observed, &wanted)
    };
    assert!(!work(&|_| ()));
    assert!(work(&|observed| assert!(observed.children.remove(Kind::Service, "play"))), "one is missing");
    assert!(work(&|observed| observed.children.insert(Kind::Service, "play", known("other"))), "one has changed");
    assert!(work(&|observed| observed.children.insert(Kind::Job, "play-bootstrap", known("other"))), "a step is over");
    assert!(work(&|observed| drop(observed.secrets.remove("play-admin"))), "a Secret is missing");
    let stranger = |observed: &mut Observed| {
        for seen in observed.secrets.values_mut() {
            seen.owned = seen.owned.map(|owned| !owned);
        }
    };
    assert!(work(&stranger), "a Secret has another owner");
}
