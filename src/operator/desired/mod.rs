//! Every object that an instance is made of, in the order in which they are made. Pure: an instance in,
//! objects out.

use k8s_openapi::serde::Serialize;
use serde_json::Value;

use super::{instance::Instance, kind::Kind};

/// An object that should exist, and how it is brought about.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The object itself.
    pub object: Value,
    /// How it is brought about and kept.
    pub policy: Policy,
}

/// How an object is brought about and kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Policy {
    /// Created, then kept as wanted.
    Keep,
    /// Created once with generated values under these keys; content never read, never changed, never made again.
    Generate(Vec<Generated>),
    /// Created once; then only kept as wanted as far as the API allows (a claim grows, its owner changes).
    Claim,
    /// A step: created, deleted once its result is recorded; one that differs from what is wanted is
    /// deleted and made anew.
    Step,
}

/// A generated value of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// Key in the Secret.
    pub key: &'static str,
    /// What is generated.
    pub value: Generator,
}

/// What is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generator {
    /// A given text.
    Text(&'static str),
    /// 32 characters of A–Z, a–z, 0–9.
    Password,
    /// A password that DHIS2's rules accept: 24 characters with digit, upper, lower and special.
    Dhis2Password,
}
