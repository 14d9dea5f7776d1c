//! Telling: the status of a pass is written once, and only when it says something new.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Resource as _, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::json;

use super::{
    events,
    kind::Kind,
    observe::Observed,
    reconcile::{Context, Error},
    slot,
    status::{self, Answer, Answers, Gone, Hold, Mirror, Mirrors, Outcome, View},
    world::Key,
};
use crate::api::{Dhis2Instance, Dhis2InstanceStatus, MANAGER, SET_FINALIZER};

/// Field manager of the finalizer alone: what else it applies to an object it would take back.
const FINALIZING: &str = "dhis2-operator-finalizer";

/// What telling came to.
pub struct Told {
    /// When to look again.
    pub revisit: Duration,
    /// Was there anything new to tell?
    pub written: bool,
}

/// So soon an instance is looked at again of which something was not taken, since it had changed. Usually the newer object has asked for
/// that by then.
pub const REFUSED: Duration = Duration::from_secs(5);

/// Writes the status if it changed, with an event for each transition.
///
/// # Errors
/// When it can't be written.
pub async fn tell(resource: &Dhis2Instance, key: &Key, context: &Context, observed: &Observed, outcome: &Outcome) -> Result<Told, Error> {
    let now = Timestamp::now();
    let told = status::linked(status::status(resource, observed, outcome, now), &context.settings.runbooks);
    let revisit = status::revisit(resource, &told, observed, now);
    let news = News::of(key, Some((&told, outcome)), observed, &context.settings.runbooks, now);
    let revisit = news.again.map_or(revisit, |again| revisit.min(again));
    // First, since the status is the record that the objects of its newest set are as they should be.
    let mirrors = status::mirrors(resource, &told, observed, (&context.settings.runbooks, now));
    let mirrors = mirrors.filter(|_| !matches!(outcome, Outcome::Paused)).unwrap_or_default();
    let mirrored = mirrors != Mirrors::default();
    let (refused, mirrors_taken) = mirror(resource, key, context, mirrors).await?;
    let soon = |taken: bool| if taken { revisit } else { revisit.min(REFUSED) };
    if !mirrors_taken {
        // Once it is recorded it is not tried again.
        return refused.map_or(Ok(Told { revisit: soon(false), written: true }), Err);
    }
    if resource.status.as_ref() == Some(&told) {
        let written = mirrored || !news.answers.is_empty() || !news.holds.is_empty();
        let taken = notify(key, context, news).await?;
        return refused.map_or(Ok(Told { revisit: soon(taken), written }), Err);
    }
    let new = Told { revisit, written: true };
    if !context.leadership.still_leading() {
        return Ok(new);
    }
    let mut written = resource.clone();
    written.status = Some(told.clone());
    let api: Api<Dhis2Instance> = Api::namespaced(context.client.clone(), &key.namespace);
    // The resourceVersion that the pass began with: a conflict ends the pass.
    let answer = match api.replace_status(&key.name, &PostParams::default(), &written).await {
        Ok(answer) => answer,
        Err(kube::Error::Api(status)) if status.is_conflict() => return Ok(Told { revisit: soon(false), ..new }),
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(new),
        Err(source) => return Err(Error::Status(source)),
    };
    if let Some(version) = answer.resource_version().and_then(|version| version.parse().ok()) {
        context.world.wrote(key, version);
    }
    events::publish(&context.events, &context.leadership, resource, &told).await;
    let taken = notify(key, context, news).await?;
    refused.map_or(Ok(Told { revisit: soon(taken), ..new }), Err)
}

/// Tells people who wait for an instance that is not there. Says whether that was taken: not where a request had changed.
///
/// # Errors
/// When it can't be written.
pub async fn tell_without_instance(key: &Key, context: &Context) -> Result<bool, Error> {
    let observed = Observed { children: context.world.children(key), ..Observed::default() };
    notify(key, context, News::of(key, None, &observed, &context.settings.runbooks, Timestamp::now())).await
}

/// What is new of requests.
struct News {
    answers: Vec<Answer>,
    holds: Vec<Hold>,
    again: Option<Duration>,
}

impl News {
    fn of(key: &Key, instance: Option<(&Dhis2InstanceStatus, &Outcome)>, observed: &Observed, runbooks: &str, now: Timestamp) -> Self {
        let restores = status::news(instance.map(|(status, _)| status), observed, runbooks, now);
        let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
        let Answers { news, holds, again } = status::answers(&View { namespace, name, instance, observed, runbooks, now });
        Self { answers: restores.into_iter().map(Answer::from).chain(news).collect(), holds, again }
    }
}

