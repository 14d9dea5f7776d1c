//! What an agent verb leaves for the operator: one JSON document in the termination message of its container.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::dhis2::version::Version;

/// Longest report in bytes. The kubelet keeps 4096 of one container's message and 12 kB of a pod's; the operator stores it in status.
pub const MAX_BYTES: usize = 2000;

/// The end of one verb, told to the operator. Never carries a secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What was run.
    pub verb: Verb,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, when the cause is one of those that have a page of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Refusal>,
    /// For people: what happened, where, what to do.
    pub message: String,
    /// What a finished verb found or made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
}

/// The agent's verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Verb {
    /// Copies the agent and restic into a pod.
    Install,
    /// Makes a database volume.
    DatabaseBuild,
    /// Serves a database volume.
    DatabaseRun,
    /// Asks whether the database answers.
    DatabaseCheck,
    /// Decides whether DHIS2 may start.
    Check,
    /// Asks whether DHIS2 has started, and ends one whose start has failed.
    Startup,
    /// Sees beside a server what no probe can.
    Watch,
    /// Replaces the default password of a fresh DHIS2.
    Bootstrap,
    /// Makes a backup set.
    Backup,
    /// Restores a backup set on scratch space and compares it with its manifest.
    Verify,
    /// Waits for a DHIS2 on a restored backup set.
    Prove,
    /// Builds new volumes from a backup set.
    Restore,
    /// Builds the volumes of a new instance from a dump.
    Import,
    /// Prints what brings an instance back.
    Recover,
    /// Prints what to keep in the safe.
    RecoverySheet,
    /// Copies sets to a second repository.
    Copy,
    /// Waits for a DHIS2 on a copy of the database.
    Rehearse,
}

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display)]
pub enum Outcome {
    /// Finished. Running it again gives the same.
    Done,
    /// Not finished: written while it waits, so that the message of a container that was killed tells for what.
    Waiting,
    /// Two things disagree; running it again does not help by itself.
    Refused,
    /// Went wrong; running it again may help.
    Failed,
}

/// Causes that the operator and the runbooks know by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, EnumIter, IntoStaticStr)]
pub enum Refusal {
    /// The volume holds a data directory that no build has finished, or nothing at all: nothing is initialised over it, nothing is served from it.
    VolumeUnmarked,
    /// The volume or the database belongs to another instance.
    VolumeForeign,
    /// The volume's mark says that it is finished, but its data directory is missing or incomplete.
    VolumeDamaged,
    /// The image has no PostgreSQL of the volume's major version.
    PostgresVersionMismatch,
    /// The encryption key is not the one that the database was made with.
    EncryptionKeyMismatch,
    /// The image holds another DHIS2 than the resource says.
    ImageVersionMismatch,
    /// The database has been used by a newer DHIS2.
    DowngradeRefused,
    /// The database could not be reached in time.
    DatabaseUnreachable,
    /// The database takes no writes.
    DatabaseReadOnly,
    /// The database has no connection left.
    ConnectionsExhausted,
    /// The database refuses the password of the Secret.
    DatabasePasswordRefused,
    /// The database lacks an extension that DHIS2 needs.
    ExtensionMissing,
    /// A Secret that the resource names holds no text under its key.
    SecretMissing,
    /// DHIS2's file store can't be written: DHIS2 would accept uploads and lose them.
    FilesNotWritable,
    /// DHIS2 has failed to start: it answered 404, which it does for ever, and was ended.
    StartFailed,
    /// Somebody else holds the repository.
    RepositoryLocked,
    /// The repository can't be opened with the key of the Secret.
    RepositoryKeyMismatch,
    /// The place of the repository is full: its volume, or what its bucket may hold.
    RepositoryFull,
    /// The server of the repository can't be reached, or is not the one that it should be.
    RepositoryUnreachable,
    /// The server of the repository does not let the instance do what it has to.
    RepositoryAccessDenied,
    /// The repository is another instance's, of this cluster or another one.
    RepositoryForeign,
    /// A process of the server was killed from outside.
    Killed,
    /// The database's volume is full.
    DiskFull,
    /// The dump of the database broke off.
    DumpFailed,
    /// The repository does not give back what was written to it.
    RepositoryDamaged,
    /// The repository has no set of the name that is asked for.
    SetUnknown,
    /// A set lacks one of its parts.
    SetIncomplete,
    /// A set was made by a newer release.
    SetNewer,
    /// PostgreSQL does not take the dump.
    RestoreFailed,
    /// What was restored is not what the manifest says.
    ContentsDiffer,
    /// The scratch space is too small for what is restored.
    ScratchTooSmall,
    /// A new volume is too small for what is restored to it.
    VolumeTooSmall,
    /// The dump that a new instance is to begin with can't be loaded.
    ImportFailed,
    /// The new version of an upgrade does not serve on a copy of the database.
    RehearsalFailed,
    /// DHIS2 does not serve on what was restored of a set.
    ApplicationTestFailed,
}

