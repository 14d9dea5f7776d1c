//! What is true of DHIS2 and of nothing else.

pub mod conf;
pub mod defects;
pub mod derived;
pub mod migrations;
pub mod parameters;
pub mod password;
pub mod postgresql;
pub mod sizing;
pub mod version;
