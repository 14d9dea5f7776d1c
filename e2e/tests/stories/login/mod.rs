//! Login: ten lines of YAML become a login page, and what is said about it meanwhile is true.

mod price;

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dhis2_e2e::site::audit::Log;
use dhis2_e2e::site::door::{Door, Scheme};
use dhis2_e2e::site::instance::{self, Instance, Progress};
use dhis2_e2e::site::operator::Operator;
use dhis2_e2e::site::{Outcome, Story, checkout};
use dhis2_operator::api::Dhis2Instance;
use futures::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};

/// How long the ingress controller may take to notice an Ingress.
const NOTICED: Duration = Duration::from_secs(20);

#[test]
fn login() {
    crate::tell("login", |story| async move {
        let operator = Operator::install(&story).await?;
        Box::pin(without_operator(&story, &operator)).await?;
        let log = Log::from_now(&story);
        let instance = minimal_becomes_ready(&story).await?;
        pages_are_served(&story, &instance).await?;
        kubectl_tells_it_in_one_line(&story, &instance)?;
        first_backup_follows(&story, &instance).await?;
        let Some(log) = log else {
            story.tell("left out: requests, memory and idleness of the operator need our own cluster's audit log and machine");
            return Ok(());
        };
        price::create(&story, &operator, &log)?;
        price::memory(&story, &operator).await?;
        price::idle(&story, &operator).await?;
        Ok(())
    });
}

/// A new object that nobody has looked at counts as in progress, and nobody who waits for Ready gets it.
async fn without_operator(story: &Story, operator: &Operator) -> Outcome {
    operator.stop().await?;
    let unseen = story.instance("unseen");
    let made = unseen.apply(&story.manifest("unseen", &serde_json::json!({}))).await?;
    assert_eq!(instance::progress(&made), Progress::InProgress, "kstatus of a new object: {:?}", made.status);
    let mut wait = story.site.kubectl();
    wait.args(["--namespace", &story.namespace, "wait", "--for=condition=Ready", "--timeout=3s", "dhis2/unseen"]);
    let waited = wait.output()?;
    assert!(!waited.status.success(), "kubectl wait returned although no operator runs");
    let now = unseen.api.get("unseen").await?;
    assert_eq!(instance::progress(&now), Progress::InProgress, "kstatus after a while: {:?}", now.status);
    unseen.api.delete("unseen", &kube::api::DeleteParams::default()).await?;
    operator.start().await
}

