//! The agent's own log: one JSON object a line on standard error.

use std::io::Write;

use serde_json::json;

use crate::report::Verb;

/// Writes log lines of one verb.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    verb: Verb,
}

impl Log {
    /// The log of `verb`.
    pub fn new(verb: Verb) -> Self {
        Self { verb }
    }

    /// A step on the way.
    pub fn info(self, message: &str) {
        self.line("info", message);
    }

    /// Something that a person should look at, later.
    pub fn warn(self, message: &str) {
        self.line("warn", message);
    }

    /// The verb's failure.
    pub fn error(self, message: &str) {
        self.line("error", message);
    }

    fn line(self, level: &str, message: &str) {
        let line = json!({ "ts": format!("{:.3}", jiff::Timestamp::now()), "level": level, "verb": self.verb, "message": message });
        // A log that nobody can read any more must not end the database.
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }
}
