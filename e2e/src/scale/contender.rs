//! Who is measured.

use crate::rig::Operator;
use crate::rig::process::{Process, Usage};

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// The operator.
    Operator,
    /// The same by the usual recipe.
    Twin,
    /// Nothing but the writes.
    Raw,
}

/// One that runs. Dropped, it ends.
pub enum Running {
    /// The operator.
    Operator {
        /// The process.
        operator: Operator,
        /// Who it is for the API server.
        user: String,
    },
    /// Another one.
    Other {
        /// The process.
        process: Process,
        /// Who it is for the API server.
        user: String,
    },
}

impl Running {
    /// What it uses.
    pub fn usage(&self) -> Usage {
        match self {
            Self::Operator { operator, .. } => operator.usage(),
            Self::Other { process, .. } => process.usage(),
        }
    }

    /// Who it is for the API server.
    pub fn user(&self) -> &str {
        match self {
            Self::Operator { user, .. } | Self::Other { user, .. } => user,
        }
    }
}

/// KiB as MiB.
#[expect(clippy::cast_precision_loss, reason = "a process has less than 2^52 KiB")]
pub fn mebibytes(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
