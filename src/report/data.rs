//! What finished verbs found or made.

use serde::{Deserialize, Serialize};

use crate::dhis2::version::Version;

/// What a finished verb found or made, by verb.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Data {
    /// Of `database build`.
    DatabaseBuild(Built),
    /// Of `check`.
    Check(Checked),
    /// Of `bootstrap`.
    Bootstrap(Bootstrapped),
    /// Of `backup`.
    Backup(Box<BackedUp>),
    /// Of `verify`.
    Verify(Verified),
    /// Of `restore`.
    Restore(Restored),
    /// Of `import`.
    Import(Imported),
    /// Of `copy`.
    Copy(Copied),
    /// Of `rehearse`.
    Rehearse(Rehearsed),
    /// Of `analytics`.
    Analytics(Generated),
}

impl Data {
    /// When a database volume was finished, and PostgreSQL's own identifier of it.
    pub fn database(&self) -> Option<(&str, &str)> {
        match self {
            Self::DatabaseBuild(built) => Some((&built.built_at, &built.system_identifier)),
            Self::Restore(restored) => Some((&restored.built_at, &restored.system_identifier)),
            Self::Import(imported) => Some((&imported.built_at, &imported.system_identifier)),
            Self::Check(_)
            | Self::Bootstrap(_)
            | Self::Backup(_)
            | Self::Verify(_)
            | Self::Rehearse(_)
            | Self::Copy(_)
            | Self::Analytics(_) => None,
        }
    }
}

/// The volumes of a new instance that were built from a dump.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    /// Path of the dump on the claim that people brought it on.
    pub dump: String,
    /// The newest of DHIS2's migrations in it.
    pub schema: String,
    /// Uid of the instance that the volumes belong to.
    pub instance: String,
    /// Major version of PostgreSQL.
    pub postgresql: u32,
    /// PostgreSQL's own identifier of the data directory.
    pub system_identifier: String,
    /// When they were finished, RFC 3339.
    pub built_at: String,
    /// How long it took to load database and files, in seconds.
    pub seconds: u64,
    /// Size of the database in bytes.
    pub database_bytes: u64,
    /// Files that were copied.
    pub files: u64,
    /// Their size in bytes.
    pub file_bytes: u64,
    /// Rows of `fileresource`.
    pub references: u64,
    /// Those of them whose file is not there.
    pub references_without_file: u64,
}

/// New volumes that were built from a set, and found to be as its manifest says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// Name of the set.
    pub set: String,
    /// The moment of which it is, RFC 3339.
    pub created: String,
    /// The newest DHIS2 that its database was started with.
    pub dhis2: Version,
    /// Uid of the instance that the volumes belong to.
    pub instance: String,
    /// Major version of PostgreSQL.
    pub postgresql: u32,
    /// PostgreSQL's own identifier of the data directory.
    pub system_identifier: String,
    /// When they were finished, RFC 3339.
    pub built_at: String,
    /// How long it took to restore and compare database and files, in seconds.
    pub seconds: u64,
    /// Size of the database in bytes.
    pub database_bytes: u64,
    /// Rows in it.
    pub rows: u64,
    /// Files of the file store.
    pub files: u64,
    /// Their size in bytes.
    pub file_bytes: u64,
}

/// A set that was restored and found to be as its manifest says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// Its name.
    pub set: String,
    /// The moment of which it is, RFC 3339.
    pub created: String,
    /// When it was restored, RFC 3339.
    pub verified: String,
    /// How long it took to restore and compare database and files, in seconds.
    pub seconds: u64,
    /// Bytes that were restored: the dump and the files.
    pub bytes: u64,
    /// How long DHIS2 took until it served on what was restored, in seconds; none when it was not started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_seconds: Option<u64>,
    /// The copy that it was restored from, as restic names it; none for the instance's own repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<String>,
}

/// A version that serves on a copy of the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rehearsed {
    /// The version, by its own word.
    pub version: Version,
    /// From its start until it served, in seconds, migrations included.
    pub seconds: u64,
}

/// What became of the analytics tables; the message says why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Generated {
    /// What came of it.
    pub outcome: Generation,
    /// How long DHIS2 took, in seconds.
    pub seconds: u64,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr, strum::EnumString)]
pub enum Generation {
    /// All were generated.
    Generated,
    /// There was nothing to generate.
    NotNeeded,
    /// This DHIS2 is not asked for them in its database.
    ByHand,
    /// They were not, or not all.
    Failed,
}

