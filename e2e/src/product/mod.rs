//! The product as clusters run it: its programs, statically linked, and its image. The stand-in's images
//! are made here too, for tests and trials only.

pub mod binaries;
pub mod image;
