//! An API server that holds the objects of one namespace, and fails when told to.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    body::Body as Answer,
    http::{Method, Request, Response, StatusCode, header, request::Parts},
};
use kube::{Client, client::Body};
use serde_json::{Map, Value, json};
use strum::IntoEnumIterator;

use crate::{api::MANAGER, operator::kind::Kind};

pub const NAMESPACE: &str = "ns";

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operator is killed before the server has it.
    KilledBefore,
    /// The server carries it out, and the operator is killed before it knows.
    KilledAfter,
    /// The server carries it out, and the answer is lost.
    ReplyLost,
    /// The operator is killed, and the server has it a while later.
    Late,
    /// The server refuses it with this code.
    Refused(u16),
}

/// What a watch tells.
#[derive(Clone, Debug)]
pub enum Told {
    Is(Value),
    Gone(Value),
}

/// A write that the server carried out for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub verb: &'static str,
    pub what: (Kind, String),
}

#[derive(Clone, Default)]
pub struct State {
    pub objects: BTreeMap<(Kind, String), Value>,
    pub resource: Value,
    /// What the operator wrote last of each, whole.
    applied: BTreeMap<(Kind, String), Value>,
    /// What the watches of each kind have not told yet.
    pub untold: BTreeMap<Kind, VecDeque<Told>>,
    pub writes: Vec<Write>,
    /// How many statuses were written.
    pub statuses: usize,
    /// The fault of the write after so many others.
    pub fault: Option<(usize, Fault)>,
    /// What a killed operator has sent, and the server does not have yet; and the version that the object had then.
    late: Option<(Parts, Value, Option<Value>)>,
    /// The resource is gone.
    pub ended: bool,
    /// Nothing of the operator arrives any more.
    pub killed: bool,
    version: u64,
    uids: u64,
}

type Reply = (StatusCode, Value);

/// Clones share the objects.
#[derive(Clone, Default)]
pub struct Server(Arc<Mutex<State>>);

impl Server {
    pub fn holding(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn client(&self) -> Client {
        let server = self.clone();
        let answer = move |request: Request<Body>| {
            let server = server.clone();
            async move { server.answer(request).await }
        };
        Client::new(tower::service_fn(answer), NAMESPACE)
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Answer>, io::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.map_err(io::Error::other)?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let mut state = self.state();
        let (code, value) = state.take(&parts, &body).ok_or_else(|| io::Error::other("connection reset by peer"))?;
        let response = Response::builder().status(code).header(header::CONTENT_TYPE, "application/json").body(value.to_string().into());
        Ok::<_, Infallible>(response.unwrap()).map_err(|never| match never {})
    }
}

fn refusal(code: u16, reason: &str) -> Reply {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason });
    (StatusCode::from_u16(code).unwrap(), status)
}

fn kind(plural: &str) -> Option<Kind> {
    Kind::iter().find(|kind| kind.resource().plural == plural)
}

/// What a path is about: the resource in plural, and the name.
fn read(path: &str) -> (&str, Option<&str>) {
    let (_, rest) = path.split_once(&format!("/namespaces/{NAMESPACE}/")).unwrap();
    let mut parts = rest.split('/');
    (parts.next().unwrap(), parts.next())
}

impl State {
    /// None: there is no answer.
    fn take(&mut self, request: &Parts, body: &Value) -> Option<Reply> {
        let (plural, name) = read(request.uri.path());
        if self.killed {
            return None;
        }
        if plural == "events" {
            return Some((StatusCode::CREATED, body.clone()));
        }
        let fault = if request.method == Method::GET { None } else { self.next_fault() };
        match fault {
            Some(Fault::KilledBefore | Fault::Late) => {
                self.killed = true;
                if fault == Some(Fault::Late) {
                    self.late = Some((request.clone(), body.clone(), self.version_of(read(request.uri.path()))));
                }
                return None;
            }
            Some(Fault::Refused(code)) => return Some(refusal(code, if code == 409 { "Conflict" } else { "Unavailable" })),
            _ => {}
        }
        let reply = self.carry_out(request, (plural, name), body);
        self.killed = fault == Some(Fault::KilledAfter);
        if self.killed || fault == Some(Fault::ReplyLost) { None } else { Some(reply) }
    }

