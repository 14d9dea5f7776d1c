//! Where storms take place: a rig, with what is played on it, and the runs without any storm.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Mutex, OnceCell};

use super::scene::{LIMIT, Scene};
use crate::faults::flow::{self, Flow};
use crate::faults::ground::Ground;
use crate::faults::invariants::Seen;
use crate::site::Outcome;

/// A rig, and what was seen on it without storms.
pub struct Stage {
    /// The rig, with nodes that are played.
    pub ground: Ground,
    clean: Mutex<HashMap<&'static str, Arc<OnceCell<Arc<Seen>>>>>,
}

/// What takes away what belongs to something that is gone, lets go of volumes that no pod uses, empties namespaces that end, and counts
/// what a quota limits.
const CONTROLLERS: &[&str] =
    &["garbage-collector-controller", "namespace-controller", "persistentvolumeclaim-protection-controller", "resourcequota-controller"];

/// A flow of this name.
///
/// # Errors
/// When there is none.
pub fn named(name: &str) -> Outcome<Flow> {
    flow::all().into_iter().find(|flow| flow.name == name).ok_or_else(|| format!("no flow is called {name}").into())
}

impl Stage {
    /// Builds the operator, unless one is given, and starts a rig on which its database may hold so many bytes.
    ///
    /// # Errors
    /// When something can't be built or started.
    pub async fn build(operator: Option<PathBuf>, quota: Option<u64>) -> Outcome<Self> {
        Ok(Self { ground: Ground::build(operator, CONTROLLERS, quota).await?, clean: Mutex::default() })
    }

    /// What is seen of a flow without any storm. It is run once.
    ///
    /// # Errors
    /// When it does not work.
    pub async fn clean(&self, flow: &Flow) -> Outcome<Arc<Seen>> {
        let cell = Arc::clone(self.clean.lock().await.entry(flow.name).or_default());
        let seen = cell.get_or_try_init(|| Box::pin(self.calm(flow)));
        Ok(Arc::clone(seen.await?))
    }

    async fn calm(&self, flow: &Flow) -> Outcome<Arc<Seen>> {
        let mut scene = Box::pin(Scene::open(self, flow, "calm")).await?;
        scene.acts().await?;
        scene.until_calm(None, LIMIT).await?;
        Ok(Arc::new(scene.seen().await))
    }
}
