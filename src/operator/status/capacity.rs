//! How full the volumes are, and when they will be: told while there is time to do something about it.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::ResourceExt;

use super::{backup, conditions::Told};
use crate::{
    api::{
        Dhis2Instance, Reason,
        status::{CapacityStatus, VolumeCapacity},
    },
    operator::{kind::Kind, observe::Observed, quantity},
    report::{BackedUp, Capacity, Data, Filling},
};

/// A volume that is full sooner is told: a person may be away for weeks, and a larger disk may have to be bought.
const SHORT: i64 = 30;
/// A new size should do for so many days.
const ENOUGH: i64 = 180;

/// What the newest backup tells, with what the claims have by now.
pub fn recorded(old: Option<&CapacityStatus>, resource: &Dhis2Instance, observed: &Observed) -> Option<CapacityStatus> {
    let known = old.and_then(|old| old.time.as_ref()).map(|time| time.0);
    let pods = backup::runs(resource, observed, backup::PART).into_iter().map(|(_, pod)| pod).filter(|pod| pod.created > known);
    let reports = pods.flat_map(|pod| pod.reports.iter().map(|report| (pod.created, report)));
    let sets = reports.filter_map(|(started, report)| if let Some(Data::Backup(set)) = &report.data { Some((started, set)) } else { None });
    // An agent of before this was told leaves the capacity out.
    let newest = sets.filter(|(_, set)| set.capacity != Capacity::default()).max_by_key(|(started, _)| *started);
    let mut status = newest.map_or_else(|| old.cloned(), |(started, set)| Some(of(set, started)))?;
    let volumes = [("database", &mut status.database), ("files", &mut status.files), ("backups", &mut status.repository)];
    // What a bucket may hold nobody tells; a claim that the repository has left says nothing of it.
    let in_bucket = resource.spec.backup.repository.s3.is_some();
    for (part, volume) in volumes.into_iter().filter(|(part, _)| !(in_bucket && *part == "backups")) {
        if let (Some(volume), Some(size)) = (volume, claimed(resource, observed, part)) {
            resize(volume, size);
        }
    }
    Some(status)
}

fn of(set: &BackedUp, started: Option<Timestamp>) -> CapacityStatus {
    let volume = |filling: Filling| VolumeCapacity {
        used: i64::try_from(filling.used).unwrap_or(i64::MAX),
        free: filling.free.and_then(|free| i64::try_from(free).ok()),
        per_day: filling.per_day,
        size: None,
        days_to_full: None,
    };
    CapacityStatus {
        time: started.map(Time),
        database: set.capacity.database.map(volume),
        files: set.capacity.files.map(volume),
        repository: set.capacity.repository.map(volume),
    }
}

/// What the claim of a volume has, in bytes.
fn claimed(resource: &Dhis2Instance, observed: &Observed, part: &str) -> Option<i64> {
    let claims = resource.status.as_ref().and_then(|status| status.claims.as_ref());
    let made = claims.and_then(|claims| match part {
        "database" => claims.database.as_ref(),
        "files" => claims.files.as_ref(),
        _ => claims.backups.as_ref(),
    });
    let name = made.map_or_else(|| format!("{}-{part}", resource.name_any()), |made| made.name.clone());
    let slot = observed.slot(Kind::PersistentVolumeClaim, &name)?;
    let capacity = slot.claim()?.capacity.as_ref()?;
    i64::try_from(quantity::bytes(capacity)?).ok()
}

/// A claim that has grown since the backup has so much more free; of the database's volume nobody saw more than what is in use.
fn resize(volume: &mut VolumeCapacity, size: i64) {
    let free = match (volume.free, volume.size) {
        (Some(free), Some(before)) => free.saturating_add((size - before).max(0)),
        (Some(free), None) => free,
        (None, _) => (size - volume.used).max(0),
    };
    (volume.free, volume.size) = (Some(free), Some(size));
    volume.days_to_full = volume.per_day.filter(|per_day| *per_day > 0).map(|per_day| free / per_day);
}

/// The condition `CapacitySufficient`.
pub fn sufficient(status: &CapacityStatus) -> Told {
    let told = |holds, reason, message: String| Told { kind: "CapacitySufficient", holds, reason, message };
    let volumes = [
        ("the database", "spec.database.bundled.storage.size", &status.database),
        ("the files", "spec.files.volume.size", &status.files),
        ("the backups", "spec.backup.repository.volume.size", &status.repository),
    ];
    let short: Vec<String> = volumes.iter().filter_map(|(of, field, volume)| short(of, field, volume.as_ref()?)).collect();
    if !short.is_empty() {
        return told(false, Reason::CapacityShort, short.join(" "));
    }
    let is_known = volumes.iter().any(|(_, _, volume)| volume.as_ref().is_some_and(|volume| volume.per_day.is_some()));
    let message = if is_known {
        format!("No volume will be full within {SHORT} days.")
    } else {
        "How fast the volumes fill is known when there are backups of three days.".to_owned()
    };
    told(true, Reason::Done, message)
}

fn short(of: &str, field: &str, volume: &VolumeCapacity) -> Option<String> {
    let days = volume.days_to_full.filter(|days| *days < SHORT)?;
    let (per_day, free) = (volume.per_day?, volume.free?);
    let (growth, free) = (quantity::rough(per_day), quantity::rough(free));
    Some(format!(
        "The volume of {of} has {free} free and grows by {growth} a day: it is full in about {days} days. Set {field} to {}.",
        enough(volume.size?, per_day)
    ))
}

/// A size that does for half a year, in whole Gi.
fn enough(size: i64, per_day: i64) -> String {
    const GIB: i64 = 1 << 30;
    let bytes = size.saturating_add(per_day.saturating_mul(ENOUGH));
    format!("{}Gi", bytes / GIB + i64::from(bytes % GIB > 0))
}

#[cfg(test)]
mod tests;