/// `examples/minimal.yaml` with a host of the story's own, applied by kubectl, with a `kubectl wait` sent in the same second.
async fn minimal_becomes_ready(story: &Arc<Story>) -> Outcome<Instance> {
    let instance = story.instance("play");
    let text = std::fs::read_to_string(checkout("examples/minimal.yaml"))?;
    let mut manifest: serde_json::Value = serde_yaml::from_str(&text)?;
    assert_eq!(manifest.pointer("/metadata/name"), Some(&serde_json::json!("play")));
    instance::merge(&mut manifest, &serde_json::json!({ "spec": { "version": story.site.version(), "web": { "host": instance.host } } }));
    let file = written(story, &manifest)?;
    let watching = tokio::spawn(phases(instance.clone()));
    let applied = Instant::now();
    let kubectl = |arguments: &[&str]| {
        let mut command = story.site.kubectl();
        command.args(["--namespace", &story.namespace]).args(arguments);
        command
    };
    let apply = kubectl(&["apply", "--filename"]).arg(&file).output()?;
    assert!(apply.status.success(), "kubectl apply: {}", String::from_utf8_lossy(&apply.stderr));
    let limit = format!("--timeout={}s", story.site.patience().as_secs());
    let wait = kubectl(&["wait", "--for=condition=Ready", &limit, "dhis2/play"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let waited = ended(wait).await?;
    let seen = instance.api.get("play").await?;
    assert!(waited.is_ok(), "kubectl wait: {waited:?}; status {:?}", seen.status);
    assert!(instance::holds(&seen, "Ready"), "kubectl wait returned before the instance was ready: {:?}", seen.status);
    assert!(instance::holds(&seen, "Exposed") && instance::holds(&seen, "AdminPasswordSet"), "ready, but not open: {:?}", seen.status);
    story.tell(&format!("apply → Ready {:.1} s", applied.elapsed().as_secs_f32()));
    story.tell(&format!("by phase: {}", watching.await?));
    Ok(instance)
}

fn written(story: &Story, manifest: &serde_json::Value) -> Outcome<PathBuf> {
    std::fs::create_dir_all(&story.site.logs)?;
    let file = story.site.logs.join(format!("{}.yaml", story.namespace));
    std::fs::write(&file, serde_yaml::to_string(manifest)?)?;
    Ok(file)
}

async fn ended(child: Child) -> Outcome<Result<(), String>> {
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await??;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(if output.status.success() { Ok(()) } else { Err(said) })
}

/// When each condition held for the first time, counted from the first sight of the object.
async fn phases(instance: Instance) -> String {
    let config = watcher::Config::default().fields("metadata.name=play");
    let mut changes = std::pin::pin!(watcher(instance.api.clone(), config).default_backoff().applied_objects());
    let (mut begun, mut told) = (None, Vec::new());
    while let Some(change) = changes.next().await {
        let Ok(seen) = change else { continue };
        let begun = *begun.get_or_insert_with(Instant::now);
        for condition in holding(&seen) {
            if !told.iter().any(|(known, _)| *known == condition) {
                told.push((condition, begun.elapsed().as_secs_f32()));
            }
        }
        if instance::settled(&seen) {
            break;
        }
    }
    told.iter().map(|(condition, seconds)| format!("{condition} {seconds:.1} s")).collect::<Vec<_>>().join(", ")
}

/// The conditions that hold and are good news.
fn holding(seen: &Dhis2Instance) -> Vec<String> {
    let built = seen.status.as_ref().is_some_and(|status| status.database.is_some()).then(|| "database built".to_owned());
    let kinds = ["DatabaseReady", "ApplicationReady", "AdminPasswordSet", "Exposed", "Ready"];
    let holds = kinds.into_iter().filter(|kind| instance::holds(seen, kind)).map(str::to_owned);
    built.into_iter().chain(holds).collect()
}

async fn pages_are_served(story: &Story, instance: &Instance) -> Outcome {
    let door = Door::new(&story.site, &instance.host);
    for scheme in [Scheme::Http, Scheme::Https] {
        let page = door.opens(scheme, NOTICED).await?;
        assert!(page.body.contains("<html") || page.body.contains("<!DOCTYPE"), "no page over {scheme:?}: {page:?}");
        let config = door.get(scheme, "/api/loginConfig", None)?;
        assert_eq!((config.status, config.kind.starts_with("application/json")), (200, true), "loginConfig over {scheme:?}: {config:?}");
    }
    let admin = instance.admin().await?;
    assert_eq!(door.lets_in(Scheme::Http, &admin).await, Ok(true), "the generated password");
    Ok(())
}

fn kubectl_tells_it_in_one_line(story: &Story, instance: &Instance) -> Outcome {
    let output = story.site.kubectl().args(["--namespace", &story.namespace, "get", "dhis2", "--no-headers"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let lines: Vec<&str> = text.lines().collect();
    let [line] = lines.as_slice() else {
        return Err(format!("kubectl get dhis2 says {text:?}").into());
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    let url = format!("http://{}", instance.host);
    for expected in ["play", "True", "Serving", story.site.version()] {
        assert!(words.contains(&expected), "{expected} is not in {line:?}");
    }
    assert!(words.iter().any(|word| word.trim_end_matches('/') == url), "{url} is not in {line:?}");
    story.tell(&format!("kubectl get dhis2: {line}"));
    Ok(())
}

async fn first_backup_follows(story: &Story, instance: &Instance) -> Outcome {
    let begun = Instant::now();
    let seen = instance.until("BackupHealthy").await?;
    let last = seen.status.and_then(|status| status.backup).and_then(|backup| backup.last);
    assert!(last.is_some(), "BackupHealthy without a set");
    story.tell(&format!("the first backup was there {:.1} s after the login page", begun.elapsed().as_secs_f32()));
    Ok(())
}
