//! A stand-in for DHIS2: a server that behaves as DHIS2 2.42 wherever an operator can tell, with a real schema in a real
//! `PostgreSQL`. It is no DHIS2: nothing of DHIS2 is in it, and no chart or default names it. What it imitates, and what
//! not, is in `e2e/standin/README.md`.
//!
//! ```text
//! process ─► server::door     the port: requests wait, are 404 for ever, or go on
//!         └► startup          conf ─► pool ─► flyway ─► first rows ─► settings ─► Dhis2
//! server::router ─► information login users tokens settings files metadata data_values analytics maintenance metrics
//! ```

pub mod accounts;
pub mod analytics;
pub mod cipher;
pub mod conf;
pub mod data_values;
pub mod dhis2;
pub mod files;
pub mod flyway;
pub mod heap;
pub mod image;
pub mod information;
pub mod java;
pub mod log;
pub mod login;
pub mod maintenance;
pub mod metadata;
pub mod metrics;
pub mod outage;
pub mod passwords;
pub mod pool;
pub mod process;
pub mod properties;
pub mod refusal;
pub mod server;
pub mod sessions;
pub mod settings;
pub mod startup;
pub mod substitute;
pub mod timing;
pub mod tokens;
pub mod users;
pub mod version;
