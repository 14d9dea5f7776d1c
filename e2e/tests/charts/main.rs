//! The charts, without a cluster: linted, rendered, and what is rendered held against the API's types and our own promises.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test's way to fail")]

mod access;
mod helm;
mod manifest;
mod schemas;
mod values;
