//! The operator: the only part that speaks to the Kubernetes API, and to nothing else.
pub mod args;
pub mod leader;
pub mod metrics;
pub mod requests;
pub mod serve;
pub mod telemetry;
