//! The Go programs of the cluster, built from modules that are pinned in `e2e/cluster/programs`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache::{self, Cache};
use super::{files, run};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/programs");

const FLAGS: &str = "-mod=readonly -modcacherw -trimpath -buildvcs=false";

const PLAIN: &str = "-s -w";

/// Without its version a server calls itself v0.0.0, and clients misbehave.
const KUBERNETES: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 \
    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36";

/// A module and the programs that are built from it.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its folder under `e2e/cluster/programs`.
    pub module: &'static str,
    packages: &'static [&'static str],
    /// The file to write, when the package's own name would not do.
    binary: Option<&'static str>,
    linker_flags: &'static str,
}

/// All of them, the quick ones first.
pub const ALL: &[Program] = &[
    Program { module: "etcd", packages: &["go.etcd.io/etcd/server/v3"], binary: Some("etcd"), linker_flags: PLAIN },
    Program {
        module: "containerd",
        packages: &[
            "github.com/containerd/containerd/v2/cmd/containerd",
            "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            "github.com/containerd/containerd/v2/cmd/ctr",
        ],
        binary: None,
        linker_flags: PLAIN,
    },
    Program { module: "coredns", packages: &["."], binary: Some("coredns"), linker_flags: PLAIN },
    Program {
        module: "kubernetes",
        packages: &[
            "k8s.io/kubernetes/cmd/kube-apiserver",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-scheduler",
            "k8s.io/kubernetes/cmd/kubelet",
            "k8s.io/kubernetes/cmd/kube-proxy",
            "k8s.io/kubernetes/cmd/kubectl",
        ],
        binary: None,
        linker_flags: KUBERNETES,
    },
    Program { module: TRAEFIK, packages: &["github.com/traefik/traefik/v3/cmd/traefik"], binary: Some("traefik"), linker_flags: PLAIN },
    Program { module: "helm", packages: &["helm.sh/helm/v4/cmd/helm"], binary: Some("helm"), linker_flags: PLAIN },
    Program { module: RESTIC, packages: &["github.com/restic/restic/cmd/restic"], binary: Some("restic"), linker_flags: PLAIN },
    Program {
        module: "kubeconform",
        packages: &["github.com/yannh/kubeconform/cmd/kubeconform"],
        binary: Some("kubeconform"),
        linker_flags: PLAIN,
    },
    Program { module: VERSITYGW, packages: &["github.com/versity/versitygw/cmd/versitygw"], binary: Some(VERSITYGW), linker_flags: PLAIN },
];

const TRAEFIK: &str = "traefik";

/// Part of the product: its module lies beside the code that runs it.
const RESTIC: &str = "restic";
const RESTIC_SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../src/agent/restic");

/// An S3 server, for backups that go there.
pub const VERSITYGW: &str = "versitygw";

/// The pinned module of Traefik's ACME library, and what replaces its DNS providers.
const LEGO: &str = "lego";

/// What the ACME library is without: what nobody imports, and the providers' cloud SDKs.
const LEFT_OUT: &[&str] = &["providers/dns", "cmd", "main.go", "e2e", "docs", "platform/tester"];

impl Program {
    /// The module of that name.
    pub fn named(module: &str) -> Option<&'static Self> {
        ALL.iter().find(|p| p.module == module)
    }

    /// Whether a cluster runs it; the others are for tests and charts.
    pub fn runs_in_a_cluster(&self) -> bool {
        !["helm", "kubeconform", RESTIC, VERSITYGW].contains(&self.module)
    }

    /// The folder of its module.
    fn folder(&self) -> PathBuf {
        if self.module == RESTIC { PathBuf::from(RESTIC_SOURCES) } else { Path::new(SOURCES).join(self.module) }
    }
}

/// Why a program could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the build.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// The Go command.
    #[error("build {module}")]
    Build {
        /// The module.
        module: &'static str,
        /// What the command said.
        source: run::Error,
    },
}

