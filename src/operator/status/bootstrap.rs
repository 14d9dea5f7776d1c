//! What a new instance began with.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::conditions::Told;
use crate::{
    api::{Dhis2Instance, Dhis2InstanceStatus, Reason, status::BootstrapStatus},
    report::Imported,
};

/// A dump that was loaded.
pub fn recorded(imported: &Imported, now: Timestamp) -> BootstrapStatus {
    let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    BootstrapStatus {
        dump: imported.dump.clone(),
        schema: imported.schema.clone(),
        finished: Some(imported.built_at.parse().map_or(Time(now), Time)),
        seconds: number(imported.seconds),
        database_bytes: number(imported.database_bytes),
        files: number(imported.files),
        file_bytes: number(imported.file_bytes),
        references: number(imported.references),
        missing_files: number(imported.references_without_file),
    }
}

/// Is all of it there? Told of an instance that began with a dump, or is to.
pub fn loaded(resource: &Dhis2Instance, status: &Dhis2InstanceStatus) -> Option<Told> {
    const KIND: &str = "DataLoaded";
    let Some(loaded) = &status.bootstrap else {
        let dump = &resource.spec.bootstrap.as_ref()?.from_dump.path;
        // What was empty when it was made is not filled any more.
        let due = status.database.is_none();
        let wait = || Told::new(KIND, false, Reason::BuildingDatabase, format!("{dump} is not loaded yet."));
        return due.then(wait);
    };
    let told = format!(
        "{} was loaded in {} s: DHIS2's schema {}, a database of {} MiB, {} files of {} MiB.",
        loaded.dump,
        loaded.seconds,
        loaded.schema,
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
        let words = "a.sql was loaded in 7 s: DHIS2's schema 2.42.47, a database of 3 MiB, 9 files of 1 MiB.";
        assert_eq!(told(&empty, &status(0)), Some((true, Reason::Done, words.to_owned())));
        let missing = format!("{words} Of 11 files that the database refers to 2 were not brought.");
        assert_eq!(told(&full, &status(2)), Some((false, Reason::FilesMissing, missing)));
        // One that was made empty before the field was written.
        let made = serde_json::from_value(json!({"database": {}})).unwrap();
        assert_eq!(told(&full, &made), None);
    }
}
