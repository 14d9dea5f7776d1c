//! The difference between what is wanted and what is there, written to the cluster. The only module that
//! writes owned objects; what is already so is not written.

use std::sync::Arc;

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    blocked::Obstacle,
    contest::Contests,
    desired::{Policy, Wanted},
    fields,
    instance::Instance,
    kind::Kind,
    leader::Leadership,
    observe::{Observed, Secrets},
    ownership::{self, Ownership},
    restart::{Restart, restart},
    secrets,
    slot::{self, Slot},
    status::Superseded,
    watch,
    world::{Key, World},
};
use crate::api::{MANAGER, status::Made};

/// A write or the read before it failed.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub enum Error {
    /// The API server refused or could not be reached.
    #[error("{verb} {} {name}", kind.name())]
    Api {
        /// What was tried.
        verb: &'static str,
        /// Kind of the object.
        kind: Kind,
        /// Name of the object.
        name: String,
        /// What the client says.
        source: kube::Error,
    },
    /// An object of this name belongs to somebody else.
    #[error("{} {} exists and is not this instance's", .0.kind.name(), .0.name)]
    Conflict(Obstacle),
    /// No random bytes.
    #[error("generate a password")]
    Random(#[source] getrandom::Error),
    /// Leadership was lost: another replica writes now.
    #[error("not the leader any more")]
    Fenced,
}

impl Error {
    /// Does it usually pass by itself: a conflict, a server that is busy or away?
    pub fn passes(&self) -> bool {
        match self {
            Self::Api { source: kube::Error::Api(status), .. } => matches!(status.code, 404 | 409 | 429 | 500..),
            Self::Api { source: kube::Error::SerdeError(_), .. } | Self::Conflict(_) => false,
            Self::Api { .. } | Self::Random(_) | Self::Fenced => true,
        }
    }
}

/// What became of a pass.
#[derive(Debug, Default)]
pub struct Applied {
    /// Claims and Secrets that are the instance's, to be recorded.
    pub made: Vec<(Kind, Made)>,
    /// Objects that were created, changed or deleted.
    pub written: usize,
    /// What went wrong.
    pub errors: Vec<Error>,
}

/// What writing needs.
pub struct Writer<'a> {
    /// The client.
    pub client: &'a Client,
    /// Slots, which learn from the answers.
    pub world: &'a World,
    /// Answers about Secrets.
    pub secrets: &'a Secrets,
    /// Objects that others keep changing.
    pub contests: &'a Contests,
    /// May we write?
    pub leadership: &'a Leadership,
    /// Whose objects.
    pub key: &'a Key,
    /// The instance.
    pub instance: &'a Instance,
    /// What was seen before.
    pub observed: &'a Observed,
}

/// Requests of one instance under way at a time.
const CONCURRENCY: usize = 8;

/// So often a change is applied that its controller answers with a status meanwhile.
const ANEW: u32 = 5;

/// Brings the cluster to what is wanted: configuration, volumes and addresses first, then what runs on
/// them, then what is no longer wanted.
pub async fn apply(writer: &Writer<'_>, wanted: &[Wanted]) -> Applied {
    let mut applied = Applied::default();
    let (runs, rests): (Vec<_>, Vec<_>) =
        wanted.iter().partition(|wish| matches!(wish.kind, Kind::StatefulSet | Kind::Job | Kind::CronJob | Kind::Ingress));
    for group in [rests, runs] {
        let mut requests: Vec<BoxFuture<'_, _>> = Vec::with_capacity(group.len());
        for wish in group {
            requests.push(writer.bring(wish).boxed());
        }
        let results = stream::iter(requests).buffered(CONCURRENCY).collect::<Vec<_>>().await;
        for result in results {
            applied.take(result);
        }
        if !applied.errors.is_empty() {
            return applied;
        }
    }
    for (kind, name, uid) in ownership::superfluous(writer.instance, writer.observed, wanted) {
        let result = writer.delete(kind, &name, &uid).await;
        applied.take(result.map(|()| Brought { written: true, made: None }));
    }
    applied
}