    fn carry_out(&mut self, request: &Parts, (plural, name): (&str, Option<&str>), body: &Value) -> Reply {
        match kind(plural) {
            None if request.method == Method::GET => self.list(),
            Some(kind) if request.method == Method::GET && name.is_none() => self.list_of(kind, request.uri.query().unwrap_or_default()),
            None => self.tell(body),
            Some(kind) => self.act(request, kind, name, body),
        }
    }

    fn version_of(&self, (plural, name): (&str, Option<&str>)) -> Option<Value> {
        let object = self.objects.get(&(kind(plural)?, name?.to_owned()))?;
        Some(object["metadata"]["resourceVersion"].clone())
    }

    /// What was sent long ago arrives. It undoes nothing that came since.
    pub fn arrive(&mut self) {
        if let Some((request, body, seen)) = self.late.take() {
            let path = read(request.uri.path());
            let there = self.version_of(path);
            let (code, _) = self.carry_out(&request, path, &body);
            let undone = request.method == Method::PATCH && code.is_success() && there != seen;
            assert!(!undone, "{} of version {seen:?} was written onto version {there:?}", request.uri.path());
        }
    }

    fn next_fault(&mut self) -> Option<Fault> {
        let (after, fault) = self.fault?;
        self.fault = after.checked_sub(1).map(|after| (after, fault));
        self.fault.is_none().then_some(fault)
    }

    /// The resource, as a list that it is in, unless it is gone.
    fn list(&self) -> Reply {
        let items: Vec<&Value> = Some(&self.resource).filter(|_| !self.ended).into_iter().collect();
        (StatusCode::OK, json!({ "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": items }))
    }

    /// The objects of a kind that a query names, of which it asks for one name.
    fn list_of(&self, kind: Kind, query: &str) -> Reply {
        let named = |name: &str| query.split('&').any(|part| part == format!("fieldSelector=metadata.name%3D{name}"));
        let items = self.objects.iter().filter(|((of, name), _)| *of == kind && named(name)).map(|(_, object)| object).collect::<Vec<_>>();
        (StatusCode::OK, json!({ "kind": "List", "apiVersion": "v1", "metadata": {}, "items": items }))
    }

    /// A new status of the resource.
    fn tell(&mut self, body: &Value) -> Reply {
        if body["metadata"]["resourceVersion"] != self.resource["metadata"]["resourceVersion"] {
            return refusal(409, "Conflict");
        }
        if self.resource["status"] != body["status"] {
            self.statuses += 1;
            self.resource["status"] = body["status"].clone();
            self.resource["metadata"]["resourceVersion"] = self.next_version();
        }
        (StatusCode::OK, self.resource.clone())
    }

    fn act(&mut self, request: &Parts, kind: Kind, name: Option<&str>, body: &Value) -> Reply {
        let name = name.unwrap_or_else(|| body["metadata"]["name"].as_str().unwrap()).to_owned();
        let there = self.objects.get(&(kind, name.clone())).cloned();
        let uid = |pointer: &str| body.pointer(pointer).filter(|uid| !uid.is_null()).cloned();
        match (&request.method, there) {
            (&Method::POST, Some(_)) => refusal(409, "AlreadyExists"),
            (&Method::POST, None) => {
                self.writes.push(Write { verb: "create", what: (kind, name.clone()) });
                self.applied.insert((kind, name), body.clone());
                (StatusCode::CREATED, self.create(kind, body.clone(), MANAGER))
            }
            (_, None) => refusal(404, "NotFound"),
            (&Method::GET, Some(there)) => (StatusCode::OK, there),
            (&Method::DELETE, Some(there)) => {
                if uid("/preconditions/uid").is_some_and(|uid| uid != there["metadata"]["uid"]) {
                    return refusal(409, "Conflict");
                }
                self.writes.push(Write { verb: "delete", what: (kind, name.clone()) });
                self.remove(kind, &name);
                (StatusCode::OK, there)
            }
            (_, Some(there)) => {
                let same = |field: &str| body["metadata"].get(field).is_none_or(|value| *value == there["metadata"][field]);
                if !same("uid") || !same("resourceVersion") {
                    return refusal(409, "Conflict");
                }
                self.writes.push(Write { verb: "patch", what: (kind, name.clone()) });
                let form = request.headers.get(header::CONTENT_TYPE).and_then(|form| form.to_str().ok()).unwrap_or_default();
                let before = if form.contains("apply") { self.applied.insert((kind, name), body.clone()) } else { None };
                (StatusCode::OK, self.change(kind, patched(there, body, form, before)))
            }
        }
    }

