//! The test cluster: a real Kubernetes in namespaces of its own, from source, on any Linux machine with root.
//!
//! `build` makes what it runs on, [`lifecycle`] starts and ends it. Inside, [`init`] is the first process:
//! it sets up [`mounts`] and [`network`] and keeps the [`components`] running, among them our own
//! [`provisioner`] of volumes and [`enforcer`] of network policies.

pub mod after_api;
pub mod archive;
pub mod build;
pub mod cache;
pub mod certificates;
pub mod cgroups;
pub mod clusters;
pub mod components;
pub mod enforcer;
pub mod files;
pub mod gate;
pub mod images;
pub mod init;
pub mod kernel;
pub mod launch;
pub mod lifecycle;
pub mod mounts;
pub mod network;
pub mod node;
pub mod oci;
pub mod packages;
pub mod policy;
pub mod programs;
pub mod provisioner;
pub mod ready;
pub mod run;
pub mod state;
pub mod volumes;

pub use cache::Cache;
pub use lifecycle::Cluster;