/// Would a pass write anything? Pure.
pub fn has_work(instance: &Instance, observed: &Observed, wanted: &[Wanted]) -> bool {
    let as_wanted = |wish: &Wanted| match wish.policy {
        Policy::Generate(_) => observed.secrets.get(&wish.name).is_some_and(|seen| secrets::has_its_owner(seen, wish)),
        _ => observed.slot(wish.kind, &wish.name).is_some_and(|slot| slot.satisfied.as_deref() == Some(&wish.digest())),
    };
    !wanted.iter().all(as_wanted)
        || !ownership::superfluous(instance, observed, wanted).is_empty()
        || matches!(restart(instance, observed, wanted), Restart::Next(_))
}

/// What became of one object.
pub(super) struct Brought {
    pub(super) written: bool,
    pub(super) made: Option<(Kind, Made)>,
}

impl Brought {
    const NOTHING: Self = Self { written: false, made: None };
}

impl Applied {
    fn take(&mut self, result: Result<Brought, Error>) {
        match result {
            Ok(brought) => {
                self.written += usize::from(brought.written);
                self.made.extend(brought.made);
            }
            Err(error) => self.errors.push(error),
        }
    }
}

impl Writer<'_> {
    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.key.namespace, &kind.resource())
    }

    fn guard(&self) -> Result<(), Error> {
        if self.leadership.still_leading() { Ok(()) } else { Err(Error::Fenced) }
    }

    async fn bring(&self, wish: &Wanted) -> Result<Brought, Error> {
        if let Policy::Generate(values) = &wish.policy {
            return self.generate(wish, values).await;
        }
        let held_back = self.contests.holds_back(self.key, wish, Instant::now());
        let Some(slot) = self.observed.slot(wish.kind, &wish.name) else {
            return if held_back { Ok(Brought::NOTHING) } else { self.create(wish, wish.stamped()).await };
        };
        let made = || recorded(wish.kind, &wish.name, &slot.uid);
        match ownership::of(slot, wish, self.instance) {
            Ownership::Ours => {}
            Ownership::Retained if self.instance.adopt => {}
            other => return Err(conflict(wish, other, slot)),
        }
        if slot.deleting {
            return Ok(Brought::NOTHING);
        }
        if slot.satisfied.as_deref() == Some(&wish.digest()) {
            return Ok(Brought { written: false, made: made() });
        }
        if held_back {
            return Ok(Brought { written: false, made: made() });
        }
        if wish.policy == Policy::Step {
            self.delete(wish.kind, &wish.name, &slot.uid).await?;
            self.wrote(wish, None);
            return Ok(Brought { written: true, made: None });
        }
        self.change(wish).await.map(|written| Brought { written, made: made() })
    }

    /// A POST: it fails where something is already there, so nothing of others is ever overwritten.
    async fn create(&self, wish: &Wanted, object: Value) -> Result<Brought, Error> {
        self.guard()?;
        let object: DynamicObject =
            serde_json::from_value(object).map_err(|source| failed("build", wish, kube::Error::SerdeError(source)))?;
        let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        match self.api(wish.kind).create(&parameters, &object).await {
            Ok(created) => {
                self.wrote(wish, None);
                Ok(self.learn(wish, &created, true))
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => self.meet(wish).await,
            Err(source) => Err(failed("create", wish, source)),
        }
    }

    /// Something of this name exists that the watch has not told yet: ours from before a crash, left by a
    /// deleted instance, or somebody else's.
    async fn meet(&self, wish: &Wanted) -> Result<Brought, Error> {
        let there = self.get(wish).await?;
        let slot = slot::reduce(wish.kind, &there, None);
        match ownership::of(&slot, wish, self.instance) {
            Ownership::Ours => {}
            Ownership::Retained if self.instance.adopt => {}
            other => {
                // What a deleted instance of the same name leaves to be collected is in the way for a moment: that it is gone asks for a
                // pass once it is known. The watch tells that of what bears our label only.
                let error = conflict(wish, other, &slot);
                if watch::tells_of(&there, self.key) {
                    self.world.put(self.key, wish.kind, &wish.name, slot);
                }
                return Err(error);
            }
        }
        let brought = self.learn(wish, &there, false);
        if wish.is_satisfied_by(&there) || slot.deleting {
            return Ok(brought);
        }
        // Nobody else asks for a pass: without its label the watch does not see the object.
        match wish.policy {
            Policy::Step => self.delete(wish.kind, &wish.name, &slot.uid).await.map(|()| Brought { written: true, ..brought }),
            _ => self.change(wish).await.map(|written| Brought { written, ..brought }),
        }
    }

    /// Reads the object and, unless it is as wanted, applies to it.
    async fn change(&self, wish: &Wanted) -> Result<bool, Error> {
        let there = self.get(wish).await.inspect_err(|error| self.unlearn(wish, error))?;
        if wish.is_satisfied_by(&there) {
            self.learn(wish, &there, false);
            return Ok(false);
        }
        let object = wish.stamped();
        let mut at = there.metadata.resource_version.clone();
        if fields::would_stay(&there, &object) {
            at = self.take_over_fields(wish, &there).await?;
        }
        let changed = match self.apply_at(wish, &object, &there, at.as_deref()).await {
            Err(Error::Api { source: kube::Error::Api(status), .. }) if status.is_invalid() => {
                if !self.clear_spec(wish, &there, at.as_deref()).await {
                    return Err(failed("apply", wish, kube::Error::Api(status)));
                }
                self.apply_anew(wish, &object, &there).await?
            }
            answer => answer?,
        };
        self.wrote(wish, slot::changed_by(&there));
        self.learn(wish, &changed, true);
        Ok(true)
    }

    /// Applies to the object as it was seen. An object of another uid is a conflict, never an object made anew; and so is one of another
    /// version: a request can lie where it was sent from, and arrive after the next leader's.
    async fn apply_at(&self, wish: &Wanted, object: &Value, there: &DynamicObject, at: Option<&str>) -> Result<DynamicObject, Error> {
        // Asked again: whoever was stopped at the request before may go on long after.
        self.guard()?;
        let mut object = object.clone();
        if let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            metadata.insert("uid".into(), json!(there.metadata.uid));
            metadata.insert("resourceVersion".into(), json!(at));
        }
        let answer = self.api(wish.kind).patch(&wish.name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&object)).await;
        answer.map_err(|source| failed("apply", wish, source))
    }

    /// What others put beside our fields can make an object that can't be, as `rollingUpdate` beside `OnDelete` does: then the spec
    /// becomes what we want and nothing else. Says whether that helped; what refused the first try is told otherwise.
    async fn clear_spec(&self, wish: &Wanted, there: &DynamicObject, at: Option<&str>) -> bool {
        let (Some(theirs), Some(ours)) = (there.data.get("spec"), wish.object.get("spec")) else { return false };
        let patch = json!({ "metadata": { "uid": there.metadata.uid, "resourceVersion": at }, "spec": turned(theirs, ours) });
        let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        let may = wish.policy == Policy::Keep && self.guard().is_ok();
        may && self.api(wish.kind).patch(&wish.name, &parameters, &Patch::Merge(&patch)).await.is_ok()
    }

    /// Applies once more to what was just changed. Its controller answers the change with a status at once, which is another version; and
    /// the next pass would not apply to it any more, since it is as wanted but for whose its fields are.
    async fn apply_anew(&self, wish: &Wanted, object: &Value, there: &DynamicObject) -> Result<DynamicObject, Error> {
        let mut tries = 0;
        loop {
            let at = self.get(wish).await?.metadata.resource_version;
            tries += 1;
            match self.apply_at(wish, object, there, at.as_deref()).await {
                Err(Error::Api { source: kube::Error::Api(status), .. }) if status.is_conflict() && tries < ANEW => {}
                answer => return answer,
            }
        }
    }

    /// Turns the ownership that creating gave us into that of an apply, so that fields which are no longer
    /// wanted go with the next one. Returns the version that this made.
    async fn take_over_fields(&self, wish: &Wanted, there: &DynamicObject) -> Result<Option<String>, Error> {
        self.guard()?;
        let metadata = json!({ "metadata": {
            "resourceVersion": there.metadata.resource_version, "uid": there.metadata.uid, "managedFields": fields::taken_over(there)
        } });
        let answer = self
            .api(wish.kind)
            .patch_metadata(
                &wish.name,
                &PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() },
                &Patch::Merge(&metadata),
            )
            .await;
        answer.map(|taken| taken.metadata.resource_version).map_err(|source| failed("take over the fields of", wish, source))
    }

    async fn get(&self, wish: &Wanted) -> Result<DynamicObject, Error> {
        self.api(wish.kind).get(&wish.name).await.map_err(|source| failed("get", wish, source))
    }

    /// Deletes an object, if it is still the one that was seen.
    pub async fn delete(&self, kind: Kind, name: &str, uid: &str) -> Result<(), Error> {
        self.delete_if(kind, name, Preconditions { uid: Some(uid.to_owned()), resource_version: None }).await
    }

    /// Deletes a claim, if it is still as it was seen: a list of the past may show one as replaced that is served from by now.
    pub async fn delete_unchanged(&self, claim: &Superseded) -> Result<(), Error> {
        let preconditions = Preconditions { uid: Some(claim.uid.clone()), resource_version: Some(claim.version.to_string()) };
        self.delete_if(Kind::PersistentVolumeClaim, &claim.name, preconditions).await
    }

    async fn delete_if(&self, kind: Kind, name: &str, preconditions: Preconditions) -> Result<(), Error> {
        self.guard()?;
        let parameters = DeleteParams {
            preconditions: Some(preconditions),
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        match self.api(kind).delete(name, &parameters).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(source) => Err(Error::Api { verb: "delete", kind, name: name.to_owned(), source }),
        }
    }

    /// Forgets an object that is gone, though no watch told it: the next pass sees that it is missing.
    fn unlearn(&self, wish: &Wanted, error: &Error) {
        let gone = matches!(error, Error::Api { source: kube::Error::Api(status), .. } if status.is_not_found());
        if let Some(slot) = self.observed.slot(wish.kind, &wish.name).filter(|_| gone) {
            self.world.remove(self.key, wish.kind, &wish.name, &slot.uid);
        }
    }

    fn wrote(&self, wish: &Wanted, undoing: Option<String>) {
        self.contests.wrote(self.key, wish, undoing, Instant::now());
    }

    /// Takes in the API server's answer, so that the next pass knows it before the watch tells.
    fn learn(&self, wish: &Wanted, object: &DynamicObject, written: bool) -> Brought {
        let satisfied: Option<Arc<str>> = wish.is_satisfied_by(object).then(|| wish.digest().into());
        let slot: Slot = slot::reduce(wish.kind, object, satisfied.clone());
        let (uid, version) = (slot.uid.clone(), slot.version);
        let known = !self.world.put(self.key, wish.kind, &wish.name, slot);
        if let Some(digest) = satisfied.filter(|_| known) {
            self.world.satisfied(self.key, wish.kind, &wish.name, (&uid, version), &digest);
        }
        Brought { written, made: recorded(wish.kind, &wish.name, &uid) }
    }

    pub(super) fn may_write(&self) -> Result<(), Error> {
        self.guard()
    }
}

