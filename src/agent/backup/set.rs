//! A set: the snapshots that belong together, told by their tags.

use std::process::Command;

use super::restic::Snapshot;

/// The kinds of snapshots in a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The file store before the dump.
    Files,
    /// The database.
    Dump,
    /// The file store after the dump: what the dump refers to is there.
    FilesAgain,
    /// What the set holds. Made last: only a set with a manifest exists.
    Manifest,
}

impl Part {
    fn word(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Dump => "dump",
            Self::FilesAgain => "files-again",
            Self::Manifest => "manifest",
        }
    }

    /// The tag `part=…`.
    pub fn tag(self) -> String {
        format!("part={}", self.word())
    }
}

/// Who makes a set.
#[derive(Clone, Copy, Debug)]
pub struct Label<'a> {
    /// Name of the set.
    pub set: &'a str,
    /// Uid of the instance.
    pub instance: &'a str,
    /// Namespace and name of the instance.
    pub name: &'a str,
}

impl Label<'_> {
    /// Marks the snapshot that `restic backup` makes.
    pub fn mark(&self, restic: &mut Command, part: Part) {
        restic.args(["--host", self.name]).args(["--tag", &self.tag()]).args(["--tag", &part.tag()]);
        restic.args(["--tag", &format!("instance={}", self.instance)]);
    }

    fn tag(&self) -> String {
        format!("set={}", self.set)
    }
}

impl Snapshot {
    /// The set that it belongs to.
    pub fn set(&self) -> Option<&str> {
        self.tags.iter().find_map(|tag| tag.strip_prefix("set="))
    }

    /// Whether it makes its set exist.
    pub fn is_manifest(&self) -> bool {
        self.is(Part::Manifest)
    }

    /// Whether it is such a part.
    pub fn is(&self, part: Part) -> bool {
        self.tags.contains(&part.tag())
    }
}
