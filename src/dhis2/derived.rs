//! Tables that DHIS2 makes from its other tables and makes again when asked: they need not be in a backup. Not even empty ones: whatever
//! `pg_dump` holds the definition of it locks to its end, and DHIS2 replaces these tables each night. Who asks them would wait for both.

use super::version::Version;

/// The first line whose resource tables are called `analytics_rs_*`; before, they were `_*` (DHIS2 2.41, migration notes).
const RESOURCE_TABLES_RENAMED: u16 = 41;

/// A family of tables in schema `public`, in two notations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// For `pg_dump --exclude-table`.
    pub patterns: &'static [&'static str],
    /// For the operator `~` of PostgreSQL.
    pub regex: &'static str,
}

/// Analytics tables, and from 2.41 on the resource tables (dhis2-docs, `reference/postgresql.md`). `analyticstablehook` is none of
/// them: it holds SQL that people wrote (dhis2-core, `AnalyticsTableHook.hbm.xml`).
const ANALYTICS: Family = Family { patterns: &["public.analytics", "public.analytics_*"], regex: "^analytics(_|$)" };
/// The resource tables of earlier lines. SQL views are called `_view_<name>`, and materialised ones have data that nothing but a
/// refresh brings back: they stay (dhis2-core, `SqlView`). From 2.44 on `_deprecated_*` holds data that is not derived at all.
const UNDERSCORE: Family = Family { patterns: &["public._[^v]*"], regex: "^_[^v]" };

/// The families of tables that `version` derives.
pub fn tables(version: Version) -> &'static [Family] {
    if version.is_before_line(RESOURCE_TABLES_RENAMED) { &[ANALYTICS, UNDERSCORE] } else { &[ANALYTICS] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_follow_the_version() {
        assert_eq!(tables("2.40.9".parse().unwrap()), &[ANALYTICS, UNDERSCORE]);
        assert_eq!(tables("2.41.0".parse().unwrap()), &[ANALYTICS]);
        assert_eq!(tables("2.44.0".parse().unwrap()), &[ANALYTICS]);
    }
}
