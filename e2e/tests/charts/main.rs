//! The charts, without a cluster: linted, rendered, and what is rendered held against the API's types and our own promises.
mod access;
mod helm;
mod manifest;
mod schemas;
mod values;
