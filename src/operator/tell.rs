//! Telling: the status of a pass is written once, and only when it says something new.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{
    events,
    observe::Observed,
    reconcile::{Context, Error},
    slot,
    status::{self, Answer, Answers, Outcome, View},
    world::Key,
};
use crate::api::{Dhis2Instance, Dhis2InstanceStatus, MANAGER};

/// What telling came to.
pub struct Told {
    /// When to look again.
    pub revisit: Duration,
    /// Was there anything new to tell?
    pub written: bool,
}

/// So soon an instance is looked at again whose status was not taken. Usually the newer resource has asked for that by then.
const REFUSED: Duration = Duration::from_secs(5);

/// Writes the status if it changed, with an event for each transition.
///
/// # Errors
/// When it can't be written.
pub async fn tell(resource: &Dhis2Instance, key: &Key, context: &Context, observed: &Observed, outcome: &Outcome) -> Result<Told, Error> {
    let now = Timestamp::now();
    let told = status::linked(status::status(resource, observed, outcome, now), &context.settings.runbooks);
    let revisit = status::revisit(resource, &told, observed, now);
    let news = News::of(&key.name, Some((&told, outcome)), observed, &context.settings.runbooks, now);
    let revisit = news.again.map_or(revisit, |again| revisit.min(again));
    if resource.status.as_ref() == Some(&told) {
        let written = !news.answers.is_empty();
        notify(key, context, news).await?;
        return Ok(Told { revisit, written });
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
        Err(kube::Error::Api(status)) if status.is_conflict() => return Ok(Told { revisit: revisit.min(REFUSED), ..new }),
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(new),
        Err(source) => return Err(Error::Status(source)),
    };
    if let Some(version) = answer.resource_version().and_then(|version| version.parse().ok()) {
        context.world.wrote(key, version);
    }
    events::publish(&context.events, &context.leadership, resource, &told).await;
    notify(key, context, news).await?;
    Ok(new)
}

/// Tells people who wait for an instance that is not there.
///
/// # Errors
/// When it can't be written.
pub async fn tell_without_instance(key: &Key, context: &Context) -> Result<(), Error> {
    let observed = Observed { children: context.world.children(key), ..Observed::default() };
    notify(key, context, News::of(&key.name, None, &observed, &context.settings.runbooks, Timestamp::now())).await
}

/// What is new of requests.
struct News {
    answers: Vec<Answer>,
    again: Option<Duration>,
}

impl News {
    fn of(name: &str, instance: Option<(&Dhis2InstanceStatus, &Outcome)>, observed: &Observed, runbooks: &str, now: Timestamp) -> Self {
        let restores = status::news(instance.map(|(status, _)| status), observed, runbooks, now);
        let Answers { news, again } = status::answers(&View { name, instance, observed, runbooks, now });
        Self { answers: restores.into_iter().map(Answer::from).chain(news).collect(), again }
    }
}

/// Writes it onto the requests that were seen and none of the same name.
async fn notify(key: &Key, context: &Context, news: News) -> Result<(), Error> {
    for Answer { kind, name, uid, status, added } in news.answers {
        if !context.leadership.still_leading() {
            return Ok(());
        }
        let resource = kind.resource();
        let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), &key.namespace, &resource);
        let patch = json!({
            "apiVersion": resource.api_version, "kind": resource.kind, "metadata": { "name": name, "uid": uid }, "status": status
        });
        let answer = if added {
            let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
            api.patch_status(&name, &parameters, &Patch::Merge(&patch)).await
        } else {
            api.patch_status(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&patch)).await
        };
        match answer {
            Ok(answer) => drop(context.world.put(key, kind, &name, slot::reduce(kind, &answer, None))),
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {}
            Err(source) => return Err(Error::Status(source)),
        }
    }
    Ok(())
}
