//! The manifest of a backup set: its last snapshot, a file `manifest.json`. Only a set with a manifest exists. It tells what the
//! set holds, so that a restored one can be compared with it, and carries what else is needed: the resource and the Secrets.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::restic::{self, Repository};
use crate::agent::failure::Failure;
use crate::agent::volume::Space;
use crate::dhis2::version::Version;
use crate::report::{BackedUp, Capacity, Refusal, Retention, Verified};

/// The form of the manifest that this agent writes.
pub const FORMAT: u32 = 1;
/// The manifest's name in its snapshot.
pub const FILE: &str = "manifest.json";
/// The dump's name in its snapshot.
pub const DUMP: &str = "dhis2.dump";

/// A manifest that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// restic does not give it.
    #[error(transparent)]
    Restic(#[from] restic::Error),
    /// It makes no sense.
    #[error("understand the manifest")]
    Understand(#[source] serde_json::Error),
    /// A later form.
    #[error(
        "the manifest has format {0}, this release knows {FORMAT}: the set was made by a newer release of the operator, which has to read it"
    )]
    Newer(u32),
}

impl Failure for Error {
    fn reason(&self) -> Option<Refusal> {
        match self {
            Self::Restic(error) => error.reason(),
            Self::Understand(_) => None,
            Self::Newer(_) => Some(Refusal::SetNewer),
        }
    }
}

/// Reads the manifest of this snapshot.
pub fn read(repository: &Repository, snapshot: &str) -> Result<Manifest, Error> {
    #[derive(Deserialize)]
    struct Form {
        format: u32,
    }
    let path = format!("/{FILE}");
    let text = repository.output("read the manifest", |command| _ = command.args(["dump", snapshot, &path]))?;
    // A later form need not have the fields of this one.
    match serde_json::from_slice(&text).map_err(Error::Understand)? {
        Form { format } if format > FORMAT => Err(Error::Newer(format)),
        Form { .. } => serde_json::from_slice(&text).map_err(Error::Understand),
    }
}

/// All that is known of a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Name of the set.
    pub set: String,
    /// Uid of the instance.
    pub instance: String,
    /// Namespace and name of the instance.
    pub name: String,
    /// The moment that the database is restored to, RFC 3339.
    pub created: String,
    /// DHIS2 and its schema.
    pub dhis2: Dhis2,
    /// PostgreSQL and its extensions.
    pub postgresql: Postgresql,
    /// The key that encrypted values were written with.
    pub encryption_key: EncryptionKey,
    /// The dump of the database.
    pub dump: Dump,
    /// What the dump holds, to compare a restored database with.
    pub contents: Contents,
    /// The file store.
    pub files: Files,
    /// What it has much less of than a set before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shrunk: Option<Shrunk>,
    /// Volumes, by what they are for.
    pub volumes: BTreeMap<String, Space>,
    /// What a repository in a bucket takes before this manifest, in bytes; of one on a volume [`Manifest::volumes`] tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository_bytes: Option<u64>,
    /// Bytes that the set added to the repository, but for this manifest.
    pub bytes_added: u64,
    /// How long each step took, in seconds.
    pub seconds: BTreeMap<String, f64>,
    /// The `Dhis2Instance`.
    pub resource: serde_json::Value,
    /// The Secrets, by `<secret>/<key>`. The repository is encrypted: its key opens all of them.
    pub secrets: BTreeMap<String, String>,
}

/// That a set has much less than one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shrunk {
    /// The set that it was held against.
    pub than: String,
    /// Of what, for people.
    pub what: String,
}

/// DHIS2 and its schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dhis2 {
    /// The version of the resource.
    pub version: Version,
    /// The newest that was started on the database: not the one of the resource while that one is still to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_started: Option<Version>,
    /// The newest version in `flyway_schema_history`; none in a database that DHIS2 has not been started on.
    pub schema: Option<String>,
}

impl Dhis2 {
    /// The newest that has changed the database.
    pub fn used(&self) -> Version {
        self.last_started.unwrap_or(self.version)
    }
}

/// PostgreSQL and its extensions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Postgresql {
    /// Such as `17.5`.
    pub version: String,
    /// Versions by name.
    pub extensions: BTreeMap<String, String>,
    /// Size of the database in bytes, with what is not in the dump.
    pub bytes: u64,
    /// Size of the tables whose data is in the dump, with their indexes, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dumped_bytes: Option<u64>,
    /// What the write-ahead log may take beside it (`max_wal_size`), in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal_bytes: Option<u64>,
}

/// The key that encrypted values were written with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EncryptionKey {
    /// Random, public.
    pub salt: String,
    /// SHA-256 of salt and key in hexadecimal, or `default`.
    pub digest: String,
    /// Whether the key in [`Manifest::secrets`] is that key.
    pub in_secrets: bool,
}

