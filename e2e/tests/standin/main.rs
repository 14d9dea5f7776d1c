//! Conformance of the stand-in: what was observed on a real DHIS2, asked of it over HTTP and in a real `PostgreSQL`.
//! `e2e/standin/README.md` maps the observations to these tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail anywhere")]

mod postgresql;
mod standin;

mod accounts;
mod analytics;
mod configuration;
mod data;
mod files;
mod outage;
mod start;

/// The table of the documentation holds every observation, and names only tests that exist.
#[test]
fn the_table_is_whole_and_true() {
    let table = include_str!("../../standin/README.md");
    for number in 1..=32 {
        assert!(table.contains(&format!("| O{number} |")), "O{number}");
    }
    let sources = [
        ("accounts", include_str!("accounts.rs")),
        ("analytics", include_str!("analytics.rs")),
        ("configuration", include_str!("configuration.rs")),
        ("data", include_str!("data.rs")),
        ("files", include_str!("files.rs")),
        ("outage", include_str!("outage.rs")),
        ("start", include_str!("start.rs")),
    ];
    let mut named = 0;
    for (file, source) in sources {
        for (at, before) in table.match_indices(&format!("`{file}::")) {
            let name = table[at + before.len()..].split('`').next().unwrap();
            assert!(source.contains(&format!("fn {name}()")), "{file}::{name}");
            named += 1;
        }
    }
    assert!(named > 30, "{named}");
}
