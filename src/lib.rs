//! Runs DHIS2 on Kubernetes.
pub mod agent;
pub mod api;
pub mod dhis2;
pub mod layout;
pub mod report;
