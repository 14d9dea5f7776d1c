//! The images that every cluster starts with, each an archive in the cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache::{self, Cache};
use super::oci::{self, Config, Content, Entry};
use super::programs::{self, Program};
use super::{files, packages, run};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/images");

/// The PostgreSQL image, laid out as the CRD's default is.
pub const POSTGIS: &str = "localhost/postgis:17-3.5";

/// What a pod's sandbox runs.
pub const PAUSE: &str = "localhost/pause:1";

const COREDNS: &str = "localhost/coredns:1";
const TRAEFIK: &str = "localhost/traefik:3";

/// Debian 13: the first with PostgreSQL 17.
const SUITE: &str = "trixie";
const SUITE_PACKAGES: &str = "locales,postgresql-17,postgresql-17-postgis-3";

/// Why an image could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the build.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// A program of the build.
    #[error("build the image {image}")]
    Run {
        /// The image.
        image: &'static str,
        /// What the program said.
        source: run::Error,
    },
    /// A Go program that goes into it.
    #[error(transparent)]
    Program(#[from] programs::Error),
    /// There is no such program.
    #[error("build the image {0}: its program has no module")]
    NoProgram(&'static str),
    /// The machine does not install from a Debian archive.
    #[error("build {POSTGIS}: apt knows no archive of Debian, only other ones")]
    NoArchive,
}

/// Archives of images.
#[derive(Clone, Debug)]
pub struct Images {
    /// What the cluster itself runs.
    pub system: Vec<PathBuf>,
    /// PostgreSQL.
    pub database: PathBuf,
}

/// Builds those that are not in the cache. Who calls holds the build lock.
pub fn build(cache: &Cache) -> Result<Images, Error> {
    let coredns = Config { entrypoint: vec!["/coredns".to_owned()], ..scratch() };
    let traefik = Config { entrypoint: vec!["/traefik".to_owned()], ..scratch() };
    Ok(Images {
        system: vec![pause(cache)?, of_program(cache, COREDNS, "coredns", &coredns)?, of_program(cache, TRAEFIK, "traefik", &traefik)?],
        database: postgis(cache)?,
    })
}

/// An image that holds nothing but a static program.
fn scratch() -> Config {
    Config { user: "65532:65532".to_owned(), working_dir: "/".to_owned(), ..Config::default() }
}

fn archive(cache: &Cache, reference: &str, key: &str) -> PathBuf {
    let name = reference.rsplit('/').next().unwrap_or(reference).replace(':', "-");
    cache.images().join(format!("{name}-{key}.tar"))
}

fn of_program(cache: &Cache, reference: &'static str, module: &str, config: &Config) -> Result<PathBuf, Error> {
    let program = Program::named(module).ok_or(Error::NoProgram(reference))?;
    let folder = programs::build(cache, program)?;
    // The folder's name tells what the program was built from.
    let built = folder.file_name().unwrap_or_default();
    let key = cache::key([built.as_encoded_bytes(), reference.as_bytes()]);
    let archive = archive(cache, reference, &key);
    if !archive.exists() {
        let program = Entry::new(module, 0o755, Content::File(folder.join(module)));
        oci::write(&archive, reference, config, vec![program])?;
    }
    Ok(archive)
}

fn pause(cache: &Cache) -> Result<PathBuf, Error> {
    let failed = |source| Error::Run { image: PAUSE, source };
    let source = Path::new(SOURCES).join("pause.rs");
    let version = run::output(Command::new("rustc").arg("--version")).map_err(failed)?;
    let key = cache::key([version.as_bytes(), files::read(&source)?.as_bytes()]);
    let archive = archive(cache, PAUSE, &key);
    if archive.exists() {
        return Ok(archive);
    }
    let program = cache.scratch().join("pause");
    files::make_folder(&cache.scratch())?;
    let mut rustc = Command::new("rustc");
    rustc
        .args(["--edition", "2024", "-O", "-C", "panic=abort", "-C", "strip=symbols"])
        .args(["-C", "target-feature=+crt-static", "--target", "x86_64-unknown-linux-gnu"])
        .arg("-o")
        .args([&program, &source]);
    run::output(&mut rustc).map_err(failed)?;
    let config = Config { entrypoint: vec!["/pause".to_owned()], ..scratch() };
    let entry = Entry::new("pause", 0o755, Content::File(program));
    oci::write(&archive, PAUSE, &config, vec![entry])?;
    Ok(archive)
}

/// PostgreSQL and PostGIS of Debian, as they were when the image was first built here.
fn postgis(cache: &Cache) -> Result<PathBuf, Error> {
    let failed = |source| Error::Run { image: POSTGIS, source };
    let script = files::read(&Path::new(SOURCES).join("postgis.sh"))?;
    let config = Config {
        env: vec![
            "PATH=/usr/lib/postgresql/17/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            "LANG=en_US.utf8".to_owned(),
            "PG_MAJOR=17".to_owned(),
            "PGDATA=/var/lib/postgresql/data".to_owned(),
        ],
        cmd: vec!["postgres".to_owned()],
        ..Config::default()
    };
    let told = config.env.join(" ");
    let key = cache::key([&script, SUITE, SUITE_PACKAGES, &told].map(str::as_bytes));
    let archive = archive(cache, POSTGIS, &key);
    if archive.exists() {
        return Ok(archive);
    }
    let mirror = packages::archive().map_err(failed)?.ok_or(Error::NoArchive)?;
    let root = cache.scratch().join("postgis");
    files::make_folder(&cache.scratch())?;
    let mut bootstrap = confined("debootstrap");
    bootstrap.args(["--variant=minbase", "--include", SUITE_PACKAGES, SUITE]).arg(&root).arg(mirror);
    run::follow("fetch and unpack PostgreSQL for its image", &mut bootstrap).map_err(failed)?;
    let mut finish = confined("chroot");
    finish.arg(&root).args(["/bin/sh", "-c", &script]);
    run::follow("finish the PostgreSQL image", &mut finish).map_err(failed)?;
    oci::write(&archive, POSTGIS, &config, oci::tree(&root)?)?;
    files::remove_tree(&root)?;
    Ok(archive)
}

/// A program whose mounts and processes end with it.
fn confined(program: &str) -> Command {
    let mut command = run::tied("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child=KILL", "--", program]).env("LC_ALL", "C").env_remove("TMPDIR");
    command
}
