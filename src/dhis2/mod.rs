//! What is true of DHIS2 and of nothing else.

pub mod version;
