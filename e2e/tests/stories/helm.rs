//! Helm: install, upgrade with another definition and another operator, uninstall, install again; the instance serves all the
//! while, and none of its pods restarts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dhis2_e2e::cluster::run;
use dhis2_e2e::site::audit::{self, Log};
use dhis2_e2e::site::door::{Door, Scheme};
use dhis2_e2e::site::helm::{DEFINITIONS, DEFINITIONS_CHART, DEFINITIONS_NAMESPACE};
use dhis2_e2e::site::instance::{self, Instance};
use dhis2_e2e::site::operator::{self, Operator, RELEASE};
use dhis2_e2e::site::{Outcome, Story, checkout, given, helm, objects, wait};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

const NOTICED: Duration = Duration::from_secs(20);

#[test]
fn helm() {
    crate::tell("helm", |story| async move {
        let operator = Operator::install(&story).await?;
        let instance = story.instance("play");
        instance.apply(&story.small_manifest("play", &json!({}))).await?;
        instance.settled().await?;
        instance.until("BackupHealthy").await?;
        let door = Door::new(&story.site, &instance.host);
        door.opens(Scheme::Http, NOTICED).await?;
        let pods = servers(&story).await?;
        another_definition(&story, &instance).await?;
        let image = another_image(&story, &operator, &instance).await?;
        assert_eq!(servers(&story).await?, pods, "an upgrade restarted a pod");
        let before = everything(&story, &instance).await?;
        let last = uninstall(&story, &operator, &instance, &door).await?;
        install_again(&story, &instance, (&image, &last), before).await?;
        assert_eq!(servers(&story).await?, pods, "installing again restarted a pod");
        Ok(())
    });
}

/// The pods of database and DHIS2: uid and restarts.
async fn servers(story: &Story) -> Outcome<BTreeMap<String, (String, i32)>> {
    let pods: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    let servers = ["play-0", "play-database-0"];
    let found = pods.list(&ListParams::default()).await?.items.into_iter().filter(|pod| servers.contains(&pod.name_any().as_str()));
    let restarts = |pod: &Pod| {
        pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten()).map(|container| container.restart_count).sum()
    };
    let pods: BTreeMap<_, _> = found.map(|pod| (pod.name_any(), (pod.uid().unwrap_or_default(), restarts(&pod)))).collect();
    assert_eq!(pods.len(), 2);
    Ok(pods)
}

/// The definitions are upgraded to ones with one more field; instances can use it at once.
async fn another_definition(story: &Story, instance: &Instance) -> Outcome {
    let chart = tempfile::tempdir()?;
    copy(&checkout(DEFINITIONS_CHART), chart.path())?;
    let file = chart.path().join("templates/dhis2instances.dhis2.hosting.yaml");
    let mut definition: Value = serde_yaml::from_str(&std::fs::read_to_string(&file)?)?;
    let fields = definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties");
    let fields = fields.and_then(Value::as_object_mut).ok_or("the definition has no spec")?;
    fields.insert("fieldOfTheNextVersion".to_owned(), json!({ "type": "string" }));
    std::fs::write(&file, serde_yaml::to_string(&definition)?)?;
    let upgraded = story.site.release(DEFINITIONS, DEFINITIONS_NAMESPACE, chart.path(), &json!({}));
    let kept = match &upgraded {
        Ok(_) => field_is_kept(story, instance).await,
        Err(_) => Ok(()),
    };
    // Other stories and later runs go by the definitions of the checkout.
    helm::definitions(&story.site)?;
    upgraded?;
    kept
}

