//! A volume together with the place where a container sees it, so that no mount is without its volume.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, EphemeralVolumeSource, KeyToPath, PersistentVolumeClaimTemplate,
    PersistentVolumeClaimVolumeSource, SecretVolumeSource, Volume, VolumeMount,
};

use super::{claims, resources::mebibytes};
use crate::{
    layout,
    operator::instance::{EncryptionKey, Instance, Restoring, Storage},
};

/// Read by owner and group, which is the pod's `fsGroup`.
const READ_ONLY: i32 = 0o440;

/// A volume, seen by a container.
#[derive(Clone, Debug, PartialEq)]
pub struct Attached {
    /// The volume, once a pod.
    pub volume: Volume,
    /// Its place in the container.
    pub mount: VolumeMount,
}

impl Attached {
    fn new(path: &str, volume: Volume) -> Self {
        let mount = VolumeMount { name: volume.name.clone(), mount_path: path.to_owned(), ..VolumeMount::default() };
        Self { volume, mount }
    }

    /// The same volume, not to be written.
    pub fn read_only(self) -> Self {
        Self { mount: VolumeMount { read_only: Some(true), ..self.mount }, ..self }
    }

    /// The Secret of a user. What is not there the agent tells with its field; a pod that had to have it would wait without a word.
    pub fn optional(mut self) -> Self {
        if let Some(source) = &mut self.volume.secret {
            source.optional = Some(true);
        }
        self
    }

    /// A directory of the volume, which is made where there is none, at another path.
    pub fn part(self, directory: &str, path: &str) -> Self {
        let mount = VolumeMount { sub_path: Some(directory.to_owned()), mount_path: path.to_owned(), ..self.mount };
        Self { mount, ..self }
    }

    /// The same under another name, in a pod that has one of this name already.
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.volume.name);
        name.clone_into(&mut self.mount.name);
        self
    }

    /// One file of the volume, at another path. It does not follow changes.
    pub fn file(self, key: &str, path: &str) -> Self {
        let mount = VolumeMount { sub_path: Some(key.to_owned()), mount_path: path.to_owned(), read_only: Some(true), ..self.mount };
        Self { mount, ..self }
    }
}

/// Scratch space on the node's disk, gone with the pod; `limit` in MiB.
pub fn scratch(name: &str, path: &str, limit: i64) -> Attached {
    empty(name, path, EmptyDirVolumeSource { size_limit: Some(mebibytes(limit)), medium: None })
}

/// Scratch space in memory, part of what the container may use.
pub fn memory(name: &str, path: &str, limit: i64) -> Attached {
    empty(name, path, EmptyDirVolumeSource { size_limit: Some(mebibytes(limit)), medium: Some("Memory".into()) })
}

fn empty(name: &str, path: &str, source: EmptyDirVolumeSource) -> Attached {
    Attached::new(path, Volume { name: name.to_owned(), empty_dir: Some(source), ..Volume::default() })
}

/// A volume of its own that is made for a pod and gone with it. It carries no labels: it is none of the instance's claims.
pub fn ephemeral(name: &str, path: &str, storage: &Storage) -> Attached {
    let template = PersistentVolumeClaimTemplate { metadata: None, spec: claims::spec(storage) };
    let source = EphemeralVolumeSource { volume_claim_template: Some(template) };
    Attached::new(path, Volume { name: name.to_owned(), ephemeral: Some(source), ..Volume::default() })
}

/// `/tmp`.
pub fn tmp(limit: i64) -> Attached {
    scratch("tmp", "/tmp", limit)
}

/// The agent and restic, as the init container leaves them.
pub fn agent() -> Attached {
    scratch("agent", layout::AGENT_DIR, 256)
}

/// The database that the instance is served from.
pub fn database(instance: &Instance) -> Attached {
    claim("database", &instance.claims.database, layout::DATA)
}

/// DHIS2's files.
pub fn files(instance: &Instance) -> Attached {
    claim("files", &instance.claims.files, layout::FILES)
}

