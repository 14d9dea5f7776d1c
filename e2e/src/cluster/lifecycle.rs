//! Up and down: a cluster starts whole or says why not, and ends without a trace.

use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use k8s_openapi::jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::build::{self, Built};
use super::cache::{self, Cache};
use super::certificates::{self, Keys};
use super::state::{self, FirstProcess, Place, Ports, State};
use super::{cgroups, clusters, files, kernel, node, ready, run};

const LIMIT: Duration = Duration::from_mins(3);

/// Why a cluster did not come up or go down.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something to build.
    #[error(transparent)]
    Build(#[from] build::Error),
    /// The cache folder.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// Its state.
    #[error(transparent)]
    State(#[from] state::Error),
    /// A file.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// Its control groups.
    #[error(transparent)]
    Cgroups(#[from] cgroups::Error),
    /// Its keys.
    #[error(transparent)]
    Keys(#[from] certificates::Error),
    /// The machine's kernel.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// Its programs could not be started.
    #[error("start the first process")]
    Start(#[source] io::Error),
    /// The first process ended.
    #[error("the cluster did not start; {} ends with:\n{said}", log.display())]
    Stillborn {
        /// Its log.
        log: PathBuf,
        /// The end of it.
        said: String,
    },
    /// It does not become whole.
    #[error("the cluster is not whole; its logs are in {}", logs.display())]
    NotReady {
        /// The folder of its logs.
        logs: PathBuf,
        /// What is missing.
        source: ready::Error,
    },
    /// Its images or objects.
    #[error(transparent)]
    Node(#[from] node::Error),
    /// A program.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// A part of this program broke.
    #[error("wait for a part of the start")]
    Broken(#[from] tokio::task::JoinError),
    /// The kernel keeps something.
    #[error("the cluster {0} ended, but the kernel keeps its loop devices; try again")]
    Kept(String),
    /// It must not run.
    #[error("the cluster {0} is up: end it with `make cluster-down CLUSTER={0}` first")]
    Up(String),
}

/// A cluster by name, up or down.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Where it is kept.
    pub place: Place,
    cache: Cache,
    tool: PathBuf,
}

impl Cluster {
    /// The cluster of this name. `tool` is the program `dhis2-cluster`, which runs inside as well.
    pub fn new(cache: &Cache, name: &str, tool: PathBuf) -> Result<Self, Error> {
        Ok(Self { place: Place::new(cache, name)?, cache: cache.clone(), tool })
    }

    /// Builds what is missing and starts the cluster; returns when it is whole. One that is up is
    /// left alone. `fsync` makes etcd as safe against a power cut as it is on a server, and slower.
    pub async fn up(&self, fsync: bool) -> Result<State, Error> {
        let built = build::cluster(&self.cache)?;
        clusters::sweep(&self.cache)?;
        let _lock = self.cache.lock(&self.place.group)?;
        let mut state = self.place.state()?;
        if state.ready && state.process.is_some_and(|p| p.is_alive()) {
            return Ok(state);
        }
        let begun = Instant::now();
        eprintln!("start the cluster {} …", self.place.name);
        self.end()?;
        state = State { ports: state.ports, ..State::default() };
        kernel::check()?;
        tell_little_room(&self.place.folder);
        let since = Timestamp::now();
        let process = self.launch(&built, &mut state, fsync)?;
        phase("processes started", begun);
        self.settle(process, &built, since, begun).await?;
        state.ready = true;
        self.place.keep(&state)?;
        Ok(state)
    }

    /// Ends the cluster. With `purge` its data goes too, otherwise it comes up again as it was.
    pub fn down(&self, purge: bool) -> Result<(), Error> {
        clusters::sweep(&self.cache)?;
        let _lock = self.cache.lock(&self.place.group)?;
        self.end()?;
        if purge {
            files::remove_tree(&self.place.folder)?;
        }
        Ok(())
    }

    /// Loads an OCI archive into the cluster and returns the name that pods call its image by.
    pub fn load(&self, archive: &Path) -> Result<String, Error> {
        let process = node::first_process(&self.place)?;
        let built = build::cluster(&self.cache)?;
        Ok(node::load(process, &built.programs, archive)?)
    }

    /// Copies what the cluster's programs and its pods logged, this run and the one before, for
    /// somebody to read when the cluster is gone.
    pub fn collect_logs(&self, into: &Path) -> Result<(), Error> {
        for (from, to) in [("log", "programs"), ("log.previous", "programs.previous"), ("node/var/log/pods", "pods")] {
            files::copy_tree(&self.place.folder.join(from), &into.join(to), &|_| true)?;
        }
        Ok(())
    }

    /// Everything ends at once, as in a power cut. What the kernel had not written yet it still has:
    /// a crash of programs is imitated, not one of disks.
    pub fn cut_power(&self) -> Result<(), Error> {
        self.down(false)
    }

    pub(super) fn end(&self) -> Result<(), Error> {
        let mut state = self.place.state()?;
        if let Some(process) = state.process.filter(FirstProcess::is_alive) {
            // It may end by itself at this moment, which is as good.
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        cgroups::kill_all(&self.place.group)?;
        cgroups::remove(&self.place.group)?;
        self.await_loop_devices()?;
        if state.process.is_some() {
            state.process = None;
            state.ready = false;
            self.place.keep(&state)?;
        }
        Ok(())
    }

    /// The kernel takes the last mounts away a moment after the last process.
    fn await_loop_devices(&self) -> Result<(), Error> {
        let begun = Instant::now();
        while !self.place.looped()?.is_empty() {
            if begun.elapsed() > Duration::from_secs(15) {
                return Err(Error::Kept(self.place.name.clone()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn launch(&self, built: &Built, state: &mut State, fsync: bool) -> Result<FirstProcess, Error> {
        let place = &self.place;
        files::make_folder(&place.folder)?;
        rotate_logs(place)?;
        let keys = Keys::ensure(&place.folder.join("keys"))?;
        cgroups::create(&place.group)?;
        let log = place.logs().join("init.log");
        let file = fs::File::create(&log).map_err(Error::Start)?;
        let mut command = Command::new(&self.tool);
        command.args(["launch", &place.name]);
        for port in [state.ports.api, state.ports.http, state.ports.https] {
            command.arg(port.to_string());
        }
        if fsync {
            command.arg("--fsync");
        }
        let mut launch = command
            .env_clear()
            .env("PATH", search_path(built))
            .env("DHIS2_OPERATOR_CACHE", self.cache.root())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .map_err(Error::Start)?;
        let told = launch.stdout.take().map(BufReader::new);
        for line in told.into_iter().flat_map(BufRead::lines) {
            let line = line.map_err(Error::Start)?;
            if let Ok(pid) = line.parse() {
                state.process = FirstProcess::read(pid);
                // Known from now on, whatever happens to this process.
                place.keep(state)?;
            } else if let Ok(ports) = serde_json::from_str::<Ports>(&line) {
                state.ports = ports;
            }
        }
        launch.wait().map_err(Error::Start)?;
        place.keep(state)?;
        let process = state.process.filter(FirstProcess::is_alive);
        let Some(process) = process.filter(|_| state.ports.api != 0) else {
            let said = files::read(&log)?;
            return Err(Error::Stillborn { log, said });
        };
        let server = format!("https://127.0.0.1:{}", state.ports.api);
        files::replace(&place.kubeconfig(), keys.admin(&server)?)?;
        Ok(process)
    }

    async fn settle(&self, process: FirstProcess, built: &Built, since: Timestamp, begun: Instant) -> Result<(), Error> {
        let late = |source| Error::NotReady { logs: self.place.logs(), source };
        // Before their pods are: the kubelet waits long before it looks again for a missing image.
        let load = |images: &[PathBuf]| {
            let (programs, images) = (built.programs.clone(), images.to_vec());
            tokio::task::spawn_blocking(move || load_all(process, &programs, &images))
        };
        let loading = load(&built.images.system);
        let client = ready::api(&self.place.kubeconfig(), LIMIT).await.map_err(late)?;
        phase("API server answers", begun);
        self.apply(built, include_str!("../../cluster/manifests/rights.yaml"))?;
        loading.await??;
        let loading = load(std::slice::from_ref(&built.images.database));
        self.apply(built, include_str!("../../cluster/manifests/base.yaml"))?;
        self.apply(built, include_str!("../../cluster/manifests/ingress.yaml"))?;
        ready::node(&client, since, LIMIT).await.map_err(late)?;
        phase("node Ready", begun);
        let pod = |namespace, label| ready::pod(&client, namespace, label, since, LIMIT);
        pod("kube-system", "k8s-app=kube-dns").await.map_err(late)?;
        phase("DNS Ready", begun);
        pod("ingress", "app.kubernetes.io/name=traefik").await.map_err(late)?;
        phase("ingress Ready", begun);
        loading.await??;
        phase("images loaded", begun);
        Ok(())
    }

    fn apply(&self, built: &Built, manifest: &str) -> Result<(), Error> {
        let mut apply = node::kubectl(&self.place, &built.programs);
        apply.args(["apply", "--server-side", "--force-conflicts", "-f", "-"]);
        run::feed(&mut apply, manifest.as_bytes())?;
        Ok(())
    }
}

/// Below 1 % of free space the kubelet evicts pods and lets none in: stories would fail by their time limits.
fn tell_little_room(folder: &Path) {
    const LITTLE: u64 = 8 << 30;
    let free = nix::sys::statvfs::statvfs(folder).map(|room| room.blocks_available() * room.fragment_size());
    if let Some(free) = free.ok().filter(|free| *free < LITTLE) {
        eprintln!("only {} GiB are free at {}: pods may be evicted; `make cache-clean` frees some", free >> 30, folder.display());
    }
}

fn phase(what: &str, begun: Instant) {
    eprintln!("  {:5.1} s  {what}", begun.elapsed().as_secs_f32());
}

/// The logs of the run before this one are kept, no older ones.
fn rotate_logs(place: &Place) -> Result<(), files::Error> {
    let previous = place.folder.join("log.previous");
    if place.logs().exists() {
        files::remove_tree(&previous)?;
        files::rename(&place.logs(), &previous)?;
    }
    files::make_folder(&place.logs())?;
    // The kubeconfig and the keys are an administrator's.
    let private = fs::Permissions::from_mode(0o700);
    fs::set_permissions(&place.folder, private).map_err(|e| files::Error::new("close to others", &place.folder, e))
}

fn search_path(built: &Built) -> std::ffi::OsString {
    let system = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    let folders = built.programs.iter().cloned().chain(system);
    env::join_paths(folders).unwrap_or_default()
}

fn load_all(process: FirstProcess, programs: &[PathBuf], images: &[PathBuf]) -> Result<(), node::Error> {
    let begun = Instant::now();
    let socket = node::containerd_socket(process);
    while !socket.exists() && begun.elapsed() < LIMIT && process.is_alive() {
        thread::sleep(Duration::from_millis(50));
    }
    for image in images {
        node::load(process, programs, image)?;
    }
    Ok(())
}
