//! What PostgreSQL takes for the settings that a user may set. One that it does not take keeps it from starting, and where it reads the
//! setting while it runs, only at its next start: so it is never given one.

/// What the amounts of a setting are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// Nothing: a plain number.
    Number,
    /// Bytes; so many where none is written.
    Bytes(u32),
    /// Microseconds; so many where none is written.
    Microseconds(u32),
}

use Unit::{Bytes, Microseconds, Number};

const KB: Unit = Bytes(1 << 10);
const MB: Unit = Bytes(1 << 20);
const BLOCK: Unit = Bytes(8 << 10);
const MILLISECOND: Unit = Microseconds(1_000);
const SECOND: Unit = Microseconds(1_000_000);

/// Name, unit, least and most. PostgreSQL 16 and 17 take all of it (`postgres --describe-config`). Where they would take more than any
/// server has shared memory for, `most` is less.
const RANGES: [(&str, Unit, &str, &str); 21] = [
    ("autovacuum_max_workers", Number, "1", "100"),
    ("autovacuum_naptime", SECOND, "1s", "24d"),
    ("autovacuum_vacuum_cost_limit", Number, "-1", "10000"),
    ("checkpoint_timeout", SECOND, "30s", "1d"),
    ("default_statistics_target", Number, "1", "10000"),
    ("effective_cache_size", BLOCK, "8kB", "15TB"),
    ("effective_io_concurrency", Number, "0", "1000"),
    ("log_min_duration_statement", MILLISECOND, "-1", "24d"),
    ("maintenance_work_mem", KB, "1MB", "1TB"),
    ("max_connections", Number, "1", "5000"),
    ("max_locks_per_transaction", Number, "10", "10000"),
    ("max_parallel_workers", Number, "0", "1024"),
    ("max_parallel_workers_per_gather", Number, "0", "1024"),
    // Two segments of the write-ahead log.
    ("max_wal_size", MB, "32MB", "1TB"),
    ("min_wal_size", MB, "32MB", "1TB"),
    ("random_page_cost", Number, "0", "1000000"),
    ("shared_buffers", BLOCK, "128kB", "1TB"),
    ("temp_buffers", BLOCK, "800kB", "1TB"),
    ("temp_file_limit", KB, "-1", "1TB"),
    ("wal_buffers", BLOCK, "-1", "1GB"),
    ("work_mem", KB, "64kB", "1TB"),
];

/// Whether a PostgreSQL with so much memory takes this value for this setting.
///
/// # Errors
/// What it would take.
pub fn check(name: &str, value: &str, memory_mib: i64) -> Result<(), String> {
    let (name, unit, least, most) = RANGES.iter().find(|(known, ..)| *known == name).ok_or("it can't be set here")?;
    // Backends need memory beside the buffers that they share.
    let half = format!("{}MB", memory_mib / 2);
    let most = if *name == "shared_buffers" { half.as_str() } else { most };
    let in_range = amount(value, *unit).is_some_and(|amount| amount >= bound(least, *unit) && amount <= bound(most, *unit));
    if in_range { Ok(()) } else { Err(format!("{value:?} is not between {least} and {most}{}", units(*unit))) }
}

fn units(unit: Unit) -> &'static str {
    match unit {
        Number => ", a number without a unit",
        Bytes(_) => ", in kB, MB, GB or TB",
        Microseconds(_) => ", in ms, s, min, h or d",
    }
}

fn bound(text: &str, unit: Unit) -> f64 {
    amount(text, unit).unwrap_or_default()
}

/// An amount in bytes, microseconds or plain.
fn amount(text: &str, unit: Unit) -> Option<f64> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, written) = text.split_at(end);
    let factor = match (unit, written) {
        (Bytes(base) | Microseconds(base), "") => u64::from(base),
        (Number, "") | (Bytes(_), "B") | (Microseconds(_), "us") => 1,
        (Bytes(_), "kB") => 1 << 10,
        (Bytes(_), "MB") => 1 << 20,
        (Bytes(_), "GB") => 1 << 30,
        (Bytes(_), "TB") => 1 << 40,
        (Microseconds(_), "ms") => 1_000,
        (Microseconds(_), "s") => 1_000_000,
        (Microseconds(_), "min") => 60_000_000,
        (Microseconds(_), "h") => 3_600_000_000,
        (Microseconds(_), "d") => 86_400_000_000,
        _ => return None,
    };
    #[allow(clippy::cast_precision_loss, reason = "powers of two and ten that a float holds exactly")]
    number.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number * factor as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::schema::PARAMETERS, dhis2::postgresql::tests::described};
    use proptest::prelude::*;

    fn check(name: &str, value: &str) -> Result<(), String> {
        super::check(name, value, 1024)
    }

    #[test]
    fn every_setting_that_may_be_set_has_its_range() {
        assert_eq!(RANGES.map(|(name, ..)| name), PARAMETERS);
    }

    #[test]
    fn amounts_are_read_as_postgresql_reads_them() {
        for (name, value) in [
            ("work_mem", "64"),
            ("work_mem", "1.5GB"),
            ("wal_buffers", "-1"),
            ("random_page_cost", "1.1"),
            ("log_min_duration_statement", "10s"),
            ("log_min_duration_statement", "-1"),
            ("shared_buffers", "16"),
            ("shared_buffers", "512MB"),
        ] {
            assert_eq!(check(name, value), Ok(()), "{name} = {value}");
        }
        for (name, value) in [
            ("work_mem", "63"),
            ("work_mem", "32ms"),
            ("work_mem", "9999TB"),
            ("work_mem", "64KB"),
            ("work_mem", ""),
            ("max_connections", "0"),
            ("max_connections", "100MB"),
            ("checkpoint_timeout", "5"),
            ("max_wal_size", "16MB"),
            ("wal_buffers", "-2"),
            ("shared_buffers", "1GB"),
            ("fsync", "0"),
            ("random_page_cost", "-1"),
            ("random_page_cost", "NaN"),
        ] {
            assert!(check(name, value).is_err(), "{name} = {value}");
        }
    }

    /// PostgreSQL's own bounds are in its base unit, which is what a number without a unit is of.
    #[test]
    fn postgresql_takes_all_that_is_taken_here() {
        let described = described();
        for (name, unit, least, most) in RANGES {
            let columns = &described[name];
            let base = f64::from(match unit {
                Number => 1,
                Bytes(base) | Microseconds(base) => base,
            });
            let [min, max] = [5, 6].map(|column: usize| columns[column].parse::<f64>().unwrap());
            assert!(bound(least, unit) / base >= min && bound(most, unit) / base <= max, "{name}: {min} to {max}");
            assert!(bound(least, unit) < bound(most, unit), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_value_is_taken_or_not(name in proptest::sample::select(PARAMETERS.to_vec()), value in "-?[0-9]{1,30}([.][0-9]{1,3})?[a-zA-Z]{0,3}|.{0,8}") {
            if check(name, &value).is_ok() {
                prop_assert!(value.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)), "{value}");
            }
        }
    }
}
