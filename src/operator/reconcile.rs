//! One pass over one instance: observe → parse → desired → apply → status.

use std::{sync::Arc, time::Duration};

use kube::{
    Client, ResourceExt,
    runtime::{controller::Action, events::Reporter},
};
use serde_json::json;
use tokio::time::Instant;

use super::{
    apply::{self, Applied, Writer},
    arrived::Arrived,
    blocked::Blocked,
    contest::Contests,
    desired::desired,
    events::Events,
    fleet::Fleet,
    kind::Kind,
    leader::Leadership,
    metrics::Metrics,
    observe::{self, Observed, Secrets, Standing},
    others,
    parse::parse,
    patience::Patience,
    restart::{Restart, restart},
    settings::Settings,
    settled::{Picture, Settled},
    status::{self, Outcome, Superseded},
    tell::{REFUSED, Told, tell, tell_without_instance},
    watch::Heard,
    world::{Key, World},
};
use crate::api::{Dhis2Instance, PAUSED};

/// A pass that has to be tried again.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub enum Error {
    /// The cluster could not be looked at.
    #[error("observe")]
    Observe(#[from] observe::Error),
    /// Whether somebody else's object is still in the way could not be asked.
    #[error("look for what is in the way")]
    Obstacle(#[source] kube::Error),
    /// Whether the resource is still there could not be asked.
    #[error("look for the resource")]
    Resource(#[source] kube::Error),
    /// It has changed, which the watch has not told yet.
    #[error("wait for the watch: the resource has changed since it told")]
    Behind,
    /// Something could not be written; it was told in the status.
    #[error("apply")]
    Apply(#[from] apply::Error),
    /// The status could not be written.
    #[error("write the status")]
    Status(#[source] kube::Error),
    /// The object of a backup set could not be made, kept or deleted.
    #[error("make, keep or delete the Dhis2Backup of a set")]
    Set(#[source] kube::Error),
    /// A request took too long.
    #[error("the API server did not answer within {} s", PASS_TIMEOUT.as_secs())]
    Timeout,
}

/// Longest time of one pass: the client itself would wait for an answer for ever.
const PASS_TIMEOUT: Duration = Duration::from_mins(1);
/// Failures in a row, half a minute with their waits, after which even what usually passes needs a person.
const ENOUGH: u32 = 5;
/// At the latest an instance is visited again after this time: Secrets are not watched.
const VISIT: Duration = Duration::from_hours(24);

/// What all passes share.
pub struct Context {
    /// The client.
    pub client: Client,
    /// Slots of all instances.
    pub world: Arc<World>,
    /// Answers about Secrets.
    pub secrets: Secrets,
    /// All resources.
    pub fleet: Arc<Fleet>,
    /// Objects that others keep changing.
    pub contests: Contests,
    /// Instances over which the last pass found nothing to do.
    pub settled: Settled,
    /// Settings of the operator.
    pub settings: Settings,
    /// May we write?
    pub leadership: Leadership,
    /// Events on the resources.
    pub events: Events,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Passes in a row that failed.
    pub patience: Patience,
    /// Instances in whose way somebody else's object is.
    pub blocked: Blocked,
}

impl Context {
    /// With nothing known yet. Events come from `reporter`.
    pub fn new(
        client: Client,
        fleet: Arc<Fleet>,
        settings: Settings,
        leadership: Leadership,
        metrics: Arc<Metrics>,
        reporter: Reporter,
    ) -> Self {
        Self {
            events: Events::new(client.clone(), reporter),
            client,
            world: Arc::default(),
            secrets: Secrets::default(),
            fleet,
            contests: Contests::default(),
            settled: Settled::default(),
            settings,
            leadership,
            metrics,
            patience: Patience::default(),
            blocked: Blocked::default(),
        }
    }

    /// Forgets an instance that is gone: one of the same name that comes later begins anew.
    fn forget(&self, key: &Key) {
        self.world.forget(key);
        self.secrets.forget(key);
        self.contests.forget(key);
        self.settled.forget(key);
        self.patience.forget(key);
        self.blocked.forget(key);
    }

    /// Takes in what the watch of the resources tells.
    pub fn hear(&self, heard: Heard<'_>) {
        match heard {
            Heard::Found(key) => self.world.doubt(key),
            Heard::Is(key) => self.fleet.changed(key),
            Heard::Gone(key) => {
                self.forget(key);
                self.fleet.changed(key);
            }
            Heard::Listed => self.fleet.listed(),
        }
    }
}

/// Reconciles one instance.
///
/// # Errors
/// When the pass has to be tried again; what went wrong was told in the status as far as that was possible.
pub async fn reconcile(resource: Arc<Arrived>, context: Arc<Context>) -> Result<Action, Error> {
    context.metrics.backlog.begun(&Key { namespace: resource.namespace().unwrap_or_default(), name: resource.name_any() });
    let resource = match &resource.0 {
        Ok(resource) => resource,
        Err(error) => {
            tracing::warn!(%error, "a Dhis2Instance of another version of the API is left alone");
            return Ok(Action::await_change());
        }
    };
    let began = std::time::Instant::now();
    let result = match tokio::time::timeout(PASS_TIMEOUT, pass(resource, &context)).await {
        Ok(result) => result,
        Err(_) => Err(Error::Timeout),
    };
    context.metrics.pass(result.as_ref().map_or_else(Into::into, |_| "ok"), began.elapsed());
    if result.is_ok() {
        context.patience.forget(&key_of(resource));
        context.blocked.forget(&key_of(resource));
    }
    result
}

/// The daily visit of an instance, spread by its uid: a fleet is not visited all at once after a start.
fn visit(resource: &Dhis2Instance) -> Duration {
    let digest = super::compare::digest(&json!(resource.metadata.uid));
    let early = u64::from_str_radix(&digest, 16).unwrap_or_default() % (VISIT.as_secs() / 4);
    Duration::from_secs(VISIT.as_secs() - early)
}

/// Namespace and name of a resource.
pub fn key_of(resource: &Dhis2Instance) -> Key {
    Key { namespace: resource.namespace().unwrap_or_default(), name: resource.name_any() }
}

/// Who writes `yes` means hands off, too: only a plain no is none.
fn is_paused(resource: &Dhis2Instance) -> bool {
    resource.annotations().get(PAUSED).is_some_and(|paused| paused != "false")
}

async fn pass(resource: &Dhis2Instance, context: &Context) -> Result<Action, Error> {
    let key = key_of(resource);
    let version = resource.resource_version().and_then(|version| version.parse().ok()).unwrap_or(0);
    if context.world.is_stale(&key, version) || !context.leadership.still_leading() {
        return Ok(Action::await_change());
    }
    if resource.metadata.deletion_timestamp.is_some() {
        // It may wait itself for objects that wait for it.
        let taken = tell_without_instance(&key, context).await?;
        return Ok(if taken { Action::await_change() } else { Action::requeue(REFUSED) });
    }
    let taken = context.fleet.taken(resource);
    if is_paused(resource) {
        let told = tell(resource, &key, context, &Observed { taken, ..watched(resource, &key, context) }, &Outcome::Paused).await?;
        return Ok(Action::requeue(told.revisit));
    }
    let seen = Observed { taken: taken.clone(), ..watched(resource, &key, context) };
    if let Some(obstacle) = context.blocked.by(&key, resource.metadata.resource_version.as_deref(), &seen)
        && obstacle.stands(&context.client, &key.namespace).await.map_err(Error::Obstacle)?
    {
        return Err(apply::Error::Conflict(obstacle).into());
    }
    let others = seen.others.clone();
    let observed = match observe::observe(&context.client, &context.world, &context.secrets, others, &key, resource).await {
        Ok(observed) => observed,
        Err(error) => {
            if let Some(refusal) = status::unseen(&error) {
                tell(resource, &key, context, &Observed { taken, ..watched(resource, &key, context) }, &Outcome::Refused(refusal)).await?;
            }
            return Err(error.into());
        }
    };
    let Some(acted) = act(resource, &key, context, Observed { taken: taken.clone(), ..observed }).await? else {
        return Ok(Action::await_change());
    };
    let Acted { outcome, now, errors, idle } = acted;
    let Told { revisit, written } = tell(resource, &key, context, &now, &outcome).await?;
    if let Some(picture) = idle.filter(|_| !written) {
        context.settled.found(&key, picture);
    }
    if let Some(obstacle) = apply::obstacle(&errors) {
        // As it was before the pass: what has changed since was not acted upon.
        context.blocked.found(&key, resource.resource_version(), seen, obstacle.clone());
    }
    match errors.into_iter().next() {
        Some(error) => Err(error.into()),
        None => Ok(Action::requeue(outcome.again().unwrap_or(revisit).min(revisit).min(visit(resource)))),
    }
}

/// What became of a pass.
struct Acted {
    /// What is to be told.
    outcome: Outcome,
    /// What is there now.
    now: Observed,
    errors: Vec<apply::Error>,
    /// What it looked at, if it found nothing to do.
    idle: Option<Picture>,
}

/// What the watches alone tell.
fn watched(resource: &Dhis2Instance, key: &Key, context: &Context) -> Observed {
    let children = context.world.children(key);
    let others = others::named(resource, &children, |other| context.fleet.repository_of(&key.namespace, other));
    Observed { instance: resource.uid().unwrap_or_default(), children, others, ..Observed::default() }
}

/// Is the resource still there? It is asked for when something made that doubtful, and then only before something is written.
async fn is_there(resource: &Dhis2Instance, key: &Key, context: &Context, doubts: u64) -> Result<bool, Error> {
    match observe::standing(&context.client, key, resource).await.map_err(Error::Resource)? {
        Standing::Same => context.world.resolved(key, doubts),
        Standing::Changed => return Err(Error::Behind),
        Standing::Gone => return Ok(false),
    }
    Ok(true)
}

/// Parses and applies; nothing, when the resource is gone.
async fn act(resource: &Dhis2Instance, key: &Key, context: &Context, observed: Observed) -> Result<Option<Acted>, Error> {
    let nothing = |outcome, observed| Ok(Some(Acted { outcome, now: observed, errors: Vec::new(), idle: None }));
    let instance = match parse(resource, &observed, &context.settings) {
        Ok(instance) => instance,
        Err(refusal) => return nothing(Outcome::Refused(refusal), observed),
    };
    let picture = Picture::of(&instance, resource.status.as_ref(), &observed);
    if context.settled.is(key, &picture) {
        let instance = Box::new(instance);
        let outcome = Outcome::Applied { instance, made: Vec::new(), restart: Restart::Settled, contested: Vec::new(), quiet: true };
        return nothing(outcome, observed);
    }
    let wanted = desired(&instance);
    let superseded = resource.status.as_ref().map(|recorded| status::superseded(recorded, resource, &observed)).unwrap_or_default();
    if let Some(doubts) = context.world.doubts(key)
        && (!superseded.is_empty() || apply::has_work(&instance, &observed, &wanted))
        && !is_there(resource, key, context, doubts).await?
    {
        return Ok(None);
    }
    let writer = Writer {
        client: &context.client,
        world: &context.world,
        secrets: &context.secrets,
        contests: &context.contests,
        leadership: &context.leadership,
        key,
        instance: &instance,
        observed: &observed,
    };
    let mut applied = apply::apply(&writer, &wanted).await;
    let now = Observed { children: context.world.children(key), ..observed.clone() };
    let next = restart(&instance, &now, &wanted);
    if let Restart::Next(pod) = &next
        && applied.errors.is_empty()
        && let Err(error) = writer.delete(Kind::Pod, &pod.name, &pod.uid).await
    {
        applied.errors.push(error);
    }
    if applied.errors.is_empty() {
        discard(&superseded, &writer, &mut applied).await;
    }
    let Applied { made, errors, written } = applied;
    let contested = context.contests.of(key, Instant::now());
    let idle = written == 0 && errors.is_empty() && next == Restart::Settled && contested.is_empty() && now == observed;
    let instance = Box::new(instance);
    let outcome = match errors.iter().find(|error| !error.passes()).or(errors.first()) {
        None => Outcome::Applied { instance, made, restart: next, contested, quiet: idle },
        Some(error) if error.passes() && context.patience.failures(key) < ENOUGH => Outcome::Interrupted { instance, made },
        Some(error) => match status::told(error) {
            Some(refusal) => Outcome::Failed { instance, made, refusal },
            None => Outcome::Interrupted { instance, made },
        },
    };
    Ok(Some(Acted { outcome, now, errors, idle: idle.then_some(picture) }))
}

/// Deletes the volumes that the status says are not needed any more.
async fn discard(superseded: &[Superseded], writer: &Writer<'_>, applied: &mut Applied) {
    for claim in superseded {
        match writer.delete_unchanged(claim).await {
            Ok(()) => applied.written += 1,
            Err(error) => applied.errors.push(error),
        }
    }
}

/// When a failing instance is tried again.
#[allow(clippy::needless_pass_by_value, reason = "the signature is that of the controller")]
pub fn error_policy(resource: Arc<Arrived>, error: &Error, context: Arc<Context>) -> Action {
    let Ok(resource) = &resource.0 else { return Action::await_change() };
    let key = key_of(resource);
    let wait = context.patience.failed(&key);
    tracing::warn!(
        namespace = key.namespace,
        name = key.name,
        error = super::telemetry::chain(error),
        again_in_s = wait.as_secs_f32(),
        "reconcile"
    );
    Action::requeue(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_word_but_a_no_pauses() {
        let mut resource = Dhis2Instance::new(
            "play",
            serde_json::from_value(json!({ "version": "2.42.4", "web": { "host": "play.example.org" } })).unwrap(),
        );
        assert!(!is_paused(&resource));
        for (word, paused) in [("true", true), ("yes", true), ("", true), ("True", true), ("false", false)] {
            resource.metadata.annotations = Some([(PAUSED.to_owned(), word.to_owned())].into());
            assert_eq!(is_paused(&resource), paused, "{word}");
        }
    }
}
