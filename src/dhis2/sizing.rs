//! Memory, CPU and volumes of an instance by its size.

use crate::api::instance::Size;

/// What an instance of a size is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Memory of DHIS2, in MiB.
    pub memory_mib: i64,
    /// CPU request of DHIS2.
    pub cpu: &'static str,
    /// Connections of DHIS2 to the database.
    pub pool: i64,
    /// Memory of PostgreSQL, in MiB.
    pub database_memory_mib: i64,
    /// CPU request of PostgreSQL.
    pub database_cpu: &'static str,
    /// Volume of the database.
    pub database_volume: &'static str,
    /// Volume of the files.
    pub files_volume: &'static str,
}

/// The preset of a size. DHIS2 2.42.4.1 takes 1.3 GB idle and 1.8 GB under load with a heap of 2 GB (observed), so 3 GiB is
/// the least that serves; the steps follow the hardware that DHIS2's install guide recommends.
pub const fn preset(size: Size) -> Preset {
    match size {
        Size::Small => Preset {
            memory_mib: 3 << 10,
            cpu: "100m",
            pool: 40,
            database_memory_mib: 1 << 10,
            database_cpu: "100m",
            database_volume: "20Gi",
            files_volume: "10Gi",
        },
        Size::Medium => Preset {
            memory_mib: 12 << 10,
            cpu: "2",
            pool: 80,
            database_memory_mib: 8 << 10,
            database_cpu: "1",
            database_volume: "100Gi",
            files_volume: "50Gi",
        },
        Size::Large => Preset {
            memory_mib: 32 << 10,
            cpu: "6",
            pool: 80,
            database_memory_mib: 32 << 10,
            database_cpu: "4",
            database_volume: "500Gi",
            files_volume: "200Gi",
        },
    }
}

/// The Java heap, in MiB: a share of the memory. The rest is for class data, threads, buffers and the page cache.
pub const fn heap_mib(memory_mib: i64, percent: i32) -> i64 {
    memory_mib * percent as i64 / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_size_has_more_of_everything() {
        let sizes = [Size::Small, Size::Medium, Size::Large].map(preset);
        assert!(sizes.is_sorted_by_key(|preset| preset.memory_mib));
        assert!(sizes.is_sorted_by_key(|preset| preset.database_memory_mib));
        assert!(sizes.is_sorted_by_key(|preset| preset.pool));
    }

    #[test]
    fn the_heap_leaves_room() {
        assert_eq!(heap_mib(3 << 10, 65), 1996);
        assert_eq!(heap_mib(12 << 10, 80), 9830);
    }
}