    /// Makes an object, on behalf of whomever.
    pub fn create(&mut self, kind: Kind, mut object: Value, manager: &str) -> Value {
        self.uids += 1;
        object["metadata"]["namespace"] = json!(NAMESPACE);
        if kind.of_people() && object["status"].is_null() {
            // The default in the definition.
            object["status"] = json!({ "observedGeneration": -1 });
        }
        object["metadata"]["uid"] = json!(format!("{}-{}", kind.name(), self.uids));
        object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        object["metadata"]["managedFields"] = json!([{ "manager": manager, "operation": "Update" }]);
        if let Some(Value::Object(content)) = object.as_object_mut().and_then(|object| object.remove("stringData")) {
            object["data"] = Value::Object(content);
        }
        self.change(kind, object)
    }

    /// Stores an object that has changed.
    pub fn change(&mut self, kind: Kind, mut object: Value) -> Value {
        let key = (kind, object["metadata"]["name"].as_str().unwrap().to_owned());
        object["metadata"]["resourceVersion"] = self.next_version();
        self.objects.insert(key, object.clone());
        self.untold.entry(kind).or_default().push_back(Told::Is(object.clone()));
        object
    }

    pub fn remove(&mut self, kind: Kind, name: &str) {
        if let Some(mut object) = self.objects.remove(&(kind, name.to_owned())) {
            object["metadata"]["resourceVersion"] = self.next_version();
            self.untold.entry(kind).or_default().push_back(Told::Gone(object));
        }
    }

    /// The resourceVersion that was given last.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn next_version(&mut self) -> Value {
        self.version += 1;
        json!(self.version.to_string())
    }
}

/// `before`: what the operator wrote before.
fn patched(mut there: Value, body: &Value, form: &str, before: Option<Value>) -> Value {
    if form.contains("apply") {
        // What the last apply had and this one has not goes, and what was only created stays. Lists are replaced whole: the wishes of
        // the model share none with others.
        let fields = &there["metadata"]["managedFields"];
        let ours = fields.as_array().into_iter().flatten().any(|entry| entry["manager"] == MANAGER && entry["operation"] == "Apply");
        if let Some(before) = before.filter(|_| ours) {
            withdraw(&mut there, &before, body);
        }
        merge(&mut there, body);
        there["metadata"]["managedFields"] = json!([{ "manager": MANAGER, "operation": "Apply" }]);
    } else if form.contains("strategic") {
        let owners = body["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        let leaves = owners.iter().any(|owner| owner["$patch"] == "delete");
        there["metadata"]["ownerReferences"] = if leaves { json!([]) } else { json!(owners) };
        merge(&mut there, &json!({ "metadata": { "annotations": body["metadata"]["annotations"] } }));
    } else {
        merge(&mut there, body);
    }
    there
}

/// Takes away what was in `before` and is not in `now`.
fn withdraw(there: &mut Value, before: &Value, now: &Value) {
    let (Value::Object(there), Value::Object(before)) = (there, before) else { return };
    for (key, old) in before {
        match (there.get_mut(key), now.get(key)) {
            (Some(_), None) => drop(there.remove(key)),
            (Some(inner), Some(now)) => withdraw(inner, old, now),
            (None, _) => {}
        }
    }
}

/// RFC 7386.
pub fn merge(into: &mut Value, more: &Value) {
    let Value::Object(more) = more else {
        *into = more.clone();
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    for (key, value) in more {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut into[key.as_str()], value);
        }
    }
}
