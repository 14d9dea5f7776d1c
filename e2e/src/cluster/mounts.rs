//! What the cluster's processes see of the machine's files: all of them, none to write, but for the
//! cluster's folder and private copies of the folders that Kubernetes works in.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};

use super::cgroups::{self, Hierarchy};
use super::state::Place;
use super::{files, run};

/// Why the mounts could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// The control groups.
    #[error(transparent)]
    Cgroups(#[from] cgroups::Error),
    /// A mount.
    #[error("mount {target}")]
    Mount {
        /// Where.
        target: String,
        /// The cause.
        source: nix::Error,
    },
    /// A volume.
    #[error("mount a volume")]
    Volume(#[source] run::Error),
}

/// Settings of the whole machine that the kubelet insists on; it finds and writes files instead.
const MACHINE_SETTINGS: &[(&str, &str)] = &[
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Folders of the machine that the cluster has its own of, kept in its folder.
const KEPT: &[&str] = &["/var/lib/kubelet", "/var/lib/containerd", "/var/log/pods", "/var/log/containers"];

/// Makes all mounts, in a mount namespace that is new and private.
pub fn make(place: &Place) -> Result<(), Error> {
    // Read while the machine's are still seen.
    let hierarchies = cgroups::hierarchies()?;
    filesystem("proc", "/proc", "")?;
    filesystem("sysfs", "/sys", "")?;
    remount_cgroups(&hierarchies)?;
    for folder in ["/run", "/var/lib", "/var/log", "/tmp"] {
        let mode = if folder == "/tmp" { "mode=1777" } else { "mode=755" };
        filesystem("tmpfs", folder, mode)?;
    }
    for target in KEPT {
        let source = place.folder.join("node").join(target.trim_start_matches('/'));
        files::make_folder(&source)?;
        files::make_folder(Path::new(target))?;
        bind(&source, target)?;
    }
    for folder in ["/run/netns", "/run/lock", "/run/home", "/run/machine"] {
        files::make_folder(Path::new(folder))?;
    }
    for (name, value) in MACHINE_SETTINGS {
        let target = format!("/proc/sys/{name}");
        if Path::new(&target).exists() {
            let source = Path::new("/run/machine").join(name.replace('/', "."));
            files::write(&source, value)?;
            bind(&source, &target)?;
        }
    }
    files::write(Path::new("/run/resolv.conf"), "")?;
    bind(Path::new("/run/resolv.conf"), "/etc/resolv.conf")?;
    bind(&place.folder, &place.folder.display().to_string())?;
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    apply(None, "/", None, read_only, "")?;
    // The kubelet's volumes have to show up in containers.
    apply(None, "/", None, MsFlags::MS_REC | MsFlags::MS_SHARED, "")?;
    volumes(&place.volumes())
}

/// Volumes are there before the kubelet is: it would mount the empty folder below.
fn volumes(folder: &Path) -> Result<(), Error> {
    files::make_folder(folder)?;
    for image in files::list(folder)? {
        let target = image.with_extension("");
        if image.extension().is_some_and(|e| e == "img") && target.is_dir() {
            let mut mount = Command::new("mount");
            mount.args(["-o", "loop"]).args([&image, &target]);
            run::output(&mut mount).map_err(Error::Volume)?;
        }
    }
    Ok(())
}

fn remount_cgroups(hierarchies: &[Hierarchy]) -> Result<(), Error> {
    filesystem("tmpfs", "/sys/fs/cgroup", "mode=755")?;
    for hierarchy in hierarchies {
        let Hierarchy { mount_point, kind, options } = hierarchy;
        files::make_folder(mount_point)?;
        filesystem(kind, &mount_point.display().to_string(), options)?;
        cgroups::delegate(hierarchy)?;
        // `cpu,cpuacct` has a link for each of its controllers.
        for controller in options.split(',').filter(|_| !options.contains('=')) {
            let link = mount_point.with_file_name(controller);
            if !controller.is_empty() && !link.exists() {
                symlink(mount_point, &link).map_err(|e| files::Error::new("link", &link, e))?;
            }
        }
    }
    Ok(())
}

fn filesystem(kind: &str, target: &str, options: &str) -> Result<(), Error> {
    apply(Some(kind), target, Some(kind), MsFlags::empty(), options)
}

fn bind(source: &Path, target: &str) -> Result<(), Error> {
    let source = fs::canonicalize(source).map_err(|e| files::Error::new("resolve", source, e))?;
    apply(source.to_str(), target, None, MsFlags::MS_BIND, "")
}

fn apply(source: Option<&str>, target: &str, kind: Option<&str>, flags: MsFlags, options: &str) -> Result<(), Error> {
    mount(source, target, kind, flags, Some(options)).map_err(|source| Error::Mount { target: target.to_owned(), source })
}
