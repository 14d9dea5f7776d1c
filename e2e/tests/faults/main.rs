//! The operator against an API server that is all there is of a cluster.

mod metrics;
mod rig;
mod sample;
mod storms;