/// The repository.
pub fn backups(instance: &Instance) -> Attached {
    claim("backups", &instance.claims.backups, layout::BACKUPS)
}

/// Another instance's repository, only read. What restic wrote is its user's only: as with a claim of the instance's own, the node opens it
/// to the group, which it does not for a volume that is read-only for itself.
pub fn backups_of(name: &str) -> Attached {
    claim("backups", name, layout::BACKUPS).read_only()
}

/// The volumes that a restore fills, where the agent looks for those of an instance.
pub fn restored(restoring: &Restoring) -> [Attached; 2] {
    [claim("database", &restoring.database, layout::DATA), claim("files", &restoring.files, layout::FILES)]
}

/// A claim of theirs that people brought something on, only read.
pub fn source(name: &str) -> Attached {
    read_only_claim("source", name, layout::SOURCE)
}

/// Not to be written by whoever mounts it either: nothing on it is given to another group.
fn read_only_claim(name: &str, claim: &str, path: &str) -> Attached {
    let source = PersistentVolumeClaimVolumeSource { claim_name: claim.to_owned(), read_only: Some(true) };
    Attached::new(path, Volume { name: name.to_owned(), persistent_volume_claim: Some(source), ..Volume::default() }).read_only()
}

fn claim(name: &str, claim: &str, path: &str) -> Attached {
    let source = PersistentVolumeClaimVolumeSource { claim_name: claim.to_owned(), read_only: None };
    Attached::new(path, Volume { name: name.to_owned(), persistent_volume_claim: Some(source), ..Volume::default() })
}

/// A `ConfigMap` as a directory that follows its changes.
pub fn configuration(config_map: &str, path: &str) -> Attached {
    let source = ConfigMapVolumeSource { name: config_map.to_owned(), ..ConfigMapVolumeSource::default() };
    Attached::new(path, Volume { name: "configuration".into(), config_map: Some(source), ..Volume::default() }).read_only()
}

/// Keys of a Secret as files below [`layout::SECRETS`].
fn secret(secret: &str, directory: &str, keys: &[&str]) -> Attached {
    let items = keys.iter().map(|key| KeyToPath { key: (*key).to_owned(), path: (*key).to_owned(), mode: None }).collect();
    let source =
        SecretVolumeSource { secret_name: Some(secret.to_owned()), default_mode: Some(READ_ONLY), items: Some(items), optional: None };
    let volume = Volume { name: format!("secret-{directory}"), secret: Some(source), ..Volume::default() };
    Attached::new(&format!("{}/{directory}", layout::SECRETS), volume).read_only()
}

/// Keys of a user's Secret, of the server of the repository.
pub fn repository_secret(name: &str, path: &str, keys: &[&str]) -> Attached {
    let directory = path.rsplit_once('/').map_or(path, |(_, directory)| directory);
    let Attached { volume, mut mount } = secret(name, &format!("repository-{directory}"), keys).optional();
    path.clone_into(&mut mount.mount_path);
    Attached { volume, mount }
}

/// Credentials of the database: the owner's, or all.
pub fn database_secret(instance: &Instance, keys: &[&str]) -> Attached {
    secret(&instance.child("database"), "database", keys)
}

/// All keys of the database's Secret.
pub const DATABASE_KEYS: [&str; 3] = ["username", "password", "backup-password"];

/// The encryption key, unless it is DHIS2's own.
pub fn encryption_secret(instance: &Instance) -> Option<Attached> {
    match &instance.encryption {
        EncryptionKey::Secret { name, .. } => Some(secret(name, "encryption", &["password"])),
        EncryptionKey::Default => None,
    }
}

/// The administrator's account.
pub fn admin_secret(instance: &Instance) -> Attached {
    secret(&instance.child("admin"), "admin", &["username", "password"])
}

/// The key of the repository.
pub fn backup_secret(name: &str) -> Attached {
    secret(name, "backup", &["password"])
}
