//! What the operator does when something breaks between any two of its requests.
//!
//! A [`proxy`] stands between the operator and the API server of a rig.

pub mod breaks;
pub mod campaign;
pub mod cast;
pub mod flow;
pub mod gate;
pub mod ground;
pub mod invariants;
pub mod kubelet;
pub mod ledger;
pub mod person;
pub mod proxy;
pub mod run;
pub mod snapshot;
pub mod storm;
mod stream;
pub mod weather;
