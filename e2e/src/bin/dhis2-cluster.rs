//! The test cluster: `up` and `down`, what is needed to use it, and what runs inside it.

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use dhis2_e2e::cluster::cache::Cache;
use dhis2_e2e::cluster::lifecycle::Cluster;
use dhis2_e2e::cluster::oci::{self, Config, Entry};
use dhis2_e2e::cluster::programs::Program;
use dhis2_e2e::cluster::state::{Place, Ports, State};
use dhis2_e2e::cluster::{after_api, build, clusters, enforcer, gate, init, launch, node, provisioner};
use dhis2_e2e::site::demo;

type Outcome = Result<(), Box<dyn Error>>;

/// A real Kubernetes in namespaces of its own, for tests and for trying things out.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build what clusters run on: Debian packages, programs, images.
    Build {
        /// Build one program only (a folder of e2e/cluster/programs) and print where it is.
        #[arg(long)]
        only: Option<String>,
    },
    /// From nothing to a login page: a cluster, the operator, one instance. The cluster stays.
    Demo,
    /// Build what tests without a cluster need: Debian's PostgreSQL, helm, kubeconform, restic.
    Tools,
    /// Start a cluster, building what is missing; returns when it is whole.
    Up {
        name: String,
        /// Let etcd wait for the disk, as on a server.
        #[arg(long)]
        fsync: bool,
    },
    /// End a cluster: no process, mount, control group, network namespace or loop device is left.
    Down {
        name: String,
        /// Remove its data as well.
        #[arg(long)]
        purge: bool,
    },
    /// List clusters.
    List,
    /// Run kubectl against a cluster.
    Kubectl {
        name: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run a program in the namespaces of a cluster's node.
    Exec {
        name: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Load OCI archives into a cluster and print the names of their images.
    Load {
        name: String,
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// Copy the logs of a cluster's programs and pods into a folder.
    Logs { name: String, folder: PathBuf },
    /// Write an image as an OCI archive, the same bytes each time, and print its digest.
    Image(Image),
    /// End what killed runs left.
    Sweep,
    /// Remove the cache folder: built programs, images, the clusters' data.
    CacheClean,
    #[command(hide = true)]
    Launch(Inner),
    #[command(hide = true)]
    Init(Inner),
    #[command(hide = true)]
    AfterApi {
        kubeconfig: PathBuf,
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    #[command(hide = true)]
    Provisioner { kubeconfig: PathBuf, volumes: PathBuf },
    #[command(hide = true)]
    NetworkPolicy { kubeconfig: PathBuf },
}

#[derive(Debug, clap::Args)]
struct Image {
    /// The image's name, such as localhost/dhis2-operator:1.2.3.
    reference: String,
    /// The archive to write.
    archive: PathBuf,
    /// A file for the image, as FROM=TO.
    #[arg(long = "file")]
    files: Vec<String>,
    /// A folder whose content becomes the image's root, with its owners and modes.
    #[arg(long)]
    tree: Option<PathBuf>,
    /// `uid:gid` that containers run as.
    #[arg(long, default_value = "")]
    user: String,
    /// NAME=value.
    #[arg(long)]
    env: Vec<String>,
    /// The program, and with each more an argument of it.
    #[arg(long, allow_hyphen_values = true)]
    entrypoint: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Inner {
    name: String,
    api: u16,
    http: u16,
    https: u16,
    #[arg(long)]
    fsync: bool,
}

fn main() -> ExitCode {
    // A container runtime calls its plugins without arguments, and tells what to do this way.
    let outcome = match std::env::var("CNI_COMMAND") {
        Ok(verb) => plug_in(&verb),
        Err(_) => carry_out(Arguments::parse().verb),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut told = error.to_string();
            let mut cause = error.source();
            while let Some(e) = cause {
                told = format!("{told}: {e}");
                cause = e.source();
            }
            eprintln!("dhis2-cluster: {told}");
            ExitCode::FAILURE
        }
    }
}

fn plug_in(verb: &str) -> Outcome {
    let arguments = std::env::var("CNI_ARGS").unwrap_or_default();
    match gate::act(verb, &arguments, std::io::stdin()) {
        Ok(answer) => println!("{answer}"),
        // The runtime reads the reason from standard output.
        Err(e) => {
            let cause = e.source().map(|c| format!(": {c}")).unwrap_or_default();
            let answer = serde_json::json!({"cniVersion": "1.0.0", "code": 11, "msg": format!("{e}{cause}")});
            println!("{answer}");
            return Err(e.into());
        }
    }
    Ok(())
}

fn demo(cache: &Cache) -> Outcome {
    let logs = cache.root().join("demo");
    let tool = std::env::current_exe()?;
    Ok(tokio::runtime::Runtime::new()?.block_on(demo::demo(&tool, &logs))?)
}

fn carry_out(verb: Verb) -> Outcome {
    let cache = Cache::locate()?;
    match verb {
        Verb::Build { only: None } => drop(build::cluster(&cache)?),
        Verb::Demo => demo(&cache)?,
        Verb::Tools => drop(build::tools(&cache)?),
        Verb::Build { only: Some(module) } => build_one(&cache, &module)?,
        Verb::Up { name, fsync } => up(&cache, &name, fsync)?,
        Verb::Down { name, purge } => cluster(&cache, &name)?.down(purge)?,
        Verb::List => list(&cache)?,
        Verb::Kubectl { name, arguments } => {
            let place = Place::new(&cache, &name)?;
            node::first_process(&place)?;
            let built = build::cluster(&cache)?;
            become_it(node::kubectl(&place, &built.programs).args(arguments))?;
        }
        Verb::Exec { name, command } => {
            let process = node::first_process(&Place::new(&cache, &name)?)?;
            if let [program, arguments @ ..] = command.as_slice() {
                become_it(node::inside(process, program).args(arguments))?;
            }
        }
        Verb::Load { name, archives } => load(&cache, &name, &archives)?,
        Verb::Logs { name, folder } => cluster(&cache, &name)?.collect_logs(&folder)?,
        Verb::Image(image) => write_image(image)?,
        Verb::Sweep => clusters::sweep(&cache)?,
        Verb::CacheClean => clusters::clean(&cache)?,
        Verb::Launch(inner) => launch::launch(&inner.place(&cache)?, inner.ports(), inner.fsync)?,
        Verb::Init(inner) => init::init(&inner.place(&cache)?, inner.ports(), inner.fsync)?,
        Verb::AfterApi { kubeconfig, command } => after_api::become_after_api(&kubeconfig, &command)?,
        Verb::Provisioner { kubeconfig, volumes } => runtime()?.block_on(provisioner::serve(&kubeconfig, &volumes))?,
        Verb::NetworkPolicy { kubeconfig } => {
            runtime()?.block_on(enforcer::enforce(&kubeconfig))?;
        }
    }
    Ok(())
}

impl Inner {
    fn place(&self, cache: &Cache) -> Result<Place, Box<dyn Error>> {
        Ok(Place::new(cache, &self.name)?)
    }

    fn ports(&self) -> Ports {
        Ports { api: self.api, http: self.http, https: self.https }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

/// Replaces this process, so that signals and the terminal are the other program's.
fn become_it(command: &mut std::process::Command) -> Outcome {
    use std::os::unix::process::CommandExt;
    let failed = command.exec();
    Err(format!("run {}: {failed}", command.get_program().display()).into())
}

fn cluster(cache: &Cache, name: &str) -> Result<Cluster, Box<dyn Error>> {
    Ok(Cluster::new(cache, name, std::env::current_exe()?)?)
}

fn build_one(cache: &Cache, module: &str) -> Outcome {
    let program = Program::named(module).ok_or_else(|| format!("no program {module:?}"))?;
    println!("{}", build::program(cache, program)?.display());
    Ok(())
}

fn up(cache: &Cache, name: &str, fsync: bool) -> Outcome {
    let cluster = cluster(cache, name)?;
    let state = runtime()?.block_on(cluster.up(fsync))?;
    tell(&cluster.place, &state);
    Ok(())
}

fn tell(place: &Place, state: &State) {
    let Ports { api, http, https } = state.ports;
    println!("cluster {} is up: API https://127.0.0.1:{api}", place.name);
    println!("ingress http://NAME.localhost:{http}, https://NAME.localhost:{https}");
    println!("export KUBECONFIG={}", place.kubeconfig().display());
}

fn list(cache: &Cache) -> Outcome {
    for (Place { name, .. }, state) in clusters::list(cache)? {
        let alive = state.process.is_some_and(|p| p.is_alive());
        let is = match (alive, state.ready) {
            (true, true) => "up",
            (true, false) => "starting, or interrupted",
            (false, _) => "down",
        };
        let Ports { api, http, https } = state.ports;
        println!("{name}: {is} (api {api}, http {http}, https {https})");
    }
    Ok(())
}

fn write_image(image: Image) -> Outcome {
    let mut entries = image.tree.as_deref().map_or_else(|| Ok(Vec::new()), oci::tree)?;
    for file in &image.files {
        let (from, to) = file.split_once('=').ok_or_else(|| format!("{file:?} is not FROM=TO"))?;
        entries.push(Entry::of_file(Path::new(from), to)?);
    }
    let config = Config { user: image.user, env: image.env, entrypoint: image.entrypoint, ..Config::default() };
    let digest = oci::write(&image.archive, &image.reference, &config, entries)?;
    println!("{digest}");
    Ok(())
}

fn load(cache: &Cache, name: &str, archives: &[impl AsRef<Path>]) -> Outcome {
    let cluster = cluster(cache, name)?;
    for archive in archives {
        println!("{}", cluster.load(archive.as_ref())?);
    }
    Ok(())
}
