//! Where stories run: our own test cluster, or any cluster that a kubeconfig names; and what they do there
//! that is no part of what they tell: install an operator, wait, ask through the Ingress, collect logs.

pub mod analytics;
pub mod audit;
pub mod bucket;
pub mod by_hand;
mod certificate;
pub mod chance;
pub mod collect;
pub mod cut;
pub mod data;
pub mod demo;
pub mod disk;
pub mod door;
pub mod drill;
pub mod given;
pub mod helm;
pub mod inside;
pub mod instance;
pub mod machine;
pub mod memory;
pub mod objects;
pub mod operator;
pub mod own;
pub mod process;
pub mod restores;
pub mod story;
pub mod sweep;
pub mod typed;
pub mod wait;
pub mod whole;
pub mod writer;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kube::Client;

use crate::cluster::cache::Lock;
use crate::cluster::{archive, build, files, node, run, state};
use crate::cluster::{cache, lifecycle, ready};
use crate::product::image;

pub use story::Story;

/// What a story or a part of it gives: any error is told with all its causes.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Why there is no place to run stories.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A variable of the environment.
    #[error("{name}={value:?}: {wrong}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What is wrong with it.
        wrong: String,
    },
    /// The cache folder.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// A file.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// A program to build.
    #[error(transparent)]
    Build(#[from] build::Error),
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] lifecycle::Error),
    /// Its state.
    #[error(transparent)]
    State(#[from] state::Error),
    /// Its node.
    #[error(transparent)]
    Node(#[from] node::Error),
    /// The product's images.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// An image that was given.
    #[error(transparent)]
    Archive(#[from] archive::Unusable),
    /// Its API.
    #[error(transparent)]
    Api(#[from] ready::Error),
    /// A request.
    #[error("ask the API server")]
    Request(#[from] kube::Error),
    /// The definitions.
    #[error("install the custom resource definitions")]
    Definitions(#[source] run::Error),
    /// The runtime.
    #[error("start a runtime")]
    Runtime(#[source] std::io::Error),
}

/// A place to run stories.
#[derive(Debug)]
pub struct Site {
    /// How programs reach the cluster.
    pub kubeconfig: PathBuf,
    /// Where its ingress controller answers, plain and encrypted.
    pub ingress: [SocketAddr; 2],
    /// What its instances are made of.
    pub images: Images,
    /// The ingress class, when it is not the default one.
    pub ingress_class: Option<String>,
    /// Namespace of the ingress controller.
    pub ingress_namespace: Option<String>,
    /// The storage class, when it is not the default one.
    pub storage_class: Option<String>,
    /// Our own cluster's powers.
    pub own: Option<own::Own>,
    /// Tells this run's namespaces from others'.
    pub run: String,
    /// helm.
    pub helm: PathBuf,
    /// kubectl.
    pub kubectl: PathBuf,
    /// Where logs of failed stories go.
    pub logs: PathBuf,
    /// No second run uses our own cluster meanwhile.
    _lock: Option<Lock>,
}

/// What instances are made of.
#[derive(Clone, Debug)]
pub struct Images {
    /// Operator, agent and restic.
    pub operator: String,
    /// DHIS2 or its stand-in, without tag.
    pub dhis2: String,
    /// The versions of it that are at hand, oldest first.
    pub versions: Vec<String>,
    /// `PostgreSQL` with `PostGIS`.
    pub postgres: String,
}

impl Site {
    /// The site of this process: opened by the first story, shared by all.
    ///
    /// # Errors
    /// When the cluster does not come up or can't be reached.
    pub fn shared(tool: &Path, logs: &Path) -> Result<Arc<Self>, String> {
        static SITE: OnceLock<Result<Arc<Site>, String>> = OnceLock::new();
        let open = || {
            let runtime = tokio::runtime::Runtime::new().map_err(Error::Runtime)?;
            runtime.block_on(Self::open(tool, logs))
        };
        SITE.get_or_init(|| open().map(Arc::new).map_err(|error| chain(&error))).clone()
    }

    async fn open(tool: &Path, logs: &Path) -> Result<Self, Error> {
        let site = match given::text("E2E_KUBECONFIG") {
            Some(kubeconfig) => given::site(Path::new(&kubeconfig), logs)?,
            None => own::site(tool, logs).await?,
        };
        site.prepared().await
    }

    /// A cluster of our own for one story that ends all its processes.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn alone(name: &str, tool: &Path, logs: &Path) -> Result<Arc<Self>, String> {
        let open = || {
            let runtime = tokio::runtime::Runtime::new().map_err(Error::Runtime)?;
            runtime.block_on(async { own::named(name, tool, logs, true).await?.prepared().await })
        };
        open().map(Arc::new).map_err(|error| chain(&error))
    }

    async fn prepared(self) -> Result<Self, Error> {
        let client = self.client().await?;
        sweep::sweep(&client, self.own.is_some()).await?;
        helm::definitions(&self).map_err(Error::Definitions)?;
        Ok(self)
    }

    /// A new client. Each story has a runtime of its own, and a client belongs to one.
    ///
    /// # Errors
    /// When the kubeconfig can't be used.
    pub async fn client(&self) -> Result<Client, ready::Error> {
        ready::client(&self.kubeconfig).await
    }

    /// The version that stories use when they need only one.
    pub fn version(&self) -> &str {
        match self.images.versions.as_slice() {
            [_, middle, _] => middle,
            [first, ..] => first,
            [] => "",
        }
    }

    /// How long a new instance may take: the real DHIS2 needs minutes for its first start.
    pub fn patience(&self) -> Duration {
        if self.is_stand_in() { Duration::from_mins(6) } else { Duration::from_mins(25) }
    }

    /// Whether instances run the stand-in instead of DHIS2.
    pub fn is_stand_in(&self) -> bool {
        self.images.dhis2 == crate::standin::image::NAME
    }

    /// kubectl against this site.
    pub fn kubectl(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.kubectl);
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }
}

/// A file of the checkout.
pub fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// An error with all its causes, on one line unless they have several themselves.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    told
}