/// What is in the way, where nothing else went wrong: whatever else did has to be tried again as a whole.
pub fn obstacle(errors: &[Error]) -> Option<&Obstacle> {
    let mut obstacles = errors.iter().map(|error| match error {
        Error::Conflict(obstacle) => Some(obstacle),
        _ => None,
    });
    let first = obstacles.next()??;
    obstacles.all(|other| other.is_some()).then_some(first)
}

fn recorded(kind: Kind, name: &str, uid: &str) -> Option<(Kind, Made)> {
    (kind == Kind::PersistentVolumeClaim).then(|| (kind, Made { name: name.to_owned(), uid: uid.to_owned() }))
}

pub(super) fn failed(verb: &'static str, wish: &Wanted, source: kube::Error) -> Error {
    Error::Api { verb, kind: wish.kind, name: wish.name.clone(), source }
}

pub(super) fn conflict(wish: &Wanted, ownership: Ownership, there: &Slot) -> Error {
    let retained = ownership == Ownership::Retained;
    Error::Conflict(Obstacle { kind: wish.kind, name: wish.name.clone(), uid: there.uid.clone(), version: there.version, retained })
}

/// The merge patch (RFC 7386) that turns one value into another.
fn turned(theirs: &Value, ours: &Value) -> Value {
    let (Value::Object(theirs), Value::Object(ours)) = (theirs, ours) else { return ours.clone() };
    let gone = theirs.keys().filter(|key| !ours.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let kept = ours.iter().map(|(key, value)| (key.clone(), theirs.get(key).map_or_else(|| value.clone(), |there| turned(there, value))));
    gone.chain(kept).collect()
}

#[cfg(test)]
mod tests;
