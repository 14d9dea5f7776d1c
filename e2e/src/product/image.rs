//! The images: operator with agent and restic, and the DHIS2 stand-in in three versions.

use std::path::{Path, PathBuf};

use crate::cluster::cache::{self, Cache};
use crate::cluster::oci::{self, Config, Content, Entry};
use crate::cluster::programs::Program;
use crate::cluster::{build, files, run};
use crate::standin;

use super::binaries::{self, Binaries};

/// Repository of the operator's image in test clusters.
pub const OPERATOR: &str = "localhost/dhis2-operator";

/// Versions of the stand-in, in the order in which a database goes through them.
pub const STANDIN_VERSIONS: [&str; 3] = ["2.41.8.1", "2.42.4.1", "2.43.1.0"];

/// Why an image could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A Rust program.
    #[error("build the programs of the image")]
    Binaries(#[source] run::Error),
    /// restic.
    #[error("build restic")]
    Restic(#[source] build::Error),
    /// A file.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// A version of the stand-in that is none.
    #[error("the stand-in has no version {0}")]
    Version(&'static str),
}

/// An image in the cache.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its archive.
    pub archive: PathBuf,
    /// Its name with tag.
    pub reference: String,
}

/// The image of operator, agent and restic, made if it is not in the cache yet. Its tag names the content, so that a new
/// build is a new image.
///
/// # Errors
/// When a program or the image can't be made.
pub fn operator(cache: &Cache) -> Result<Image, Error> {
    let binaries = binaries::build().map_err(Error::Binaries)?;
    let entries = operator_entries(cache, &binaries)?;
    let key = content_key(&entries)?;
    image(cache, format!("{OPERATOR}:{key}"), &operator_config(), entries)
}

/// The images of the stand-in, by version, made if they are not in the cache yet.
///
/// # Errors
/// When the program or an image can't be made.
pub fn standins(cache: &Cache) -> Result<Vec<Image>, Error> {
    let program = binaries::standin().map_err(Error::Binaries)?;
    STANDIN_VERSIONS.into_iter().map(|version| of_standin(cache, &program, version)).collect()
}

/// What is in the operator's image.
///
/// # Errors
/// When restic can't be built.
pub fn operator_entries(cache: &Cache, binaries: &Binaries) -> Result<Vec<Entry>, Error> {
    let restic = restic(cache)?;
    let folder = |path: &str| Entry::new(path, 0o755, Content::Folder);
    let program = |name: &str, from: &Path| Entry::new(&format!("usr/local/bin/{name}"), 0o755, Content::File(from.to_owned()));
    Ok(vec![
        folder("usr"),
        folder("usr/local"),
        folder("usr/local/bin"),
        program("dhis2-agent", &binaries.agent),
        program("dhis2-operator", &binaries.operator),
        program("restic", &restic),
        Entry::new("tmp", 0o1777, Content::Folder),
    ])
}

/// How the operator's image starts.
pub fn operator_config() -> Config {
    Config {
        user: "65532:65532".into(),
        env: vec!["PATH=/usr/local/bin".into()],
        entrypoint: vec!["/usr/local/bin/dhis2-operator".into()],
        cmd: Vec::new(),
        working_dir: "/".into(),
    }
}

fn restic(cache: &Cache) -> Result<PathBuf, Error> {
    let program = Program::named("restic").ok_or(Error::Version("restic"))?;
    Ok(build::program(cache, program).map_err(Error::Restic)?.join("restic"))
}

fn of_standin(cache: &Cache, program: &Path, version: &'static str) -> Result<Image, Error> {
    let parsed: standin::version::Version = version.parse().map_err(|_| Error::Version(version))?;
    let entries: Vec<Entry> = standin::image::entries(parsed, program).into_iter().map(entry).collect();
    let config = standin::image::config(parsed, standin::image::QUICK);
    let list = |key: &str| {
        config
            .get(key)
            .and_then(serde_json::Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|value| value.as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let text = |key: &str| config.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let config = Config { user: text("User"), env: list("Env"), entrypoint: Vec::new(), cmd: list("Cmd"), working_dir: text("WorkingDir") };
    let archive_key = content_key(&entries)?;
    let reference = format!("{}:{}", standin::image::NAME, standin::image::tag(parsed));
    named(cache, &format!("standin-{version}-{archive_key}"), reference, &config, entries)
}

fn entry(of: standin::image::Entry) -> Entry {
    let content = match of.content {
        standin::image::Content::Folder => Content::Folder,
        standin::image::Content::Bytes(bytes) => Content::Bytes(bytes),
        standin::image::Content::Copy(path) => Content::File(path),
    };
    Entry { path: of.path, mode: of.mode, owner: (of.owner, of.owner), content }
}

fn image(cache: &Cache, reference: String, config: &Config, entries: Vec<Entry>) -> Result<Image, Error> {
    let name = reference.replace(['/', ':'], "-");
    named(cache, &name, reference, config, entries)
}

fn named(cache: &Cache, name: &str, reference: String, config: &Config, entries: Vec<Entry>) -> Result<Image, Error> {
    let archive = cache.images().join(format!("{name}.tar"));
    if !archive.exists() {
        oci::write(&archive, &reference, config, entries)?;
    }
    Ok(Image { archive, reference })
}

/// A key of everything that the entries hold.
fn content_key(entries: &[Entry]) -> Result<String, Error> {
    let mut inputs = Vec::new();
    for entry in entries {
        inputs.push(format!("{} {:o} {:?}", entry.path.display(), entry.mode, entry.owner).into_bytes());
        match &entry.content {
            Content::File(path) => inputs.push(std::fs::read(path).map_err(|error| files::Error::new("read", path, error))?),
            Content::Bytes(bytes) => inputs.push(bytes.clone()),
            Content::Folder | Content::Link(_) => {}
        }
    }
    Ok(cache::key(inputs.iter().map(Vec::as_slice)))
}

/// Writes the image that is shipped.
///
/// # Errors
/// When a program can't be built or the archive can't be written.
pub fn ship(cache: &Cache, archive: &Path, reference: &str) -> Result<(), Error> {
    let binaries = binaries::build().map_err(Error::Binaries)?;
    let entries = operator_entries(cache, &binaries)?;
    oci::write(archive, reference, &operator_config(), entries)?;
    Ok(())
}
