//! Runs DHIS2 on Kubernetes.
pub mod operator;
pub mod yaml;
