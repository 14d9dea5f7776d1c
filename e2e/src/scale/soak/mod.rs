//! The soak: many instances and two replicas for hours, a change a second, connections cut and leaders changed. Nothing may grow, no
//! change may get lost, and nothing may be written that no change explains.

pub mod chance;
pub mod explain;
pub mod life;
pub mod pair;
pub mod report;
pub mod run;