/// Sets that are in a second repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Copied {
    /// Name of the copy.
    pub copy: String,
    /// Where it is, as restic names it.
    pub repository: String,
    /// Name of the newest set in it.
    pub set: String,
    /// The moment of which that set is, RFC 3339.
    pub created: String,
    /// When it was seen to be there, RFC 3339.
    pub copied: String,
    /// Sets in the copy.
    pub sets: u64,
    /// Sets of the repository that are not in the copy: older ones than the newest.
    pub missing: u64,
    /// What the copy takes, in bytes; none when nothing was added to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// How long it took.
    pub seconds: u64,
    /// What became of old sets in the copy.
    pub retention: Retention,
    /// By which the copy's key is known: the first sixteen digits of its SHA-256.
    pub key: String,
}

/// A finished database volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Built {
    /// Uid of the instance that it belongs to.
    pub instance: String,
    /// Major version of PostgreSQL.
    pub postgresql: u32,
    /// PostgreSQL's own identifier of the data directory.
    pub system_identifier: String,
    /// When it was finished, RFC 3339.
    pub built_at: String,
}

/// What DHIS2 was allowed to start on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// The version in the image.
    pub version: Version,
    /// The version that was started on this database before; none on a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_started: Option<Version>,
    /// The newest schema version in the database; none on a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
}

/// A DHIS2 whose default password is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bootstrapped {
    /// The version that runs, by its own word.
    pub version: Version,
    /// Whose the administrator's password is.
    pub admin_password: AdminPassword,
    /// Whether admin/district is refused. The door may be opened only when this is true.
    pub district_refused: bool,
}

/// Whose the administrator's password is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminPassword {
    /// The generated one of the Secret.
    Generated,
    /// People have changed it: it is theirs.
    Foreign,
}

/// A backup set that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackedUp {
    /// Its name.
    pub set: String,
    /// The moment that the database is restored to, RFC 3339.
    pub created: String,
    /// What it added to the repository, in bytes.
    pub bytes_added: u64,
    /// Files of the file store.
    pub files: u64,
    /// Their size in bytes.
    pub file_bytes: u64,
    /// Whether some of them could not be read.
    pub files_incomplete: bool,
    /// Rows of `fileresource` whose file is not in the store.
    pub references_without_file: u64,
    /// Tables whose data is in the dump.
    pub tables: u64,
    /// Rows in them.
    pub rows: u64,
    /// How long the set took.
    pub seconds: u64,
    /// What became of old sets.
    pub retention: Retention,
    /// Sets in the repository.
    pub sets_kept: u64,
    /// When the oldest of them was made, RFC 3339.
    pub oldest: String,
    /// By which the repository's key is known: the first sixteen digits of its SHA-256.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// How full the volumes are, and how fast they fill.
    #[serde(default)]
    pub capacity: Capacity,
    /// What it has much less of than a set before it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shrunk: Option<String>,
    /// Size of the database in bytes, with what is not in the dump.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_bytes: Option<u64>,
    /// The newest version of DHIS2 that has changed the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhis2: Option<Version>,
    /// PostgreSQL's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgresql: Option<String>,
    /// The set that was restored last, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
    /// The sets of the repository, newest first; of very many, the newest ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listed: Vec<Listed>,
}

/// A set of the repository, as its snapshots tell without a look at its manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// Its name.
    pub set: String,
    /// About the moment of which it is, in seconds since 1970.
    pub time: i64,
    /// When it was proven last, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<i64>,
    /// Namespace and name of the instance that made it, where that is not the one that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// How full the volumes were when a set was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Of the database: what it takes and the write-ahead log may take. A backup does not see that volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<Filling>,
    /// Of DHIS2's files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Filling>,
    /// Of the backup repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<Filling>,
}

/// How full a volume is, and how fast it fills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filling {
    /// Bytes in use.
    pub used: u64,
    /// Bytes that can still be written, where the volume was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free: Option<u64>,
    /// Bytes by which it has grown a day of late; none while no older set tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_day: Option<i64>,
}

/// What became of old sets after a new one was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retention {
    /// Those that are not to be kept are gone.
    Done,
    /// Somebody else uses the repository, or the new set lacks files: the next backup does it.
    Postponed,
    /// It went wrong; the message says how. The new set counts all the same.
    Failed,
}
