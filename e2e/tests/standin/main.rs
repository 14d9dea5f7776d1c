//! Conformance of the stand-in: what was observed on a real DHIS2, asked of it over HTTP and in a real `PostgreSQL`.
//! `e2e/standin/README.md` maps the observations to these tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail anywhere"
)]

mod postgresql;
mod standin;

mod accounts;
mod analytics;
mod configuration;
mod data;
mod files;
mod outage;
mod start;
