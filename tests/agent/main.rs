//! The agent's verbs, run as pods run them, with a real PostgreSQL, a real restic and a real S3 server. One program: its tests wait
//! more than they work, and run side by side.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test's way to fail

mod analytics;
mod backup;
mod check;
mod copies;
mod database;
mod dump;
mod figures;
mod import;
mod pod;
mod refusals;
mod remove;
mod restore;
mod s3;
mod verify;
mod watch;
