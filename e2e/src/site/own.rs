//! Our own test cluster: started when it is not up, with the images of this checkout.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;

use super::{Error, Images, Site, given, helm, process};
use crate::cluster::archive::Named;
use crate::cluster::cache::Cache;
use crate::cluster::state::{FirstProcess, Place};
use crate::cluster::{Cluster, build, images, node, run};
use crate::product::image;
use crate::standin;

/// The `PostgreSQL` image of our own cluster.
const POSTGRES: &str = images::POSTGIS;

/// What our own cluster can do that others can't.
#[derive(Clone, Debug)]
pub struct Own {
    /// The cluster.
    pub cluster: Cluster,
    /// Its first process.
    pub process: FirstProcess,
    /// Folders of its programs.
    programs: Vec<PathBuf>,
}

impl Own {
    /// Where it is kept.
    pub fn place(&self) -> &Place {
        &self.cluster.place
    }

    /// Gives an image a further name: a new image, for whoever goes by names.
    ///
    /// # Errors
    /// When the node has no such image.
    pub fn name_too(&self, image: &str, name: &str) -> Result<(), node::Error> {
        node::name_too(self.process, &self.programs, image, name)
    }

    /// Writes an image of the node to an OCI archive, for somebody else to load.
    ///
    /// # Errors
    /// When the node has no such image.
    pub fn save(&self, image: &str, archive: &Path) -> Result<(), node::Error> {
        node::save(self.process, &self.programs, image, archive)
    }

    /// Has the kubelet evict pods while less than so many percent of the memory are free.
    ///
    /// # Errors
    /// When it does not run.
    pub fn evict_below(&self, percent: u8) -> super::Outcome {
        let mut edit = node::inside(self.process, "sed");
        let set = format!(r#"s/evictionSoft: .*/evictionSoft: {{memory.available: "{percent}%"}}/"#);
        run::output(edit.args(["--in-place", &set, "/run/kubelet.yaml"]))?;
        if process::signal(&self.place().group, "kubelet", Signal::SIGTERM)? { Ok(()) } else { Err("no kubelet runs".into()) }
    }

    /// Something that answers at an address of the node, until it is dropped.
    ///
    /// # Errors
    /// When the node does not take the address or the port.
    pub fn answer_at(&self, address: Ipv4Addr, port: u16) -> super::Outcome<TcpListener> {
        let mut ip = node::inside(self.process, "ip");
        run::output(ip.args(["address", "replace", &format!("{address}/32"), "dev", "lo"]))?;
        let network = File::open(format!("/proc/{}/ns/net", self.process.pid))?;
        // A thread has a network namespace of its own, and a socket keeps that of its thread.
        let listen = std::thread::spawn(move || -> io::Result<TcpListener> {
            setns(network, CloneFlags::CLONE_NEWNET)?;
            TcpListener::bind((address, port))
        });
        Ok(listen.join().map_err(|_| "the thread that listens panicked")??)
    }
}

/// Starts the cluster of the stories and loads the images.
///
/// # Errors
/// When something can't be built or the cluster does not start.
pub async fn site(tool: &Path, logs: &Path) -> Result<Site, Error> {
    let name = given::text("E2E_CLUSTER").unwrap_or_else(|| "test".to_owned());
    named(&name, tool, logs, false).await
}

/// Starts the cluster of this name and loads the images. `fsync`: etcd keeps what it has acknowledged whatever happens.
///
/// # Errors
/// When something can't be built or the cluster does not start.
pub async fn named(name: &str, tool: &Path, logs: &Path, fsync: bool) -> Result<Site, Error> {
    let cache = Cache::locate()?;
    let lock = cache.lock(&format!("stories-{name}"))?;
    let images = what_to_load(&cache)?;
    let cluster = Cluster::new(&cache, name, tool.to_owned())?;
    let state = cluster.up(fsync).await?;
    let process = node::first_process(&cluster.place)?;
    let built = build::cluster(&cache)?;
    for archive in &images.1 {
        node::load(process, &built.programs, archive)?;
    }
    let images = of_version(images.0, process, &built.programs)?;
    let kubectl = node::find(&built.programs, "kubectl");
    let port = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Ok(Site {
        kubeconfig: cluster.place.kubeconfig(),
        ingress: [port(state.ports.http), port(state.ports.https)],
        images,
        ingress_class: None,
        ingress_namespace: Some("ingress".to_owned()),
        storage_class: None,
        own: Some(Own { cluster, process, programs: built.programs }),
        run: run(),
        helm: helm::program(&cache)?,
        kubectl,
        logs: logs.to_owned(),
        _lock: Some(lock),
    })
}

/// The image of DHIS2 that was given, on the node and under the tag that the operator asks for.
fn of_version(mut images: Images, process: FirstProcess, programs: &[PathBuf]) -> Result<Images, Error> {
    if images.dhis2 == standin::image::NAME {
        return Ok(images);
    }
    let tag = images.versions.first().cloned().unwrap_or_default();
    let told = format!("{}:{tag}", images.dhis2);
    let version = given::version(&tag).ok_or_else(|| Error::Variable {
        name: "DHIS2_IMAGE",
        value: told.clone(),
        wrong: "the tag must tell the version, as 2.42.4.1 or 42.4.1 does".to_owned(),
    })?;
    node::pull(process, programs, &told)?;
    if tag != version {
        node::name_too(process, programs, &told, &format!("{}:{version}", images.dhis2))?;
    }
    images.versions = vec![version];
    Ok(images)
}

/// The images of this checkout, unless others are given; and the archives that they come from.
fn what_to_load(cache: &Cache) -> Result<(Images, Vec<PathBuf>), Error> {
    let given = [given::text("OPERATOR_IMAGE"), given::text("DHIS2_IMAGE")];
    let mut archives = Vec::new();
    let mut take = |image: String| -> Result<String, Error> {
        if !Path::new(&image).exists() {
            return Ok(image);
        }
        let name = Named::read(Path::new(&image))?.reference();
        archives.push(image.into());
        Ok(name)
    };
    let [operator, dhis2] = given.map(|image| image.map(&mut take).transpose());
    let (operator, dhis2) = (operator?, dhis2?);
    let operator = if let Some(given) = operator {
        given
    } else {
        let made = image::operator(cache)?;
        archives.push(made.archive);
        made.reference
    };
    let (dhis2, versions) = if let Some(given) = dhis2 {
        let (name, version) = given::reference(&given)?;
        (name, vec![version])
    } else {
        archives.extend(image::standins(cache)?.into_iter().map(|image| image.archive));
        (standin::image::NAME.to_owned(), image::STANDIN_VERSIONS.map(str::to_owned).to_vec())
    };
    let postgres = given::text("POSTGRES_IMAGE").unwrap_or_else(|| POSTGRES.to_owned());
    Ok((Images { operator, dhis2, versions, postgres }, archives))
}

/// A name for a run: six letters and digits that no run of the last weeks had.
pub fn run() -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let number = now.as_millis() / 10;
    let digit = |place: u32| {
        let index = usize::try_from((number >> (5 * place)) & 31).unwrap_or_default();
        DIGITS.get(index).copied().map_or('0', char::from)
    };
    (0..6).rev().map(digit).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_run_has_a_name_that_kubernetes_takes() {
        let name = super::run();
        assert!(name.len() == 6 && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{name}");
    }
}
