//! The scale bench: how much the operator asks, how fast it is and how much memory it takes, on a [rig](crate::rig) with many instances.
//!
//! Beside each figure stand the goal and, where they mean something, two that did the same in the same run: a [writer](raw) that only
//! sends the objects, which nobody can beat, and a [twin] of the operator by the usual recipe.

pub mod account;
pub mod children;
pub mod contender;
pub mod crowd;
pub mod figure;
pub mod machine;
pub mod measure;
pub mod plot;
pub mod pods;
pub mod raw;
pub mod report;
pub mod run;
pub mod soak;
pub mod spread;
pub mod stand;
pub mod traffic;
pub mod twin;
