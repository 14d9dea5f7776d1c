//! Logs on standard output: JSON for machines, text for a developer's terminal.
use std::{error::Error as StdError, fmt::Write as _};

use clap::ValueEnum;
use tracing::Subscriber;
use tracing_subscriber::{filter::Targets, fmt::MakeWriter, layer::SubscriberExt};

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is not understood.
    #[error("read log filter {filter:?}; write it like info,kube=warn")]
    Filter {
        /// As it was given.
        filter: String,
        /// Which part is wrong.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Somebody set up logging before.
    #[error("set up logging")]
    Install(#[source] tracing::subscriber::SetGlobalDefaultError),
}

/// Sends the logs of the whole process to standard output, from now on.
///
/// # Errors
/// A filter that is not understood, or a second call in one process.
pub fn init(format: LogFormat, filter: &str) -> Result<(), Error> {
    let subscriber = subscriber(format, filter, std::io::stdout)?;
    tracing::subscriber::set_global_default(subscriber).map_err(Error::Install)
}

fn subscriber<W>(format: LogFormat, filter: &str, writer: W) -> Result<Box<dyn Subscriber + Send + Sync>, Error>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // By target and level. What else a filter may tell apart is not used, and would bring a regular expression engine.
    let filter: Targets = filter.parse().map_err(|source| Error::Filter { filter: filter.to_owned(), source })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let registry = tracing_subscriber::registry().with(filter);
    Ok(match format {
        LogFormat::Json => Box::new(registry.with(lines.json().flatten_event(true).with_span_list(false))),
        LogFormat::Text => Box::new(registry.with(lines.with_ansi(false))),
    })
}

/// An error and what caused it, on one line: a log line that holds only the outermost error says `apply Service play` and not why.
pub fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.ends_with(&said) {
            let _ = write!(text, ": {said}"); // a String takes every write
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(format, filter, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(instance = "a/b", "hello");
            tracing::debug!("hidden");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_has_one_object_a_line_with_fields_at_the_top() {
        let text = logged(LogFormat::Json, "info");
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(
            (line["message"].as_str(), line["level"].as_str(), line["instance"].as_str()),
            (Some("hello"), Some("INFO"), Some("a/b"))
        );
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn no_text_of_others_begins_a_line() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(LogFormat::Json, "info", move || writer.clone()).unwrap();
        let forged = "a\n{\"level\":\"INFO\",\"message\":\"all is well\"}\u{2028}\r";
        tracing::subscriber::with_default(subscriber, || tracing::warn!(name = forged, error = %forged, "{forged}"));
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!([&line["name"], &line["error"], &line["message"]], [forged; 3]);
    }

    #[test]
    fn text_has_no_escape_codes_and_the_filter_holds() {
        let text = logged(LogFormat::Text, "info");
        assert!(text.contains("hello") && !text.contains('\u{1b}') && !text.contains("hidden"), "{text}");
        assert!(logged(LogFormat::Text, "debug").contains("hidden"));
    }

    #[test]
    fn a_wrong_filter_is_quoted_back() {
        let error = subscriber(LogFormat::Json, "info,kube=loud", io::sink).err().unwrap();
        assert!(error.to_string().contains("\"info,kube=loud\""), "{error}");
    }

    #[test]
    fn the_chain_names_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("apply Service play")]
        struct Outer(#[source] Inner);
        #[derive(Debug, thiserror::Error)]
        #[error("send request: {0}")]
        struct Inner(#[source] io::Error);
        let error = Outer(Inner(io::Error::other("connection refused")));
        assert_eq!(chain(&error), "apply Service play: send request: connection refused");
    }
}
