//! Memory, CPU and volumes of an instance by its size.

use crate::api::instance::Size;

/// What an instance of a size is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Memory of DHIS2.
    pub memory: &'static str,
    /// CPU request of DHIS2.
    pub cpu: &'static str,
    /// Connections of DHIS2 to the database.
    pub pool: i64,
    /// Memory of PostgreSQL.
    pub database_memory: &'static str,
    /// CPU request of PostgreSQL.
    pub database_cpu: &'static str,
    /// Volume of the database.
    pub database_volume: &'static str,
    /// Volume of the files.
    pub files_volume: &'static str,
    /// Volume of the backups: as large as the other two together.
    pub backups_volume: &'static str,
}

/// The preset of a size. DHIS2 2.42.4.1 takes 1.3 GB idle and 1.8 GB under load with a heap of 2 GB (observed), so 3 GiB is
/// the least that serves; the steps follow the hardware that DHIS2's install guide recommends.
pub const fn preset(size: Size) -> Preset {
    match size {
        Size::Small => Preset {
            memory: "3Gi",
            cpu: "100m",
            pool: 40,
            database_memory: "1Gi",
            database_cpu: "100m",
            database_volume: "20Gi",
            files_volume: "10Gi",
            backups_volume: "30Gi",
        },
        Size::Medium => Preset {
            memory: "12Gi",
            cpu: "2",
            pool: 80,
            database_memory: "8Gi",
            database_cpu: "1",
            database_volume: "100Gi",
            files_volume: "50Gi",
            backups_volume: "150Gi",
        },
        Size::Large => Preset {
            memory: "32Gi",
            cpu: "6",
            pool: 80,
            database_memory: "32Gi",
            database_cpu: "4",
            database_volume: "500Gi",
            files_volume: "200Gi",
            backups_volume: "700Gi",
        },
    }
}

/// The Java heap, in MiB: a share of the memory, in percent. The rest is for class data, threads, buffers and the page cache.
pub const fn heap_mib(memory_mib: i64, percent: i32) -> i64 {
    memory_mib * percent as i64 / 100
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::quantity::bytes;

    #[test]
    fn a_larger_size_has_no_less_of_anything() {
        let amounts = [Size::Small, Size::Medium, Size::Large].map(preset).map(|preset| {
            [preset.memory, preset.database_memory, preset.database_volume, preset.files_volume, preset.backups_volume]
                .map(|text| bytes(text).unwrap())
        });
        for kind in 0..5 {
            assert!(amounts.is_sorted_by_key(|amounts| amounts[kind]));
        }
    }

    #[test]
    fn backups_have_room_for_what_is_backed_up() {
        for preset in [Size::Small, Size::Medium, Size::Large].map(preset) {
            let [database, files, backups] =
                [preset.database_volume, preset.files_volume, preset.backups_volume].map(|text| bytes(text).unwrap());
            assert_eq!(database + files, backups);
        }
    }

    #[test]
    fn the_heap_leaves_room() {
        assert_eq!(heap_mib(3 << 10, 65), 1996);
        assert_eq!(heap_mib(12 << 10, 80), 9830);
    }
}
