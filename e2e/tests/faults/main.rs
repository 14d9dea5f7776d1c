//! The operator against an API server that is all there is of a cluster.

mod rig;
mod sample;