impl Refusal {
    /// Whether running the verb again may help, with nothing else changed.
    pub fn heals(self) -> bool {
        matches!(
            self,
            Self::DatabaseUnreachable
                | Self::ConnectionsExhausted
                | Self::StartFailed
                | Self::RepositoryLocked
                | Self::RepositoryUnreachable
                | Self::DumpFailed
                | Self::Killed
        )
    }
}

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
}

impl Data {
    /// When a database volume was finished, and PostgreSQL's own identifier of it.
    pub fn database(&self) -> Option<(&str, &str)> {
        match self {
            Self::DatabaseBuild(built) => Some((&built.built_at, &built.system_identifier)),
            Self::Restore(restored) => Some((&restored.built_at, &restored.system_identifier)),
            Self::Import(imported) => Some((&imported.built_at, &imported.system_identifier)),
            Self::Check(_) | Self::Bootstrap(_) | Self::Backup(_) | Self::Verify(_) | Self::Rehearse(_) | Self::Copy(_) => None,
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

impl Report {
    /// The report as JSON of at most [`MAX_BYTES`]; a long message is cut, the data never.
    pub fn to_json(&self) -> String {
        let mut cut = self.clone();
        loop {
            let json = serde_json::to_string(&cut).unwrap_or_default();
            let surplus = json.len().saturating_sub(MAX_BYTES);
            if surplus == 0 || cut.message.is_empty() {
                return json;
            }
            // A cut character may have been an escape of up to six bytes: cutting by the surplus converges and never empties early.
            let keep = cut.message.len().saturating_sub(surplus.div_ceil(6) + '…'.len_utf8());
            cut.message.truncate(cut.message.floor_char_boundary(keep));
            if !cut.message.is_empty() {
                cut.message.push('…');
            }
        }
    }

    /// Reads a termination message. `None` when it holds no report, as after a kill. A report of a newer agent is read as far as
    /// it is understood: an unknown reason makes it `Failed`, unknown data is left out.
    pub fn parse(text: &str) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_str(text.trim()).ok()?;
        let field = |name: &str| value.get(name).cloned();
        let reason = match field("reason") {
            None | Some(serde_json::Value::Null) => Ok(None),
            Some(reason) => serde_json::from_value(reason).map(Some),
        };
        let outcome = serde_json::from_value(field("outcome")?).unwrap_or(Outcome::Failed);
        Some(Self {
            verb: serde_json::from_value(field("verb")?).ok()?,
            outcome: if reason.is_ok() { outcome } else { Outcome::Failed },
            reason: reason.unwrap_or(None),
            message: field("message").and_then(|message| message.as_str().map(str::to_owned)).unwrap_or_default(),
            data: field("data").and_then(|data| serde_json::from_value(data).ok()),
        })
    }
}

/// Reports for tests.
#[cfg(test)]
pub mod fixture {
    use super::{BackedUp, Capacity, Retention};

    /// Of a set without peculiarities.
    pub fn set(name: &str, created: &str) -> BackedUp {
        BackedUp {
            set: name.into(),
            created: created.into(),
            bytes_added: 1,
            files: 1,
            file_bytes: 1,
            files_incomplete: false,
            references_without_file: 0,
            tables: 1,
            rows: 1,
            seconds: 1,
            retention: Retention::Done,
            sets_kept: 1,
            oldest: created.into(),
            key: String::new(),
            capacity: Capacity::default(),
            database_bytes: None,
            dhis2: None,
            postgresql: None,
            verified: None,
            shrunk: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(message: &str) -> Report {
        let data = Bootstrapped { version: "2.42.4.1".parse().unwrap(), admin_password: AdminPassword::Generated, district_refused: true };
        Report {
            verb: Verb::Bootstrap,
            outcome: Outcome::Done,
            reason: None,
            message: message.to_owned(),
            data: Some(Data::Bootstrap(data)),
        }
    }

    #[test]
    fn a_report_survives_the_way() {
        let sent = report("the default password is gone");
        assert_eq!(Report::parse(&sent.to_json()), Some(sent));
    }

    #[test]
    fn a_long_message_is_cut_and_still_says_what_it_can() {
        for filler in ["a", "é", "\"", "\u{1}", "\n"] {
            let json = report(&filler.repeat(4000)).to_json();
            assert!(json.len() <= MAX_BYTES, "{filler:?} gives {}", json.len());
            assert!(json.len() > MAX_BYTES - 40, "{filler:?} gives {}", json.len());
            let read = Report::parse(&json).unwrap();
            assert!(read.message.ends_with('…'));
            assert_eq!(read.data, report("").data);
        }
    }

    #[test]
    fn what_a_newer_agent_says_is_read_as_far_as_possible() {
        let read =
            Report::parse(r#"{"verb":"check","outcome":"Refused","reason":"MoonFull","message":"wait","data":{"moon":{}}}"#).unwrap();
        assert_eq!((read.outcome, read.reason, read.message.as_str(), read.data), (Outcome::Failed, None, "wait", None));
    }

    #[test]
    fn other_messages_are_no_report() {
        for text in ["", "Killed", "{}", "[]", r#"{"verb":"dance","outcome":"Done"}"#] {
            assert_eq!(Report::parse(text), None, "{text}");
        }
    }
}
