//! What an agent verb leaves for the operator: one JSON document in the termination message of its container.

mod data;
mod refusal;

use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr};

pub use data::*;
pub use refusal::Refusal;

/// Longest report in bytes. The kubelet keeps 4096 of one container's message and 12 kB of a pod's.
pub const MAX_BYTES: usize = 4000;
/// Bytes of a report that the list of sets may take.
pub const MAX_LISTED: usize = 2000;

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
    /// Has DHIS2 generate its analytics tables.
    Analytics,
    /// Removes a set.
    Remove,
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
            listed: Vec::new(),
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
