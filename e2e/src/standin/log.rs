//! Log lines as DHIS2 and Tomcat write them: log4j text on stdout and in `DHIS2_HOME/logs`, or JSON on stdout alone when
//! `-Dlog4j2.configurationFile` names a JSON layout. Tomcat's own lines are text in either case.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::json;

/// A log that every part of the stand-in writes to.
#[derive(Clone)]
pub struct Log {
    layout: Arc<Layout>,
}

enum Layout {
    /// Text on stdout and, when it could be opened, in this file.
    Text(Option<Mutex<File>>),
    /// One JSON object a line, as `JsonTemplateLayout` with `LogstashJsonEventLayoutV1.json`.
    Json,
    /// log4j found its configuration unusable and falls back to errors on the console.
    Errors,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As planned.
    Info,
    /// Worth a look.
    Warn,
    /// Something failed.
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

impl Log {
    /// Opens the log: by the configuration when one is named, else text with files below `home`.
    pub fn open(configuration: Option<&Path>, home: &Path) -> Self {
        let layout = match configuration.map(fs::read_to_string) {
            None => Layout::Text(open_file(home)),
            Some(Ok(text)) if text.contains("JsonTemplateLayout") => Layout::Json,
            Some(Ok(_)) => Layout::Text(None),
            Some(Err(error)) => {
                eprintln!("ERROR StatusLogger Unable to access the configured log4j2.configurationFile: {error}");
                Layout::Errors
            }
        };
        Self { layout: Arc::new(layout) }
    }

    /// A line of DHIS2 at INFO.
    pub fn info(&self, class: &str, message: &str) {
        self.write(Level::Info, class, message);
    }

    /// A line of DHIS2 at WARN.
    pub fn warn(&self, class: &str, message: &str) {
        self.write(Level::Warn, class, message);
    }

    /// A line of DHIS2 at ERROR.
    pub fn error(&self, class: &str, message: &str) {
        self.write(Level::Error, class, message);
    }

    /// A line of Tomcat, always text.
    pub fn tomcat(&self, level: &str, class: &str, message: &str) {
        line(&format!("{} {level} [main] {class} {message}", now().strftime("%d-%b-%Y %H:%M:%S.%3f")));
    }

    fn write(&self, level: Level, class: &str, message: &str) {
        let thread = std::thread::current().name().unwrap_or("main").to_owned();
        let text = || {
            let time = now().strftime("%Y-%m-%dT%H:%M:%S,%3f");
            format!("* {:<5} {time} {message} ({class}.java [{thread}])", level.name())
        };
        match &*self.layout {
            Layout::Json => line(&json_line(level, class, message, &thread)),
            Layout::Errors if level == Level::Error => line(&text()),
            Layout::Errors => {}
            Layout::Text(file) => {
                let text = text();
                line(&text);
                if let Some(Ok(mut file)) = file.as_ref().map(Mutex::lock) {
                    // A full disk must not end the server: log4j says so once on stderr, and goes on.
                    let _ = writeln!(file, "{text}");
                }
            }
        }
    }
}

fn json_line(level: Level, class: &str, message: &str, thread: &str) -> String {
    json!({
        "@version": 1,
        "source_host": std::env::var("HOSTNAME").unwrap_or_default(),
        "message": message,
        "thread_name": thread,
        "@timestamp": now().strftime("%Y-%m-%dT%H:%M:%S.%3f+0000").to_string(),
        "level": level.name(),
        "logger_name": format!("org.hisp.dhis.{class}"),
    })
    .to_string()
}

fn open_file(home: &Path) -> Option<Mutex<File>> {
    let folder = home.join("logs");
    fs::create_dir_all(&folder).ok()?;
    let file = File::options().create(true).append(true).open(folder.join("dhis.log")).ok()?;
    Some(Mutex::new(file))
}

/// The time that containers have: UTC, without a zone in what DHIS2 prints.
pub fn now() -> DateTime {
    TimeZone::UTC.to_datetime(Timestamp::now())
}

/// `2026-11-25T03:00:00.000`: dates of the API carry no time zone (dhis2-core at 2.42.4.1, observed).
pub fn date(of: DateTime) -> String {
    of.strftime("%Y-%m-%dT%H:%M:%S.%3f").to_string()
}

/// An error with all its sources, each told once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Nobody may be reading stdout any more: that is no reason to end.
fn line(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
