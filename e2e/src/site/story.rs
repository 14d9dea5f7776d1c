//! One story: namespaces of its own, a clock, and what is collected when it fails.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::task::LocalSet;

use super::sweep::RUN;
use super::{Outcome, Site, chain, collect, wait};

/// How long namespaces may take to go.
const FAREWELL: Duration = Duration::from_mins(3);

/// What a story is given.
pub struct Story {
    /// Its name.
    pub name: &'static str,
    /// Where it runs.
    pub site: Arc<Site>,
    /// The client of its runtime.
    pub client: Client,
    /// The namespace of its instances.
    pub namespace: String,
    /// When the audit log of our own cluster begins to tell of it.
    pub began: Instant,
}

/// With it the namespaces of a story that failed stay until the next run. They take of the node what others ask for.
const KEEP: &str = "E2E_KEEP";

/// Runs a story in namespaces of its own, which go with it; when it fails, what is in them is collected first.
///
/// # Errors
/// What the story says.
pub fn run<F>(name: &'static str, site: Arc<Site>, of: impl FnOnce(Arc<Story>) -> F) -> Result<(), String>
where
    F: Future<Output = Outcome> + 'static,
{
    let runtime = tokio::runtime::Runtime::new().map_err(|error| chain(&error))?;
    runtime.block_on(async {
        let story = Arc::new(Story::begin(name, site).await.map_err(|error| chain(error.as_ref()))?);
        // A task, so that a failed assertion comes back as an error.
        let tasks = LocalSet::new();
        let task = tasks.spawn_local(of(Arc::clone(&story)));
        let told = match tasks.run_until(task).await {
            Ok(told) => told.map_err(|error| chain(error.as_ref())),
            Err(error) => Err(panicked(error)),
        };
        let seconds = story.began.elapsed().as_secs_f32();
        match told {
            Ok(()) => {
                story.tell(&format!("{seconds:.1} s"));
                story.end().await.map_err(|error| chain(error.as_ref()))
            }
            Err(error) => {
                let folder = collect::collect(&story);
                if std::env::var_os(KEEP).is_none()
                    && let Err(error) = story.end().await
                {
                    story.tell(&format!("its namespaces did not go: {}", chain(error.as_ref())));
                }
                Err(format!("story {name} failed after {seconds:.1} s: {error}\n  what was seen is in {}", folder.display()))
            }
        }
    })
}

fn panicked(error: tokio::task::JoinError) -> String {
    let text = |panic: &Box<dyn std::any::Any + Send>| {
        let owned = panic.downcast_ref::<String>().cloned();
        owned.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
    };
    match error.try_into_panic() {
        Ok(panic) => text(&panic).unwrap_or_else(|| "it panicked".to_owned()),
        Err(error) => chain(&error),
    }
}

impl Story {
    async fn begin(name: &'static str, site: Arc<Site>) -> Outcome<Self> {
        let client = site.client().await?;
        let namespace = format!("e2e-{}-{name}", site.run);
        let story = Self { name, site, client, namespace, began: Instant::now() };
        story.make_namespace(&story.namespace).await?;
        story.make_namespace(&story.operator_namespace()).await?;
        Ok(story)
    }

    /// The namespace of its operator.
    pub fn operator_namespace(&self) -> String {
        format!("{}-operator", self.namespace)
    }

    /// A further namespace; all of them are `restricted`.
    ///
    /// # Errors
    /// When it can't be made.
    pub async fn make_namespace(&self, name: &str) -> Outcome {
        let labels = BTreeMap::from([
            (RUN.to_owned(), self.site.run.clone()),
            ("dhis2.hosting/story".to_owned(), self.name.to_owned()),
            ("pod-security.kubernetes.io/enforce".to_owned(), "restricted".to_owned()),
        ]);
        let metadata = ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        Api::all(self.client.clone()).create(&PostParams::default(), &namespace).await?;
        Ok(())
    }

    /// Says something about itself, whether the test's output is shown or not.
    pub fn tell(&self, what: &str) {
        // Nobody reads it any more, then.
        let _ = writeln!(std::io::stdout().lock(), "story {}: {what}", self.name);
    }

    /// A host name of its own, below `localhost`.
    pub fn host(&self, instance: &str) -> String {
        format!("{instance}-{}-{}.localhost", self.name, self.site.run)
    }

    /// All its namespaces.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn namespaces(&self) -> Outcome<Vec<String>> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let mine = format!("{RUN}={},dhis2.hosting/story={}", self.site.run, self.name);
        let found = api.list_metadata(&kube::api::ListParams::default().labels(&mine)).await?;
        Ok(found.items.into_iter().filter_map(|namespace| namespace.metadata.name).collect())
    }

    async fn end(&self) -> Outcome {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let names = self.namespaces().await?;
        for name in &names {
            api.delete(name, &DeleteParams::default()).await?;
        }
        for name in &names {
            wait::gone(&api, name, FAREWELL).await?;
        }
        Ok(())
    }
}
