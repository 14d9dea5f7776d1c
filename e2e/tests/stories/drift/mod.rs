//! Drift: whatever somebody changes or deletes of an instance is as before in seconds, what others add stays, and a rival that
//! never gives up is told and not raced.

mod fields;
mod rival;

use std::time::{Duration, Instant};

use dhis2_e2e::cluster::run;
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, objects, wait};
use dhis2_operator::api::MANAGER;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, PostParams};
use kube::{Api, ResourceExt};
use rival::Rival;
use serde_json::{Value, json};

/// From the edit until everything is as before.
const MENDED: Duration = Duration::from_secs(5);
/// Objects that are edited at a time.
const TOGETHER: usize = 6;
/// Edited by themselves: whose an object is, is told twice, and without either mark it is nobody's; a server whose template and
/// strategy change in one write is restarted before anybody can mend it.
const ALONE: [&str; 3] = ["/spec/updateStrategy/type", "/metadata/ownerReferences", "/metadata/annotations/dhis2.hosting~1instance"];
/// A volume that somebody grew stays as it is: nothing shrinks it.
const GROWTH: &str = "/spec/resources/requests/storage";
/// The object over which two fight.
const CONTESTED: &str = "Service play-pods";

#[test]
fn drift() {
    crate::tell("drift", |story| async move {
        Operator::install(&story).await?;
        let instance = story.instance("play");
        instance.apply(&story.small_manifest("play", &json!({}))).await?;
        instance.settled().await?;
        instance.until("BackupHealthy").await?;
        let children = Children { story: &story, pods: Api::namespaced(story.client.clone(), &story.namespace) };
        let servers = children.servers().await?;
        let objects = children.all().await?;
        let contested = objects.iter().find(|object| objects::name(object) == CONTESTED).ok_or("nothing to fight over")?;
        let others: Vec<&DynamicObject> = objects.iter().filter(|object| objects::name(object) != CONTESTED).collect();
        let rival = Rival::begin(children.api(contested)?, &contested.name_any());
        tokio::try_join!(rival.told_and_not_raced(&story, &instance), children.edit_each(&others))?;
        assert_eq!(children.servers().await?, servers, "a server restarted for what somebody edited");
        children.delete_each(&objects).await?;
        instance.settled().await?;
        Ok(())
    });
}

/// What somebody does to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit {
    /// Another value in every field.
    Change,
    /// Every field away.
    Remove,
    /// One field away that is edited by itself.
    Alone,
}

struct Children<'a> {
    story: &'a Story,
    pods: Api<Pod>,
}