/// The dump of the database, `dhis2.dump` in its snapshot, for `pg_restore`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dump {
    /// Identifier of the snapshot.
    pub snapshot: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Patterns of tables whose data is not in it.
    pub excluded_data: Vec<String>,
    /// Patterns of tables and views that are not in it at all.
    #[serde(default)]
    pub excluded_tables: Vec<String>,
    /// Schemas that are not in it.
    pub excluded_schemas: Vec<String>,
}

/// What the dump holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contents {
    /// Rows of every table whose data is in the dump, by `schema.table`.
    pub rows: BTreeMap<String, u64>,
    /// Of some tables of schema `public`: `md5(string_agg(md5(t::text), '' ORDER BY md5(t::text)))`, in time zone UTC.
    pub sums: BTreeMap<String, String>,
}

/// The file store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Files {
    /// Identifier of the snapshot that was made before the dump.
    pub before: String,
    /// Identifier of the one that was made after it: the one to restore.
    pub after: String,
    /// Files in the latter.
    pub count: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Whether all of them could be read.
    pub complete: bool,
    /// Rows of `fileresource`.
    pub references: u64,
    /// How many of them have no file in the store.
    pub references_without_file: u64,
    /// Storage keys of a few of those.
    pub without_file: Vec<String>,
}

impl Manifest {
    /// Why no older set may go on account of this one.
    pub fn doubt(&self) -> Option<&'static str> {
        if !self.files.complete {
            Some("this one lacks files")
        } else if self.shrunk.is_some() {
            Some("this one has much less than before")
        } else {
            None
        }
    }

    /// What the operator is told, with what the repository holds by now.
    pub fn report(&self, retention: Retention, sets_kept: u64, oldest: String, verified: Option<Verified>, capacity: Capacity) -> BackedUp {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // sums of elapsed times
        let seconds = self.seconds.values().sum::<f64>().ceil() as u64;
        BackedUp {
            set: self.set.clone(),
            created: self.created.clone(),
            bytes_added: self.bytes_added,
            files: self.files.count,
            file_bytes: self.files.bytes,
            files_incomplete: !self.files.complete,
            references_without_file: self.files.references_without_file,
            tables: u64::try_from(self.contents.rows.len()).unwrap_or(u64::MAX),
            rows: self.contents.rows.values().sum(),
            seconds,
            retention,
            sets_kept,
            oldest,
            key: String::new(),
            capacity,
            database_bytes: Some(self.postgresql.bytes),
            dhis2: Some(self.dhis2.used()),
            postgresql: Some(self.postgresql.version.clone()),
            verified,
            listed: Vec::new(),
            shrunk: self.shrunk.as_ref().map(|shrunk| format!("{} in set {}", shrunk.what, shrunk.than)),
        }
    }
}

/// Every mounted Secret, by `<secret>/<key>`. Kubernetes keeps the files of a mounted Secret behind links that begin with two dots.
pub fn secrets(directory: &Path) -> std::io::Result<BTreeMap<String, String>> {
    let mut secrets = BTreeMap::new();
    for secret in fs::read_dir(directory)? {
        let secret = secret?;
        if !secret.path().is_dir() {
            continue;
        }
        for key in fs::read_dir(secret.path())? {
            let (path, name) = key.map(|key| (key.path(), key.file_name()))?;
            if path.is_file() && !name.to_string_lossy().starts_with("..") {
                let label = format!("{}/{}", secret.file_name().to_string_lossy(), name.to_string_lossy());
                secrets.insert(label, fs::read_to_string(path)?);
            }
        }
    }
    Ok(secrets)
}

/// Manifests for tests.
#[cfg(test)]
pub mod fixture {
    use serde_json::json;

    use super::Manifest;

    /// Of a set that holds nothing.
    pub fn manifest(set: &str, created: &str) -> Manifest {
        serde_json::from_value(json!({
            "format": 1, "set": set, "instance": "uid-1", "name": "demo/play", "created": created,
            "dhis2": {"version": "2.42.4", "schema": null}, "postgresql": {"version": "17.5", "extensions": {}, "bytes": 1},
            "encryptionKey": {"salt": "", "digest": "default", "inSecrets": true},
            "dump": {"snapshot": "1", "bytes": 1, "excludedData": [], "excludedSchemas": []},
            "contents": {"rows": {}, "sums": {}},
            "files": {"before": "2", "after": "3", "count": 0, "bytes": 1, "complete": true, "references": 0, "referencesWithoutFile": 0, "withoutFile": []},
            "volumes": {}, "bytesAdded": 1, "seconds": {}, "resource": {}, "secrets": {}
        }))
        .unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_as_kubernetes_mounts_them() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("database/..2026_11_25");
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("password"), "p").unwrap();
        std::os::unix::fs::symlink("..2026_11_25", directory.path().join("database/..data")).unwrap();
        std::os::unix::fs::symlink("..data/password", directory.path().join("database/password")).unwrap();
        let expected = BTreeMap::from([("database/password".to_owned(), "p".to_owned())]);
        assert_eq!(secrets(directory.path()).unwrap(), expected);
    }
}
