//! The test cluster, the DHIS2 stand-in and the helpers of the stories.

pub mod cluster;
pub mod faults;
pub mod generate;
pub mod product;
pub mod rig;
pub mod scale;
pub mod site;
pub mod standin;
