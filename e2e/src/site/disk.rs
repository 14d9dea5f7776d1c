//! What a volume of our own cluster is stored on, and what may happen to it.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;

use super::{Outcome, Story, wait};
use crate::cluster::node;
use crate::cluster::state::FirstProcess;
use crate::cluster::volumes::Volumes;

/// A file is being written just now: a file system does not become read-only meanwhile.
const BUSY: Duration = Duration::from_secs(30);

/// The file system of a volume.
#[derive(Debug)]
pub struct Disk {
    process: FirstProcess,
    mount: PathBuf,
}

/// Something that is wrong with it, until it is dropped. It is over as well when this process ends, however it ends: nothing could end a
/// cluster whose processes hang.
#[derive(Debug)]
pub struct Fault(Child);

impl Disk {
    /// Where the volume of this claim is.
    ///
    /// # Errors
    /// When the cluster is not ours, or the claim has no volume.
    pub async fn of(story: &Story, claim: &str) -> Outcome<Self> {
        let own = story.site.own.as_ref().ok_or("only our own cluster's disks are within reach")?;
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(story.client.clone(), &story.namespace);
        let volume = claims.get(claim).await?.spec.and_then(|spec| spec.volume_name).ok_or_else(|| format!("{claim} has no volume"))?;
        Ok(Self { process: own.process, mount: Volumes::new(&own.place().volumes()).target(&volume) })
    }

    /// Whoever writes to it waits, as on a network store that does not answer.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn hangs(&self) -> Outcome<Fault> {
        let mount = self.mount.display();
        self.fault(&format!("fsfreeze --freeze {mount}"), &format!("fsfreeze --unfreeze {mount}"))
    }

    /// Whoever writes to it is refused, as after an error of a disk.
    ///
    /// # Errors
    /// When somebody has a file open to write.
    pub async fn is_read_only(&self) -> Outcome<Fault> {
        let remount = |mode: &str| format!("mount --options remount,{mode} {}", self.mount.display());
        let begin = async || self.fault(&remount("ro"), &remount("rw")).map_err(|error| error.to_string());
        let mut fault = None;
        wait::ask("the volume to become read-only", BUSY, async || begin().await.map(|begun| fault = Some(begun))).await?;
        Ok(fault.ok_or("there is no fault")?)
    }

    fn fault(&self, begin: &str, end: &str) -> Outcome<Fault> {
        let guard = format!("trap '' INT TERM; {begin} && echo begun && read -r _; {end}");
        let mut command = node::inside(self.process, "sh");
        let mut child = command.args(["-c", &guard]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut said = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut said)?;
        }
        let fault = Fault(child);
        if said.trim() == "begun" { Ok(fault) } else { Err(format!("{begin}: refused").into()) }
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        // The end of its input is the end of the fault.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
