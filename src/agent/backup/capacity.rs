//! How full the volumes are, and how fast they fill: what a set's manifest says, held against one of about a week before.

use jiff::{SignedDuration, Timestamp};

use crate::agent::sets::manifest::Manifest;
use crate::agent::sets::restic::Snapshot;
use crate::report::{Capacity, Filling};

/// Work goes by the week, and what was imported once is no growth any more after one.
const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);
/// A shorter time says nothing: the first days of an instance are its setting up.
const LEAST: SignedDuration = SignedDuration::from_hours(3 * 24);

/// The manifest from which growth is measured: the newest that is a week older or, of a young instance, the oldest that is three days older.
pub fn base(snapshots: &[Snapshot], now: Timestamp) -> Option<&Snapshot> {
    let older =
        |than: SignedDuration| snapshots.iter().filter(move |snapshot| snapshot.is_manifest() && now.duration_since(snapshot.time) >= than);
    older(WEEK).max_by_key(|manifest| manifest.time).or_else(|| older(LEAST).min_by_key(|manifest| manifest.time))
}

/// What `now` tells, and how it has changed since `before`.
pub fn capacity(now: &Manifest, before: Option<&Manifest>) -> Capacity {
    let growth = |used: &dyn Fn(&Manifest) -> Option<u64>| {
        let before = before?;
        per_day(used(before)?, used(now)?, now.created.parse::<Timestamp>().ok()?.duration_since(before.created.parse().ok()?))
    };
    let volume = |name: &str| {
        let used = |manifest: &Manifest| manifest.volumes.get(name).map(|space| space.size.saturating_sub(space.free));
        Some(Filling { used: used(now)?, free: Some(now.volumes.get(name)?.free), per_day: growth(&used) })
    };
    let database = Filling {
        used: now.postgresql.bytes + now.postgresql.wal_bytes.unwrap_or(0),
        free: None,
        per_day: growth(&|manifest| Some(manifest.postgresql.bytes)),
    };
    // Of a bucket nobody knows what it still takes.
    let bucket = || Some(Filling { used: now.repository_bytes?, free: None, per_day: growth(&|manifest| manifest.repository_bytes) });
    Capacity { database: Some(database), files: volume("files"), repository: volume("backups").or_else(bucket) }
}

fn per_day(before: u64, now: u64, time: SignedDuration) -> Option<i64> {
    let (before, now, seconds) = (i128::from(before), i128::from(now), i128::from(time.as_secs()));
    (time >= LEAST).then(|| i64::try_from((now - before) * 86_400 / seconds).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::sets::manifest::fixture;
    use crate::agent::volume::Space;

    fn at(day: u32) -> String {
        format!("2026-11-{day:02}T01:00:00Z")
    }

    fn snapshot(day: u32, part: &str) -> Snapshot {
        let tags = ["set=a".to_owned(), format!("part={part}")].to_vec();
        Snapshot {
            id: format!("{part}-{day}"),
            original: None,
            time: at(day).parse().unwrap(),
            hostname: String::new(),
            tags,
            paths: Vec::new(),
        }
    }

    fn base_of(days: &[u32], now: u32) -> Option<String> {
        let mut snapshots: Vec<Snapshot> = days.iter().map(|day| snapshot(*day, "manifest")).collect();
        snapshots.push(snapshot(1, "dump"));
        base(&snapshots, at(now).parse().unwrap()).map(|snapshot| snapshot.id.clone())
    }

    #[test]
    fn growth_is_measured_over_a_week_or_what_there_is_of_it() {
        assert_eq!(base_of(&[2, 5, 12, 13, 14, 20], 20).as_deref(), Some("manifest-13"), "the newest that is a week old");
        assert_eq!(base_of(&[14, 16, 20], 20).as_deref(), Some("manifest-14"), "six days are more than four");
        assert_eq!(base_of(&[18, 19, 20], 20), None, "two days are the setting up");
    }

    #[test]
    fn what_grows_is_told_by_the_day() {
        let gib = 1 << 30;
        let manifest = |day, database: u64, free: u64| {
            let mut manifest = fixture::manifest("a", &at(day));
            (manifest.postgresql.bytes, manifest.postgresql.wal_bytes) = (database * gib, Some(gib));
            manifest.volumes.insert("files".into(), Space { size: 20 * gib, free: free * gib });
            manifest
        };
        let (before, now) = (manifest(1, 3, 8), manifest(9, 11, 16));
        let gib = i64::try_from(gib).unwrap();
        let told = capacity(&now, Some(&before));
        assert_eq!(told.database, Some(Filling { used: 12 << 30, free: None, per_day: Some(gib) }));
        assert_eq!(told.files, Some(Filling { used: 4 << 30, free: Some(16 << 30), per_day: Some(-gib) }), "somebody has tidied up");
        assert_eq!(told.repository, None, "a manifest that does not tell");
        let in_bucket = |manifest: Manifest, bytes| Manifest { repository_bytes: Some(bytes), ..manifest };
        let told_of_bucket = capacity(&in_bucket(now.clone(), 9 << 30), Some(&in_bucket(before.clone(), 1 << 30)));
        assert_eq!(told_of_bucket.repository, Some(Filling { used: 9 << 30, free: None, per_day: Some(gib) }));
        assert_eq!(capacity(&now, None).database.and_then(|filling| filling.per_day), None);
        assert_eq!(capacity(&now, Some(&manifest(8, 3, 8))).files.and_then(|filling| filling.per_day), None, "a day is too little");
    }
}
