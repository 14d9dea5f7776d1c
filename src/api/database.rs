//! The database and the file store.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::pod::Resources;

/// The database of the instance.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Database {
    /// A PostgreSQL server of the instance's own.
    #[serde(default)]
    pub bundled: Bundled,
}

/// A PostgreSQL server of the instance's own, with PostGIS.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.image) == has(oldSelf.image) && (!has(self.image) || self.image == oldSelf.image)")
        .message("the image of a running database can't be changed yet").field_path(".image"),
    validation = Rule::new("self.version == 17 || has(self.image)")
        .message("the operator's own image holds PostgreSQL 17: name one with the other version in image, or leave version out").field_path(".version"),
    // Shared buffers, the pool's connections and the locks of a migration.
    validation = Rule::new("!has(self.resources) || !has(self.resources.memory) || quantity(self.resources.memory).compareTo(quantity('256Mi')) >= 0")
        .message("PostgreSQL needs at least 256Mi").field_path(".resources.memory")
)]
pub struct Bundled {
    /// Major version of PostgreSQL. Default 17. It can't be changed yet.
    #[serde(default = "seventeen")]
    #[schemars(range(min = 16, max = 17))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("the PostgreSQL version of a running database can't be changed yet"))]
    pub version: i32,
    /// Image with PostgreSQL and PostGIS, such as `docker.io/postgis/postgis:17-3.5` (default, see the
    /// operator's settings) or CloudNativePG's PostGIS images. Its entrypoint is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::image_reference")]
    pub image: Option<String>,
    /// The volume of the database.
    #[serde(default)]
    pub storage: Volume,
    /// Settings of PostgreSQL beside those that follow from the memory, such as `work_mem: 32MB`.
    /// Allowed: autovacuum_max_workers, autovacuum_naptime, autovacuum_vacuum_cost_limit, checkpoint_timeout,
    /// default_statistics_target, effective_cache_size, effective_io_concurrency, log_min_duration_statement,
    /// maintenance_work_mem, max_connections, max_locks_per_transaction, max_parallel_workers,
    /// max_parallel_workers_per_gather, max_wal_size, min_wal_size, random_page_cost, shared_buffers,
    /// temp_buffers, temp_file_limit, wal_buffers, work_mem.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::schema::parameters")]
    pub parameters: BTreeMap<String, String>,
    /// CPU and memory of the database container, instead of the preset of `size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

impl Default for Bundled {
    fn default() -> Self {
        Self { version: seventeen(), image: None, storage: Volume::default(), parameters: BTreeMap::new(), resources: None }
    }
}

fn seventeen() -> i32 {
    17
}

/// A volume that the operator claims.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.size) || !has(oldSelf.size) || quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0")
        .message("a volume can grow, never shrink").field_path(".size"),
    validation = Rule::new("has(self.className) == has(oldSelf.className) && (!has(self.className) || self.className == oldSelf.className)")
        .message("the storage class of a volume can't be changed").field_path(".className")
)]
pub struct Volume {
    /// Size, such as `50Gi`. Default: from `spec.size`. It can be raised at any time where the storage
    /// class allows expansion; the volume grows with its data in place. A volume that is larger already stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::storage_quantity")]
    pub size: Option<String>,
    /// Storage class. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::schema::class_name")]
    pub class_name: Option<String>,
}

/// Where DHIS2 keeps files.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Files {
    /// A volume of the instance.
    #[serde(default)]
    pub volume: Volume,
}