/// Makes, tells and deletes the objects of sets. Says what the API server refused: that is tried again, and keeps the instance's own status
/// from nobody. And whether what was told was taken: not where an object had changed.
async fn mirror(resource: &Dhis2Instance, key: &Key, context: &Context, mirrors: Mirrors) -> Result<(Option<Error>, bool), Error> {
    let kind = Kind::Dhis2Backup.resource();
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), &key.namespace, &kind);
    let (mut answers, mut refused, mut taken) = (mirrors.tell, None, true);
    for Mirror { name, set, status } in mirrors.make {
        if !context.leadership.still_leading() {
            return Ok((None, taken));
        }
        let object = json!({
            "apiVersion": kind.api_version, "kind": kind.kind,
            "metadata": {
                "name": name, "ownerReferences": [resource.controller_owner_ref(&())],
                "labels": { "app.kubernetes.io/instance": key.name, "app.kubernetes.io/managed-by": MANAGER },
            },
            "spec": { "instance": key.name, "set": set },
        });
        let object: DynamicObject = serde_json::from_value(object).map_err(kube::Error::SerdeError).map_err(Error::Status)?;
        let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        if let Some(made) = granted(api.create(&parameters, &object).await, &mut refused)? {
            let (uid, version) = (made.uid().unwrap_or_default(), slot::version(&made));
            answers.push(Answer { kind: Kind::Dhis2Backup, name, uid, version, status, added: false });
        }
    }
    for answer in answers {
        taken &= granted(write(key, context, answer).await, &mut refused)?.unwrap_or(true);
    }
    for Gone { name, uid, version } in mirrors.gone {
        if context.leadership.still_leading() {
            let seen = Preconditions { uid: Some(uid), resource_version: Some(version.to_string()) };
            let parameters = DeleteParams::default().preconditions(seen);
            granted(api.delete(&name, &parameters).await, &mut refused)?;
        }
    }
    Ok((refused, taken))
}

/// None where it was refused. What was made or is gone meanwhile is as it should be.
fn granted<T>(answer: Result<T, kube::Error>, refused: &mut Option<Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() || status.is_not_found() => Ok(None),
        Err(source @ kube::Error::Api(_)) if matches!(&source, kube::Error::Api(status) if (400..429).contains(&status.code)) => {
            refused.get_or_insert(Error::Set(source));
            Ok(None)
        }
        Err(source) => Err(Error::Status(source)),
    }
}

/// Writes it onto the requests that were seen, as they were seen, and none of the same name. Says whether all was taken.
async fn notify(key: &Key, context: &Context, news: News) -> Result<bool, Error> {
    let mut taken = true;
    for answer in news.answers {
        taken &= write(key, context, answer).await.map_err(Error::Status)?;
    }
    for hold in news.holds {
        finalize(key, context, hold).await?;
    }
    Ok(taken)
}

/// Keeps an object until its set is gone, or lets it go.
async fn finalize(key: &Key, context: &Context, Hold { name, uid, held }: Hold) -> Result<(), Error> {
    if !context.leadership.still_leading() {
        return Ok(());
    }
    let kind = Kind::Dhis2Backup.resource();
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), &key.namespace, &kind);
    let finalizers: &[&str] = if held { &[SET_FINALIZER] } else { &[] };
    let patch =
        json!({ "apiVersion": kind.api_version, "kind": kind.kind, "metadata": { "name": name, "uid": uid, "finalizers": finalizers } });
    // What else is on the object is others'.
    let answer = api.patch(&name, &PatchParams::apply(FINALIZING), &Patch::Apply(&patch)).await;
    let answer = match answer {
        Ok(object) if !held && object.finalizers().iter().any(|finalizer| finalizer == SET_FINALIZER) => take_away(&api, &object).await,
        answer => answer,
    };
    match answer {
        // An object that was let go is gone, and its watch tells that.
        Ok(answer) if answer.metadata.deletion_timestamp.is_none() => {
            context.world.put(key, Kind::Dhis2Backup, &name, slot::reduce(Kind::Dhis2Backup, &answer, None));
        }
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {}
        Err(source) => return Err(Error::Set(source)),
    }
    Ok(())
}

/// One that people have set themselves is not the operator's to leave out.
async fn take_away(api: &Api<DynamicObject>, object: &DynamicObject) -> Result<DynamicObject, kube::Error> {
    let others: Vec<&String> = object.finalizers().iter().filter(|finalizer| *finalizer != SET_FINALIZER).collect();
    let patch = json!({ "metadata": { "resourceVersion": object.metadata.resource_version, "finalizers": others } });
    let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    api.patch(&object.name_any(), &parameters, &Patch::Merge(&patch)).await
}

/// Says whether it was taken. What is told of an object of before is not: by an operator that was held up, it would undo what the next
/// one has told since.
async fn write(key: &Key, context: &Context, Answer { kind, name, uid, version, status, added }: Answer) -> Result<bool, kube::Error> {
    if !context.leadership.still_leading() {
        return Ok(true);
    }
    let resource = kind.resource();
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), &key.namespace, &resource);
    let patch = json!({
        "apiVersion": resource.api_version, "kind": resource.kind, "status": status,
        "metadata": { "name": name, "uid": uid, "resourceVersion": version.to_string() },
    });
    let answer = if added {
        let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        api.patch_status(&name, &parameters, &Patch::Merge(&patch)).await
    } else {
        api.patch_status(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&patch)).await
    };
    match answer {
        Ok(answer) => drop(context.world.put(key, kind, &name, slot::reduce(kind, &answer, None))),
        Err(kube::Error::Api(status)) if status.is_conflict() => {
            // What a watch has failed to tell would be a conflict for an hour. A list of that one name, which the operator may ask for anyway.
            for there in api.list(&ListParams::default().fields(&format!("metadata.name={name}"))).await? {
                context.world.put(key, kind, &name, slot::reduce(kind, &there, None));
            }
            return Ok(false);
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        Err(source) => return Err(source),
    }
    Ok(true)
}