impl Children<'_> {
    fn api(&self, object: &DynamicObject) -> Outcome<Api<DynamicObject>> {
        let kind = GroupVersionKind::try_from(object.types.as_ref().ok_or("an object without a type")?)?;
        Ok(Api::namespaced_with(self.story.client.clone(), &self.story.namespace, &ApiResource::from_gvk(&kind)))
    }

    /// All of them; Secrets are not watched, so nobody promises anything about them.
    async fn all(&self) -> Outcome<Vec<DynamicObject>> {
        let all = objects::list(self.story, &self.story.namespace).await?;
        // A backup's Job is the CronJob's.
        Ok(all.into_iter().filter(|object| !["Secret ", "Job "].iter().any(|kind| objects::name(object).starts_with(kind))).collect())
    }

    async fn servers(&self) -> Outcome<[Option<String>; 2]> {
        Ok([self.pods.get("play-0").await?.metadata.uid, self.pods.get("play-database-0").await?.metadata.uid])
    }

    async fn edit_each(&self, objects: &[&DynamicObject]) -> Outcome {
        // What the first repair does not set is nobody's from then on.
        for edit in [Edit::Alone, Edit::Change, Edit::Remove] {
            self.edit(objects, edit).await?;
        }
        self.what_others_add_stays(objects).await
    }

    /// Edits all of them, each in one write, and waits for each to be as before.
    async fn edit(&self, objects: &[&DynamicObject], edit: Edit) -> Outcome {
        let edits = stream::iter(objects).map(|object| async move {
            let told = self.edit_one(object, edit).await.map_err(|error| format!("{edit:?} {}: {error}", objects::name(object)))?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(told)
        });
        let told: Vec<Edited> = edits.buffer_unordered(TOGETHER).try_collect().await?;
        let (edited, refused): (usize, usize) = (told.iter().map(|told| told.fields).sum(), told.iter().map(|told| told.refused).sum());
        let slowest = told.iter().map(|told| told.mended).max().unwrap_or_default();
        self.story.tell(&format!(
            "{edit:?}: {edited} fields of {} objects as before in {:.2} s at most; {refused} the API server takes from nobody",
            told.iter().filter(|told| told.fields > 0).count(),
            slowest.as_secs_f32()
        ));
        assert!(edited >= objects.len(), "hardly anything was edited");
        Ok(())
    }

    async fn edit_one(&self, object: &DynamicObject, edit: Edit) -> Outcome<Edited> {
        let (api, name) = (self.api(object)?, object.name_any());
        let before = api.get(&name).await?;
        let mut told = Edited::default();
        let mut edited = bare(&before);
        for pointer in fields::owned(&before, MANAGER) {
            let is_alone = ALONE.iter().any(|alone| pointer.starts_with(alone));
            if is_alone || pointer == GROWTH || edit == Edit::Alone {
                continue;
            }
            let Some(value) = edited.pointer(&pointer) else { continue };
            let others = if edit == Edit::Change { fields::others(value).into_iter().map(Some).collect() } else { vec![None] };
            if others.is_empty() {
                continue;
            }
            let mut refused = true;
            for other in others {
                let tried = fields::with(&edited, &pointer, other);
                if write(&api, &name, &tried, true).await?.is_some_and(|answer| bare(&answer) != edited) {
                    edited = tried;
                    refused = false;
                    break;
                }
            }
            told.fields += usize::from(!refused);
            told.refused += usize::from(refused);
        }
        if edit == Edit::Alone {
            let there = ALONE.iter().find(|alone| edited.pointer(alone).is_some()).ok_or("it says nowhere whose it is")?;
            edited = fields::with(&edited, there, None);
            told.fields += 1;
        }
        let begun = Instant::now();
        write(&api, &name, &edited, false).await?.ok_or("what was taken on trial is refused")?;
        // By then it may be mended already.
        wait::until(&api, &name, "everything to be as before", MENDED, |now| untyped(bare(now)) == untyped(bare(&before)))
            .await
            .inspect_err(|_| {
                self.story.tell(&format!("{} before: {}, edited: {edited}", objects::name(object), bare(&before)));
            })?;
        told.mended = begun.elapsed();
        Ok(told)
    }

    /// Somebody adds what is not the operator's, and changes something that is: only the latter is mended.
    async fn what_others_add_stays(&self, objects: &[&DynamicObject]) -> Outcome {
        for object in objects {
            let (api, name) = (self.api(object)?, object.name_any());
            let mine = bare(&api.get(&name).await?);
            let mut edited = add(&mine);
            edited["metadata"]["labels"]["app.kubernetes.io/part-of"] = json!("theirs");
            write(&api, &name, &edited, false).await?.ok_or_else(|| format!("{} takes nothing of others", objects::name(object)))?;
            let mended = |now: &DynamicObject| now.labels().get("app.kubernetes.io/part-of").is_some_and(|part| part == "dhis2");
            let now = wait::until(&api, &name, "the label to be as before", MENDED, mended).await?;
            edited["metadata"]["labels"]["app.kubernetes.io/part-of"] = json!("dhis2");
            assert_eq!(untyped(bare(&now)), untyped(edited), "{}: what others added", objects::name(object));
        }
        for set in ["play", "play-database"] {
            let mut rollout = self.story.site.kubectl();
            rollout.args(["-n", &self.story.namespace, "rollout", "restart", &format!("statefulset/{set}")]);
            run::output(&mut rollout)?;
        }
        Ok(())
    }

    /// Deletes one after the other; volumes are another story.
    async fn delete_each(&self, objects: &[DynamicObject]) -> Outcome {
        let mut slowest = Duration::ZERO;
        let deleted: Vec<&DynamicObject> =
            objects.iter().filter(|object| !objects::name(object).starts_with("PersistentVolumeClaim")).collect();
        for object in &deleted {
            let (api, name, begun) = (self.api(object)?, object.name_any(), Instant::now());
            api.delete(&name, &DeleteParams::background()).await?;
            let again = |now: &DynamicObject| now.uid() != object.uid();
            wait::until(&api, &name, &format!("{} to be there again", objects::name(object)), MENDED, again).await?;
            slowest = slowest.max(begun.elapsed());
        }
        self.story.tell(&format!("{} objects deleted, there again in {:.2} s at most", deleted.len(), slowest.as_secs_f32()));
        Ok(())
    }
}

/// How it went with one object.
#[derive(Debug, Default)]
struct Edited {
    fields: usize,
    refused: usize,
    mended: Duration,
}

/// Writes the object as somebody else, or tries to. None when the API server refuses.
async fn write(api: &Api<DynamicObject>, name: &str, object: &Value, try_only: bool) -> Outcome<Option<DynamicObject>> {
    let parameters = PostParams { dry_run: try_only, field_manager: Some("somebody".to_owned()) };
    let Ok(object) = serde_json::from_value(object.clone()) else { return Ok(None) };
    match api.replace(name, &parameters, &object).await {
        Ok(answer) => Ok(Some(answer)),
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The object without what the cluster says about it.
/// Without its type, which a list does not tell of an object.
fn untyped(mut object: Value) -> Value {
    object.as_object_mut().into_iter().for_each(|fields| fields.retain(|field, _| field != "apiVersion" && field != "kind"));
    object
}

fn bare(object: &DynamicObject) -> Value {
    let mut whole = json!(object);
    if let Some(fields) = whole.as_object_mut() {
        fields.remove("status");
    }
    for field in ["managedFields", "resourceVersion", "generation"] {
        if let Some(metadata) = whole["metadata"].as_object_mut() {
            metadata.remove(field);
        }
    }
    whole
}

/// What others add: a label and an annotation, and to a server a sidecar and a field that an autoscaler might set.
fn add(object: &Value) -> Value {
    let mut added = object.clone();
    added["metadata"]["labels"]["example.org/team"] = json!("health");
    added["metadata"]["annotations"]["example.org/note"] = json!("theirs");
    if added["kind"] == "StatefulSet" {
        added["spec"]["minReadySeconds"] = json!(1);
        let sidecar = json!({
            "name": "sidecar", "image": "example.org/sidecar:1", "imagePullPolicy": "IfNotPresent", "resources": {},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        });
        added["spec"]["template"]["metadata"]["annotations"]["example.org/note"] = json!("theirs");
        if let Some(containers) = added["spec"]["template"]["spec"]["containers"].as_array_mut() {
            containers.push(sidecar);
        }
    }
    added
}