async fn field_is_kept(story: &Story, instance: &Instance) -> Outcome {
    let resource = kube::api::ApiResource::erase::<dhis2_operator::api::Dhis2Instance>(&());
    let api: Api<kube::api::DynamicObject> = Api::namespaced_with(story.client.clone(), &story.namespace, &resource);
    let patch = json!({ "spec": { "fieldOfTheNextVersion": "is kept" } });
    let patched = api.patch(&instance.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    assert_eq!(patched.data.pointer("/spec/fieldOfTheNextVersion"), Some(&json!("is kept")), "the field was pruned");
    let patch = json!({ "spec": { "fieldOfTheNextVersion": null } });
    api.patch(&instance.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}

/// A chart's files, without links.
fn copy(from: &Path, to: &Path) -> Outcome {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry: PathBuf = entry?.path();
        let target = to.join(entry.file_name().unwrap_or_default());
        if entry.is_dir() {
            copy(&entry, &target)?;
        } else {
            std::fs::copy(&entry, &target)?;
        }
    }
    Ok(())
}

/// The operator is upgraded to another image, whose name is returned. It takes over, and works; pods keep the agent that they
/// were made with.
async fn another_image(story: &Story, operator: &Operator, instance: &Instance) -> Outcome<String> {
    let image = &story.site.images.operator;
    let another = match (&story.site.own, given::text("OPERATOR_IMAGE_NEXT")) {
        (Some(own), _) => {
            let (repository, _) = image.rsplit_once(':').unwrap_or((image, ""));
            let name = format!("{repository}:next-{}", story.site.run);
            own.name_too(image, &name)?;
            name
        }
        (None, Some(next)) => next,
        (None, None) => {
            story.tell("left out: the upgrade to another image needs one, in OPERATOR_IMAGE_NEXT");
            return Ok(image.clone());
        }
    };
    let old = operator.pod().await?.name_any();
    let mut values = operator::values(story, &story.namespace);
    instance::merge(&mut values, &json!({ "image": operator::image(&another) }));
    let operator = Operator::install_in(story, &story.operator_namespace(), &values).await?;
    let leader = operator.leads(&old).await?;
    let pod = operator.pod().await?;
    let runs = pod.spec.and_then(|spec| spec.containers.into_iter().next()).and_then(|container| container.image);
    assert_eq!((pod.metadata.name.as_deref(), runs.as_deref()), (Some(leader.as_str()), Some(another.as_str())));
    operator.has_looked(story, &leader).await?;
    let schedules: Api<CronJob> = Api::namespaced(story.client.clone(), &story.namespace);
    let takes = |schedule: &CronJob| json!(schedule.spec).to_string().contains(&another);
    wait::until(&schedules, "play-backup", "the new agent for the next backup", NOTICED, takes).await?;
    // It works: something that restarts nothing is done.
    instance.change(&json!({ "backup": { "retention": { "last": 4 } } })).await?;
    instance.settled().await?;
    let sets: Api<StatefulSet> = Api::namespaced(story.client.clone(), &story.namespace);
    for set in ["play", "play-database"] {
        let text = json!(sets.get(set).await?.spec).to_string();
        assert!(
            text.contains(image.as_str()) && !text.contains(&another),
            "the template of {set} went over to the new agent: its next restart would not be the same pod"
        );
    }
    Ok(another)
}

/// Everything that could be written to, with its version.
async fn everything(story: &Story, instance: &Instance) -> Outcome<BTreeMap<String, String>> {
    let mut versions = objects::versions(&objects::list(story, &story.namespace).await?);
    let resource = instance.api.get(&instance.name).await?;
    versions.insert("Dhis2Instance".to_owned(), resource.resource_version().unwrap_or_default());
    Ok(versions)
}

/// Operator and definitions go; the instance stays and serves. Returns who led last: with its release its right to say that it
/// ends is gone, and the next one waits until the silence is long enough.
async fn uninstall(story: &Story, operator: &Operator, instance: &Instance, door: &Door) -> Outcome<String> {
    let last = operator.pod().await?.name_any();
    story.site.uninstall(RELEASE, &story.operator_namespace())?;
    story.site.uninstall(DEFINITIONS, DEFINITIONS_NAMESPACE)?;
    let there = instance.api.get(&instance.name).await?;
    assert!(
        instance::holds(&there, "Ready") && there.metadata.deletion_timestamp.is_none(),
        "the instance went with the operator: {:?}",
        there.status
    );
    let admin = instance.admin().await?;
    for _ in 0..20 {
        assert_eq!(door.lets_in(Scheme::Http, &admin).await, Ok(true), "the instance does not serve without the operator");
    }
    Ok(last)
}

/// Installed again, the operator finds everything as it should be.
async fn install_again(story: &Story, instance: &Instance, (image, last): (&str, &str), before: BTreeMap<String, String>) -> Outcome {
    let log = Log::from_now(story);
    helm::definitions(&story.site)?;
    let mut values = operator::values(story, &story.namespace);
    instance::merge(&mut values, &json!({ "image": operator::image(image) }));
    let operator = Operator::install_in(story, &story.operator_namespace(), &values).await?;
    let leader = operator.leads(last).await?;
    assert_eq!(operator.pod().await?.name_any(), leader);
    operator.has_looked(story, &leader).await?;
    assert_eq!(everything(story, instance).await?, before, "taking over wrote to something");
    if let Some(log) = log {
        let asked = audit::count(&log.requests(&operator.user())?, audit::Request::what);
        story.tell(&format!("taking over cost, besides lease and watches: {}", audit::told(&asked)));
        let writes: Vec<&String> = asked.keys().filter(|what| !what.starts_with("get ") && !what.starts_with("list ")).collect();
        assert!(writes.is_empty(), "taking over wrote: {writes:?}");
    }
    // And it works.
    instance.change(&json!({ "backup": { "retention": { "last": 5 } } })).await?;
    instance.settled().await?;
    run::output(story.site.helm().args(["test", RELEASE, "--namespace", &story.operator_namespace()]))?;
    Ok(())
}
