//! Runs DHIS2 on Kubernetes: an operator that speaks to the API server only, and an agent that does in each
//! instance's own namespace what touches DHIS2, PostgreSQL, files and backups.
//!
//! ```text
//! watch ─► queue ─► reconcile(Dhis2Instance)
//!            observe    IO, reads only     slots of the children, Secrets by name ─► Observed
//!            parse      pure, may refuse   (resource, Observed)                   ─► Instance
//!            desired    pure               (Instance)                             ─► every object wanted, in order
//!            apply      IO, writes         what differs, and nothing else         ─► Applied
//!            status     pure               (resource, Observed, outcome, now)     ─► Dhis2InstanceStatus
//! ```

pub mod agent;
pub mod api;
pub mod dhis2;
pub mod layout;
pub mod operator;
pub mod report;
pub mod yaml;
