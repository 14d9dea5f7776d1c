//! Runs DHIS2 on Kubernetes.
pub mod api;
