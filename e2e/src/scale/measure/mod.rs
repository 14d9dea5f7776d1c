//! What is measured, a file each.

pub mod change;
pub mod check;
pub mod contest;
pub mod create;
pub mod foreign;
pub mod idle;
pub mod poison;
pub mod restart;
pub mod single;
pub mod size;
pub mod whole;
