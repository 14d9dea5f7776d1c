//! Sizes: the preset, the values set by hand, and for volumes what is there already.

use kube::ResourceExt;

use crate::{
    api::{Dhis2Instance, Dhis2InstanceSpec, Reason, database::Volume, pod::Resources},
    dhis2::sizing::{heap_mib, preset},
    operator::{
        instance::{Application, Database, Storage},
        kind::Kind,
        observe::Observed,
        parse::Refusal,
        quantity,
        slot::Facts,
    },
};

/// Least memory of DHIS2: below it a start ends out of memory (dhis2-core at 2.42.4.1 with -Xmx512m takes 0.94 GB).
const LEAST_APPLICATION_MIB: i64 = 1024;
/// Least memory of PostgreSQL: shared buffers, the pool's connections and the locks of a migration.
const LEAST_DATABASE_MIB: i64 = 256;

fn mib(memory: &str, least: i64, field: &str) -> Result<i64, Refusal> {
    let bytes = quantity::bytes(memory).unwrap_or(0);
    let mib = i64::try_from(bytes >> 20).unwrap_or(i64::MAX);
    if mib < least {
        return Err(Refusal::new(Reason::InvalidSpec, format!("{field}: {memory} is too little, at least {least}Mi are needed")));
    }
    Ok(mib)
}

fn cpu(given: Option<&String>, default: &str) -> String {
    let text = given.map_or(default, String::as_str);
    canonical_cpu(text)
}

/// `0.5` is `500m`, `1000m` is `1`: as the API server writes it.
fn canonical_cpu(text: &str) -> String {
    let milli = text.strip_suffix('m').map_or_else(|| (text.parse::<f64>().unwrap_or(0.0) * 1000.0).round().to_string(), ToOwned::to_owned);
    match milli.strip_suffix("000") {
        Some(whole) if !whole.is_empty() => whole.to_owned(),
        _ => format!("{milli}m"),
    }
}

/// DHIS2's container.
///
/// # Errors
/// `InvalidSpec` when the memory is too little.
pub fn application(spec: &Dhis2InstanceSpec) -> Result<Application, Refusal> {
    let (preset, resources) = (preset(spec.size), spec.resources.clone().unwrap_or_default());
    let memory_mib = mib(resources.memory.as_deref().unwrap_or(preset.memory), LEAST_APPLICATION_MIB, "spec.resources.memory")?;
    Ok(Application {
        memory_mib,
        heap_mib: heap_mib(memory_mib, spec.java.heap_percent),
        cpu: cpu(resources.cpu.as_ref(), preset.cpu),
        cpu_limit: resources.cpu_limit.as_deref().map(canonical_cpu),
        pool: preset.pool,
        java_options: spec.java.options.clone(),
        config: spec.config.clone(),
        secret_config: spec.secret_config.clone(),
    })
}

/// PostgreSQL's container and volume.
///
/// # Errors
/// `InvalidSpec` when the memory is too little or a size can't be read.
pub fn database(resource: &Dhis2Instance, observed: &Observed) -> Result<Database, Refusal> {
    let bundled = &resource.spec.database.bundled;
    let preset = preset(resource.spec.size);
    let resources: Resources = bundled.resources.clone().unwrap_or_default();
    Ok(Database {
        major: bundled.version,
        memory_mib: mib(
            resources.memory.as_deref().unwrap_or(preset.database_memory),
            LEAST_DATABASE_MIB,
            "spec.database.bundled.resources.memory",
        )?,
        cpu: cpu(resources.cpu.as_ref(), preset.database_cpu),
        cpu_limit: resources.cpu_limit.as_deref().map(canonical_cpu),
        storage: storage(&bundled.storage, preset.database_volume, resource, observed, "database")?,
        parameters: bundled.parameters.clone(),
    })
}

/// The volume of DHIS2's files.
///
/// # Errors
/// `InvalidSpec` when the size can't be read.
pub fn files(resource: &Dhis2Instance, observed: &Observed) -> Result<Storage, Refusal> {
    storage(&resource.spec.files.volume, preset(resource.spec.size).files_volume, resource, observed, "files")
}

/// The volume of the repository.
///
/// # Errors
/// `InvalidSpec` when the size can't be read.
pub fn backups(resource: &Dhis2Instance, observed: &Observed) -> Result<Storage, Refusal> {
    storage(&resource.spec.backup.repository.volume, preset(resource.spec.size).backups_volume, resource, observed, "backups")
}

/// A volume never shrinks: a smaller preset leaves what is there.
fn storage(volume: &Volume, preset: &str, resource: &Dhis2Instance, observed: &Observed, part: &str) -> Result<Storage, Refusal> {
    let asked = volume.size.as_deref().unwrap_or(preset);
    let size = quantity::canonical(asked)
        .ok_or_else(|| Refusal::new(Reason::InvalidSpec, format!("size of the volume of {part}: {asked:?} is no quantity")))?;
    let claim = observed.slot(Kind::PersistentVolumeClaim, &format!("{}-{part}", resource.name_any()));
    let size = match claim.map(|slot| &slot.facts) {
        Some(Facts::Claim { requested, .. }) => quantity::larger(size, requested),
        _ => size,
    };
    Ok(Storage { size, class: volume.class_name.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_as_the_api_server_writes_it() {
        for (given, written) in [("0.5", "500m"), ("1000m", "1"), ("2", "2"), ("1.5", "1500m"), ("100m", "100m"), ("10", "10")] {
            assert_eq!(canonical_cpu(given), written);
        }
    }
}
