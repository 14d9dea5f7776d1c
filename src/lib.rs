//! Runs DHIS2 on Kubernetes.
