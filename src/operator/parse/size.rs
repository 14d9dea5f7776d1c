//! Sizes: the preset, the values set by hand, and for volumes what is there already.

use crate::{
    api::{Dhis2Instance, Dhis2InstanceSpec, Reason, database::Volume, pod::Resources},
    dhis2::{
        parameters,
        sizing::{heap_mib, preset},
    },
    operator::{
        instance::{Application, Claims, Database, Storage},
        kind::Kind,
        observe::Observed,
        parse::Refusal,
        quantity,
        slot::Slot,
    },
};

/// Memory in MiB; what the schema lets in can be read.
fn mib(memory: &str) -> i64 {
    i64::try_from(quantity::bytes(memory).unwrap_or(0) >> 20).unwrap_or(i64::MAX)
}

/// CPU in thousandths, request and limit.
struct Cpu {
    request: i64,
    limit: Option<i64>,
}

impl Cpu {
    fn of(resources: &Resources, preset: &str, field: &str) -> Result<Self, Refusal> {
        let request = milli(resources.cpu.as_deref().unwrap_or(preset));
        let limit = resources.cpu_limit.as_deref().map(milli);
        if let Some(limit) = limit.filter(|limit| *limit < request) {
            let [limit, request] = [limit, request].map(cpu);
            let message = format!("{field}.cpuLimit: {limit} is less than the {request} that are requested; raise it, or set {field}.cpu");
            return Err(Refusal::new(Reason::InvalidSpec, message));
        }
        Ok(Self { request, limit })
    }
}

fn milli(text: &str) -> i64 {
    if let Some(milli) = text.strip_suffix('m') {
        return milli.parse().unwrap_or(0);
    }
    // At most one decimal.
    let (whole, tenths) = text.split_once('.').unwrap_or((text, "0"));
    whole.parse::<i64>().unwrap_or(0) * 1000 + tenths.parse::<i64>().unwrap_or(0) * 100
}

/// As the API server writes it: `500m`, `1`.
fn cpu(milli: i64) -> String {
    if milli % 1000 == 0 { (milli / 1000).to_string() } else { format!("{milli}m") }
}

/// DHIS2's container.
///
/// # Errors
/// `InvalidSpec` when the CPU limit is below the request.
pub fn application(spec: &Dhis2InstanceSpec) -> Result<Application, Refusal> {
    let (preset, resources) = (preset(spec.size), spec.resources.clone().unwrap_or_default());
    let memory_mib = mib(resources.memory.as_deref().unwrap_or(preset.memory));
    let Cpu { request, limit } = Cpu::of(&resources, preset.cpu, "spec.resources")?;
    Ok(Application {
        memory_mib,
        heap_mib: heap_mib(memory_mib, spec.java.heap_percent),
        cpu: cpu(request),
        cpu_limit: limit.map(cpu),
        pool: preset.pool,
        java_options: spec.java.options.clone(),
        config: spec.config.clone(),
        secret_config: spec.secret_config.clone(),
    })
}

/// PostgreSQL's container and volume.
///
/// # Errors
/// `InvalidSpec` when the CPU limit is below the request, or PostgreSQL would not take a parameter.
pub fn database(resource: &Dhis2Instance, observed: &Observed, claims: &Claims) -> Result<Database, Refusal> {
    let bundled = &resource.spec.database.bundled;
    let preset = preset(resource.spec.size);
    let resources: Resources = bundled.resources.clone().unwrap_or_default();
    let memory_mib = mib(resources.memory.as_deref().unwrap_or(preset.database_memory));
    for (name, value) in &bundled.parameters {
        parameters::check(name, value, memory_mib)
            .map_err(|wrong| Refusal::new(Reason::InvalidSpec, format!("spec.database.bundled.parameters.{name}: {wrong}")))?;
    }
    let Cpu { request, limit } = Cpu::of(&resources, preset.database_cpu, "spec.database.bundled.resources")?;
    Ok(Database {
        major: bundled.version,
        memory_mib,
        cpu: cpu(request),
        cpu_limit: limit.map(cpu),
        storage: storage(&bundled.storage, preset.database_volume, observed, &claims.database)?,
        capacity: observed
            .slot(Kind::PersistentVolumeClaim, &claims.database)
            .and_then(Slot::claim)
            .and_then(|claim| claim.capacity.clone()),
        parameters: bundled.parameters.clone(),
    })
}

/// The volume of DHIS2's files.
///
/// # Errors
/// `InvalidSpec` when the size can't be read.
pub fn files(resource: &Dhis2Instance, observed: &Observed, claims: &Claims) -> Result<Storage, Refusal> {
    storage(&resource.spec.files.volume, preset(resource.spec.size).files_volume, observed, &claims.files)
}

/// The volume of the repository.
///
/// # Errors
/// `InvalidSpec` when the size can't be read.
pub fn backups(resource: &Dhis2Instance, observed: &Observed, claims: &Claims) -> Result<Storage, Refusal> {
    let volume = resource.spec.backup.repository.volume.clone().unwrap_or_default();
    storage(&volume, preset(resource.spec.size).backups_volume, observed, &claims.backups)
}

/// The scratch space of the restore test: without a size of its own, as much as the volumes that a set is restored to.
///
/// # Errors
/// `InvalidSpec` when the size can't be read.
pub fn scratch(resource: &Dhis2Instance, database: &Storage, files: &Storage) -> Result<Storage, Refusal> {
    let volume = &resource.spec.backup.verify.storage;
    let bytes: i128 = [database, files].iter().filter_map(|storage| quantity::bytes(&storage.size)).sum();
    let asked = volume.size.clone().unwrap_or_else(|| format!("{}Mi", (bytes + (1 << 20) - 1) >> 20));
    let size = quantity::canonical(&asked)
        .ok_or_else(|| Refusal::new(Reason::InvalidSpec, format!("spec.backup.verify.storage.size: {asked:?} is no quantity")))?;
    Ok(Storage { size, class: volume.class_name.clone() })
}

/// A volume never shrinks: a smaller preset leaves what is there.
fn storage(volume: &Volume, preset: &str, observed: &Observed, claim: &str) -> Result<Storage, Refusal> {
    let asked = volume.size.as_deref().unwrap_or(preset);
    let size = quantity::canonical(asked)
        .ok_or_else(|| Refusal::new(Reason::InvalidSpec, format!("size of the volume {claim}: {asked:?} is no quantity")))?;
    let claim = observed.slot(Kind::PersistentVolumeClaim, claim);
    let size = match claim.and_then(Slot::claim) {
        Some(claim) => quantity::larger(size, &claim.requested),
        None => size,
    };
    Ok(Storage { size, class: volume.class_name.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cpu_as_the_api_server_writes_it() {
        for (given, written) in [("0.5", "500m"), ("1000m", "1"), ("2", "2"), ("1.5", "1500m"), ("100m", "100m"), ("10", "10")] {
            assert_eq!(cpu(milli(given)), written);
        }
    }

    proptest! {
        #[test]
        fn cpu_is_read_back(text in "[1-9][0-9]{0,5}m|[1-9][0-9]{0,2}([.][0-9])?|0[.][1-9]") {
            let read = milli(&text);
            prop_assert!(read > 0);
            prop_assert_eq!(milli(&cpu(read)), read);
        }
    }
}
