//! How an error of a verb becomes a report.

use std::error::Error;

use crate::report::Refusal;

/// An error that a verb ends with.
pub trait Failure: Error {
    /// The cause by the name that the operator knows; none = it failed, and a later run may succeed.
    fn reason(&self) -> Option<Refusal> {
        None
    }
}

impl<E: Failure + 'static> From<E> for Box<dyn Failure> {
    fn from(error: E) -> Self {
        Box::new(error)
    }
}

/// The error and its causes in one line.
pub fn told(error: &(impl Failure + ?Sized)) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_message = cause.to_string();
        // PostgreSQL's and restic's causes often end with what their wrapper has said already.
        if !message.ends_with(&cause_message) {
            message.push_str(": ");
            message.push_str(&cause_message);
        }
        source = cause.source();
    }
    message
}
