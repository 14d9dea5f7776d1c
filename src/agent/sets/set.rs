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
    /// That the set was restored, and how. Made later, each time that it is.
    Proof,
}

impl Part {
    fn word(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Dump => "dump",
            Self::FilesAgain => "files-again",
            Self::Manifest => "manifest",
            Self::Proof => "proof",
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

/// The name of a set that this instance is to make or has made: as it is asked for, unless an instance whose volumes were
/// taken over had a set of that name. Its first backup is called like this one's.
pub fn name(snapshots: &[Snapshot], asked: &str, instance: &str) -> String {
    let taken = |snapshot: &Snapshot| snapshot.is_manifest() && snapshot.set() == Some(asked) && snapshot.instance() != Some(instance);
    if !snapshots.iter().any(taken) {
        return asked.to_owned();
    }
    let short: String = instance.chars().take(8).collect();
    format!("{asked}-{short}")
}

impl Snapshot {
    /// The uid of the instance that made it.
    pub fn instance(&self) -> Option<&str> {
        self.tags.iter().find_map(|tag| tag.strip_prefix("instance="))
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(set: &str, part: Part, instance: &str) -> Snapshot {
        let tags = vec![format!("set={set}"), part.tag(), format!("instance={instance}")];
        Snapshot { id: "1".into(), original: None, time: jiff::Timestamp::UNIX_EPOCH, hostname: String::new(), tags, paths: Vec::new() }
    }

    #[test]
    fn the_first_set_after_an_adoption_is_not_taken_for_that_of_the_former_instance() {
        let first = snapshot("play-backup-first", Part::Manifest, "11111111-aaaa");
        let name_for = |instance: &str| name(std::slice::from_ref(&first), "play-backup-first", instance);
        assert_eq!(name_for("11111111-aaaa"), "play-backup-first");
        assert_eq!(name_for("22222222-bbbb"), "play-backup-first-22222222");
    }

    #[test]
    fn a_half_set_takes_no_name() {
        let half = snapshot("play-backup-first", Part::Dump, "11111111-aaaa");
        assert_eq!(name(&[half], "play-backup-first", "22222222-bbbb"), "play-backup-first");
    }
}
