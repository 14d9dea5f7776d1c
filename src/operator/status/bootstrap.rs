//! What a new instance began with.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::conditions::Told;
use crate::{
    api::{Dhis2Instance, Dhis2InstanceStatus, Reason, status::BootstrapStatus},
    report::Data,
};

/// The dump or the set that was loaded.
pub fn recorded(loaded: &Data, now: Timestamp) -> Option<BootstrapStatus> {
    let time = |built: &str| Some(built.parse().map_or(Time(now), Time));
    match loaded {
        Data::Import(imported) => Some(BootstrapStatus {
            dump: Some(imported.dump.clone()),
            schema: Some(imported.schema.clone()),
            finished: time(&imported.built_at),
            seconds: number(imported.seconds),
            database_bytes: number(imported.database_bytes),
            files: number(imported.files),
            file_bytes: number(imported.file_bytes),
            references: number(imported.references),
            missing_files: number(imported.references_without_file),
            ..BootstrapStatus::default()
        }),
        Data::Restore(restored) => Some(BootstrapStatus {
            set: Some(restored.set.clone()),
            set_time: restored.created.parse().ok().map(Time),
            finished: time(&restored.built_at),
            seconds: number(restored.seconds),
            database_bytes: number(restored.database_bytes),
            files: number(restored.files),
            file_bytes: number(restored.file_bytes),
            ..BootstrapStatus::default()
        }),
        _ => None,
    }
}

fn number(of: u64) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

/// What is to be loaded, for people; none where it is an empty database.
pub fn source(resource: &Dhis2Instance) -> Option<String> {
    let bootstrap = resource.spec.bootstrap.as_ref()?;
    let dump = bootstrap.from_dump.as_ref().map(|dump| dump.path.clone());
    dump.or_else(|| {
        let backup = bootstrap.from_backup.as_ref()?;
        let set = backup.set.as_ref().map(|set| format!("Set {set}"));
        set.or_else(|| Some(format!("The newest set of {} or before it", backup.before.as_ref()?.0)))
            .or_else(|| Some("The newest set".into()))
    })
}

/// Is all of it there? Told of an instance that began with a dump or a set, or is to.
pub fn loaded(resource: &Dhis2Instance, status: &Dhis2InstanceStatus) -> Option<Told> {
    const KIND: &str = "DataLoaded";
    let Some(loaded) = &status.bootstrap else {
        let source = source(resource)?;
        // What was empty when it was made is not filled any more.
        let due = status.database.is_none();
        return due.then(|| Told::new(KIND, false, Reason::BuildingDatabase, format!("{source} is not loaded yet.")));
    };
    let told = format!(
        "{} was loaded in {} s: a database of {} MiB, {} files of {} MiB.",
        what(loaded),
        loaded.seconds,
        loaded.database_bytes >> 20,
        loaded.files,
        loaded.file_bytes >> 20
    );
    if loaded.missing_files == 0 {
        return Some(Told::new(KIND, true, Reason::Done, told));
    }
    let missing = format!("{told} Of {} files that the database refers to {} were not brought.", loaded.references, loaded.missing_files);
    Some(Told::new(KIND, false, Reason::FilesMissing, missing))
}

fn what(loaded: &BootstrapStatus) -> String {
    match (&loaded.set, &loaded.set_time, &loaded.dump, &loaded.schema) {
        (Some(set), Some(time), ..) => format!("Set {set} of {}", time.0),
        (Some(set), ..) => format!("Set {set}"),
        (None, _, Some(dump), Some(schema)) => format!("{dump}, of DHIS2's schema {schema},"),
        _ => loaded.dump.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resource(bootstrap: &serde_json::Value) -> Dhis2Instance {
        let spec = json!({"version": "2.42.4", "web": {"host": "play.example.org"}, "bootstrap": bootstrap});
        serde_json::from_value(
            json!({"apiVersion": "dhis2.hosting/v1alpha1", "kind": "Dhis2Instance", "metadata": {"name": "play"}, "spec": spec}),
        )
        .unwrap()
    }

    fn status(missing: i64) -> Dhis2InstanceStatus {
        let loaded = json!({"dump": "a.sql", "schema": "2.42.47", "seconds": 7, "databaseBytes": 3 << 20, "files": 9, "fileBytes": 1 << 20,
            "references": 11, "missingFiles": missing});
        serde_json::from_value(json!({"bootstrap": loaded, "database": {}})).unwrap()
    }

    #[test]
    fn what_an_instance_began_with_stays_told_and_what_it_lacks() {
        let told = |resource: &Dhis2Instance, status: &Dhis2InstanceStatus| {
            loaded(resource, status).map(|told| (told.holds, told.reason, told.message))
        };
        let (empty, full) = (resource(&json!(null)), resource(&json!({"fromDump": {"volumeClaim": "old", "path": "a.sql"}})));
        assert_eq!(told(&empty, &Dhis2InstanceStatus::default()), None);
        assert_eq!(told(&full, &Dhis2InstanceStatus::default()).map(|told| told.1), Some(Reason::BuildingDatabase));
        let words = "a.sql, of DHIS2's schema 2.42.47, was loaded in 7 s: a database of 3 MiB, 9 files of 1 MiB.";
        assert_eq!(told(&empty, &status(0)), Some((true, Reason::Done, words.to_owned())));
        let missing = format!("{words} Of 11 files that the database refers to 2 were not brought.");
        assert_eq!(told(&full, &status(2)), Some((false, Reason::FilesMissing, missing)));
        let set = json!({"bootstrap": {"set": "kept", "setTime": "2026-11-28T01:00:00Z", "seconds": 7, "databaseBytes": 0, "files": 0, "fileBytes": 0}});
        let words = told(&empty, &serde_json::from_value(set).unwrap()).map(|told| told.2);
        assert_eq!(words.as_deref(), Some("Set kept of 2026-11-28T01:00:00Z was loaded in 7 s: a database of 0 MiB, 0 files of 0 MiB."));
        let newest = json!({"fromBackup": {"repository": {"volumeClaim": "old-backups"}, "passwordSecretName": "old-backup"}});
        assert_eq!(source(&resource(&newest)).as_deref(), Some("The newest set"));
        // One that was made empty before the field was written.
        let made = serde_json::from_value(json!({"database": {}})).unwrap();
        assert_eq!(told(&full, &made), None);
    }
}
