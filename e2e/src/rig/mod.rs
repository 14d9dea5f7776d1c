//! The rig: etcd and an API server as plain child processes, on free ports of the loopback address, without namespaces, nodes or pods.
//!
//! An [`Operator`] runs against it with the rights that the chart gives. What a cluster's controllers would do is done by those that
//! are asked for in [`Parts`], or by the test.

pub mod home;
pub mod operator;
pub mod process;
pub mod release;
pub mod servers;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};

use self::home::Home;
use self::process::Process;
use self::servers::{AUDIT, POLICY, Ports};
use crate::cluster::cache::Cache;
use crate::cluster::certificates::{ADMIN, CONTROLLERS, Keys, SCHEDULER};
use crate::cluster::programs::Program;
use crate::cluster::{build, files, ready};
use crate::site::audit::Log;
use crate::site::{Outcome, checkout, wait};

pub use self::operator::Operator;
pub use self::release::Release;

/// What runs besides etcd and the API server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts {
    /// These controllers of the controller manager, such as `garbage-collector-controller`; none: it does not run.
    pub controllers: &'static [&'static str],
    /// The scheduler.
    pub scheduler: bool,
}

/// A running rig. Dropped, it ends and leaves nothing.
pub struct Rig {
    keys: Keys,
    server: String,
    database: String,
    client: Client,
    // Ended in this order, before their folder goes.
    _others: Vec<Process>,
    api: Mutex<Process>,
    again: Again,
    _etcd: Process,
    home: Home,
}

/// How the API server is started.
struct Again {
    program: PathBuf,
    arguments: Vec<String>,
}

/// How long the servers may take to answer.
const LIMIT: Duration = Duration::from_mins(1);

/// A port that was free a moment ago may be somebody else's now.
const TRIES: usize = 3;

impl Rig {
    /// Starts one, with our definitions served.
    ///
    /// # Errors
    /// When a program can't be built or started, or does not answer in time.
    pub async fn start(parts: Parts) -> Outcome<Self> {
        Self::with(parts, None).await
    }

    /// The same, with a database that may hold so many bytes.
    ///
    /// # Errors
    /// When a program can't be built or started, or does not answer in time.
    pub async fn with(parts: Parts, quota: Option<u64>) -> Outcome<Self> {
        let cache = Cache::locate()?;
        let mut failure = None;
        for _ in 0..TRIES {
            match Self::try_start(&cache, parts, quota).await {
                Ok(rig) => return Ok(rig),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| "no rig was tried".into()))
    }

    async fn try_start(cache: &Cache, parts: Parts, quota: Option<u64>) -> Outcome<Self> {
        let home = Home::make(&std::env::temp_dir().join(format!("dhis2-operator-rigs-{}", cache.mark())))?;
        let folder = home.path().to_owned();
        let keys = Keys::ensure(&folder.join("keys"))?;
        files::write(&folder.join(POLICY), include_str!("../../cluster/config/audit.yaml"))?;
        let kubernetes = program(cache, "kubernetes")?;
        let places = free_ports()?;
        let start = |folder_of: &Path, name: &str, arguments: &[String]| {
            Process::start(&folder_of.join(name), arguments, &[], &folder.join(format!("{name}.log")))
        };
        let etcd = start(&program(cache, "etcd")?, "etcd", &servers::etcd(&folder, places, quota))?;
        let again = Again { program: kubernetes.join("kube-apiserver"), arguments: servers::api_server(&folder, &keys, places) };
        let mut api = again.start(&folder)?;
        let server = format!("https://127.0.0.1:{}", places.api);
        let kubeconfig = |client: &str| -> Outcome<PathBuf> {
            let path = folder.join(format!("{client}.kubeconfig"));
            files::write(&path, keys.text(client, &server)?)?;
            Ok(path)
        };
        let admin = kubeconfig(ADMIN)?;
        let client = tokio::select! {
            client = ready::api(&admin, LIMIT) => client?,
            () = until_ended(&mut api) => return Err(format!("the API server ended: {}", api.last_words()).into()),
        };
        // Before the controllers start: they look for new kinds twice a minute only.
        define(&client, &definitions()?).await?;
        let mut others = Vec::new();
        if !parts.controllers.is_empty() {
            let arguments = servers::controllers(&kubeconfig(CONTROLLERS)?, &keys, parts.controllers);
            others.push(start(&kubernetes, "kube-controller-manager", &arguments)?);
        }
        if parts.scheduler {
            others.push(start(&kubernetes, "kube-scheduler", &servers::scheduler(&kubeconfig(SCHEDULER)?))?);
        }
        let database = format!("http://127.0.0.1:{}", places.etcd);
        Ok(Self { keys, server, database, client, _others: others, api: Mutex::new(api), again, _etcd: etcd, home })
    }

    /// A client that may do everything.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The kubeconfig of the same.
    pub fn admin(&self) -> PathBuf {
        self.folder().join(format!("{ADMIN}.kubeconfig"))
    }

    /// The address of the API server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Its certificates.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Where logs and data are.
    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    /// What is asked from now on.
    pub fn audit(&self) -> Log {
        Log::at(self.folder().join(AUDIT))
    }

    /// The address of etcd.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The process of the API server.
    pub fn api_server(&self) -> MutexGuard<'_, Process> {
        self.api.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills the API server.
    pub fn kill_api_server(&self) {
        let mut api = self.api_server();
        api.signal(nix::sys::signal::Signal::SIGKILL);
        api.wait();
    }

    /// Starts it again, and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn start_api_server(&self) -> Outcome {
        let again = self.again.start(self.folder())?;
        *self.api_server() = again;
        ready::api(&self.admin(), LIMIT).await?;
        Ok(())
    }
}

impl Again {
    fn start(&self, folder: &Path) -> Result<Process, files::Error> {
        Process::start(&self.program, &self.arguments, &[], &folder.join("kube-apiserver.log"))
    }
}

/// Our definitions.
///
/// # Errors
/// When a file can't be read.
pub fn definitions() -> Outcome<Vec<CustomResourceDefinition>> {
    files::list(&checkout("crds"))?.iter().map(|path| Ok(serde_yaml::from_str(&files::read(path)?)?)).collect()
}

/// Brings definitions, and waits until they are served.
///
/// # Errors
/// What the API server says.
pub async fn define(client: &Client, given: &[CustomResourceDefinition]) -> Outcome {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in given {
        let name = definition.name_any();
        definitions.patch(&name, &PatchParams::apply("rig").force(), &Patch::Apply(definition)).await?;
        wait::until(&definitions, &name, "the definition to be served", LIMIT, is_served).await?;
    }
    Ok(())
}

async fn until_ended(process: &mut Process) {
    while process.ended().is_none() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn is_served(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
}

fn program(cache: &Cache, module: &str) -> Outcome<PathBuf> {
    let program = Program::named(module).ok_or_else(|| format!("no module builds {module}"))?;
    Ok(build::program(cache, program)?)
}

fn free_ports() -> std::io::Result<Ports> {
    // All are held until each is known: they differ.
    let listeners = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let [etcd, peer, api] = listeners.map(|listener| listener.and_then(|listener| Ok(listener.local_addr()?.port())));
    Ok(Ports { etcd: etcd?, peer: peer?, api: api? })
}
