//! Telling: the status of a pass is written once, and only when it says something new.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt, api::PostParams};

use super::{
    events,
    observe::Observed,
    reconcile::{Context, Error},
    status::{self, Outcome},
    world::Key,
};
use crate::api::Dhis2Instance;

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
    let revisit = status::revisit(&told, observed, now);
    if resource.status.as_ref() == Some(&told) {
        return Ok(Told { revisit, written: false });
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
    Ok(new)
}