/// The folder of a module's built programs; builds them if they are not there.
/// Who calls holds the build lock.
pub fn build(cache: &Cache, program: &Program) -> Result<PathBuf, Error> {
    let folder = cache.programs().join(format!("{}-{}", program.module, key(program)?));
    if folder.is_dir() {
        return Ok(folder);
    }
    let work = cache.scratch().join(program.module);
    let made = work.join("bin");
    files::make_folder(&made)?;
    let output = program.binary.map_or_else(|| made.clone(), |name| made.join(name));
    let sources = sources(cache, program, &work)?;
    let mut command = go(cache, run::tied("go"), &sources);
    command.args(["build", "-v", "-ldflags", program.linker_flags, "-o"]).arg(output).args(program.packages);
    run::follow(&format!("build {}", program.module), &mut command).map_err(|source| failed(program, source))?;
    files::make_folder(&cache.programs())?;
    files::rename(&made, &folder)?;
    files::remove_tree(&work)?;
    Ok(folder)
}

fn failed(program: &Program, source: run::Error) -> Error {
    Error::Build { module: program.module, source }
}

fn go(cache: &Cache, mut command: Command, folder: &Path) -> Command {
    command
        .current_dir(folder)
        .env("CGO_ENABLED", "0")
        .env("GOCACHE", cache.root().join("go-build"))
        .env("GOMODCACHE", cache.root().join("go-mod"))
        .env("GOFLAGS", FLAGS)
        .env("GOTOOLCHAIN", "local");
    command
}

/// The name of a build: a digest of all that it depends on.
fn key(program: &Program) -> Result<String, Error> {
    Ok(cache::key(inputs(program)?.iter().map(String::as_bytes)))
}

/// What a build depends on: the Go version, how it is called, and every file of the module.
fn inputs(program: &Program) -> Result<Vec<String>, Error> {
    let version = run::output(Command::new("go").arg("version").env("GOTOOLCHAIN", "local")).map_err(|source| failed(program, source))?;
    let mut inputs = vec![version, FLAGS.to_owned(), program.linker_flags.to_owned()];
    inputs.extend(program.packages.iter().map(|&p| p.to_owned()));
    let mut folders = vec![program.folder()];
    if program.module == TRAEFIK {
        folders.push(Path::new(SOURCES).join(LEGO));
        inputs.extend(LEFT_OUT.iter().map(|&p| p.to_owned()));
    }
    while let Some(folder) = folders.pop() {
        for path in files::list(&folder)? {
            if path.is_dir() {
                folders.push(path);
            } else {
                // The same from every checkout.
                let name = path.strip_prefix(SOURCES).or_else(|_| path.strip_prefix(RESTIC_SOURCES)).unwrap_or(&path);
                inputs.push(name.display().to_string());
                inputs.push(files::read(&path)?);
            }
        }
    }
    Ok(inputs)
}

/// The folder to build in: the module as it is in the tree, or for Traefik a copy beside a trimmed
/// copy of its ACME library.
fn sources(cache: &Cache, program: &Program, work: &Path) -> Result<PathBuf, Error> {
    let own = program.folder();
    if program.module != TRAEFIK {
        return Ok(own);
    }
    let lego = Path::new(SOURCES).join(LEGO);
    let mut ask = go(cache, Command::new("go"), &lego);
    ask.args(["mod", "download"]);
    run::output(&mut ask).map_err(|source| failed(program, source))?;
    let mut ask = go(cache, Command::new("go"), &lego);
    ask.args(["list", "-m", "-f", "{{.Dir}}", "github.com/go-acme/lego/v5"]);
    let library = run::output(&mut ask).map_err(|source| failed(program, source))?;
    let copy = work.join(TRAEFIK);
    files::remove_tree(&copy)?;
    files::copy_tree(&own, &copy, &|_| true)?;
    let trimmed = copy.join(LEGO);
    let is_wanted = |path: &Path| {
        let is_test = path.as_os_str().as_encoded_bytes().ends_with(b"_test.go");
        !is_test && !LEFT_OUT.iter().any(|l| path.ends_with(l))
    };
    files::copy_tree(Path::new(library.trim()), &trimmed, &is_wanted)?;
    let providers = trimmed.join("providers/dns");
    files::make_folder(&providers)?;
    files::write(&providers.join("dns.go"), files::read(&lego.join("dns.go"))?)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_called_the_same_from_every_checkout() {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().display().to_string();
        for program in ALL {
            let found: Vec<_> = inputs(program).unwrap().into_iter().filter(|input| input.contains(&checkout)).collect();
            assert!(found.is_empty(), "{}: {found:?}", program.module);
        }
    }
}
