//! What the options of the Java virtual machine say: the context path, the size of the heap, the logging configuration.
//! `JAVA_TOOL_OPTIONS` is read by the JVM; `JAVA_OPTS` and `CATALINA_OPTS` are put on the command line by catalina.sh, and the command line wins.

use std::fs;
use std::path::PathBuf;

/// What the stand-in takes from the options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `-Dcontext.path`. `None` when it is given nowhere: Tomcat's `server.xml` then serves nothing below any usable path.
    pub context_path: Option<String>,
    /// Size that the heap may grow to, in bytes.
    pub heap_max: u64,
    /// `-XX:+ExitOnOutOfMemoryError`.
    pub exits_without_heap: bool,
    /// `-Dlog4j2.configurationFile`.
    pub log_configuration: Option<PathBuf>,
}

impl Options {
    /// Reads the three variables; `memory` is what the container may use, in bytes.
    pub fn read(lookup: &dyn Fn(&str) -> Option<String>, memory: u64) -> Self {
        // A quarter of the memory is the JVM's default.
        let mut options = Self { context_path: None, heap_max: memory / 4, exits_without_heap: false, log_configuration: None };
        for variable in ["JAVA_TOOL_OPTIONS", "JAVA_OPTS", "CATALINA_OPTS"] {
            for token in tokens(&lookup(variable).unwrap_or_default()) {
                options.apply(&token, memory);
            }
        }
        options
    }

    fn apply(&mut self, token: &str, memory: u64) {
        if let Some(path) = token.strip_prefix("-Dcontext.path=") {
            self.context_path = Some(path.trim_end_matches('/').to_owned());
        } else if let Some(path) = token.strip_prefix("-Dlog4j2.configurationFile=") {
            self.log_configuration = Some(PathBuf::from(path.strip_prefix("file:").unwrap_or(path)));
        } else if let Some(sign) = token.strip_prefix("-XX:").and_then(|flag| flag.strip_suffix("ExitOnOutOfMemoryError")) {
            self.exits_without_heap = sign == "+";
        } else if let Some(bytes) = token.strip_prefix("-Xmx").and_then(size) {
            self.heap_max = bytes;
        } else if let Some(percent) = token.strip_prefix("-XX:MaxRAMPercentage=").and_then(|p| p.parse::<f64>().ok()) {
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let bytes = (memory as f64 * percent / 100.0) as u64;
            self.heap_max = bytes;
        }
    }
}

/// `512m`, `2g`, `65536k` or plain bytes.
fn size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (text.get(..at)?, 1 << 10),
        (at, 'm' | 'M') => (text.get(..at)?, 1 << 20),
        (at, 'g' | 'G') => (text.get(..at)?, 1 << 30),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// Words at blanks, quotes of both kinds removed, as the shell and the JVM do.
fn tokens(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// What this container may use, in bytes: the limit of its cgroup (version 2), else the machine's memory.
pub fn memory() -> u64 {
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    limit.or_else(machine_memory).unwrap_or(1 << 30)
}

fn machine_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(catalina: &str, tool: &str) -> Options {
        let env = |name: &str| match name {
            "CATALINA_OPTS" => Some(catalina.to_owned()),
            "JAVA_TOOL_OPTIONS" => Some(tool.to_owned()),
            _ => None,
        };
        Options::read(&env, 1000 << 20)
    }

    #[test]
    fn the_context_path_needs_its_option() {
        assert_eq!(read("", "").context_path, None);
        assert_eq!(read("-Dcontext.path=''", "").context_path.as_deref(), Some(""));
        assert_eq!(read("-Xms1g -Dcontext.path='/sub'", "").context_path.as_deref(), Some("/sub"));
        assert_eq!(read("-Dcontext.path=/a", "-Dcontext.path=/b").context_path.as_deref(), Some("/a"));
    }

    #[test]
    fn the_heap_is_a_size_or_a_share() {
        assert_eq!(read("", "").heap_max, 250 << 20);
        assert_eq!(read("", "-XX:MaxRAMPercentage=65.0").heap_max, 650 << 20);
        assert_eq!(read("-Xmx512m", "-Xmx2g").heap_max, 512 << 20);
    }

    #[test]
    fn the_log_configuration_is_a_path_or_url() {
        let path = |text| read("", text).log_configuration.unwrap();
        assert_eq!(path("-Dlog4j2.configurationFile=/opt/dhis2/log4j2.xml"), PathBuf::from("/opt/dhis2/log4j2.xml"));
        assert_eq!(path("-Dlog4j2.configurationFile=file:/x.xml"), PathBuf::from("/x.xml"));
    }
}
