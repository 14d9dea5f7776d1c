//! The text of `dhis.conf`.
//!
//! DHIS2 reads the file as Java Properties in ISO-8859-1, then passes each value through commons-text's
//! `StringSubstitutor` over its environment, then trims it (dhis2-core, `DefaultDhisConfigurationProvider`; observed at
//! 2.42.4.1). What is substituted is substituted again, so a secret that holds `${` is not taken as it is.

use std::{collections::BTreeMap, fmt::Write};

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Taken as it is, but for blanks at its ends, which DHIS2 cuts off.
    Text(String),
    /// Content of an environment variable of DHIS2's container.
    Environment(String),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// The file: one line a key, in the order of the keys.
pub fn write(entries: &BTreeMap<String, Value>) -> String {
    entries.iter().fold(String::new(), |mut file, (key, value)| {
        let value = match value {
            Value::Text(text) => escape(&literal(text), &[]),
            Value::Environment(variable) => format!("${{{variable}}}"),
        };
        // Writing to a String can't fail, here and below.
        let _ = writeln!(file, "{} = {value}", escape(key, &[' ', ':', '=', '#', '!']));
        file
    })
}

/// A text that the substitution gives back unchanged: `${` becomes `$${` where a `}` follows. Without one it is no variable,
/// and the substitution would leave the escape in place.
fn literal(text: &str) -> String {
    let end = text.rfind('}').unwrap_or(0);
    let mut escaped = String::with_capacity(text.len());
    let mut rest = 0;
    for (at, prefix) in text.match_indices("${") {
        escaped.push_str(text.get(rest..at).unwrap_or_default());
        escaped.push_str(if at < end { "$${" } else { prefix });
        rest = at + prefix.len();
    }
    escaped.push_str(text.get(rest..).unwrap_or_default());
    escaped
}

/// A key or a value as Properties write it: backslashes doubled, control and non-ASCII characters as `\uXXXX`, a blank at the
/// start kept, and what would end a key or make a comment (`ends`) escaped.
fn escape(text: &str, ends: &[char]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (index, character) in text.chars().enumerate() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            ' '..='~' => {
                if ends.contains(&character) || (index == 0 && character == ' ') {
                    escaped.push('\\');
                }
                escaped.push(character);
            }
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    let _ = write!(escaped, "\\u{unit:04X}");
                }
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `java.util.Properties.load`, over lines that end in a line feed.
    fn properties(file: &str) -> BTreeMap<String, String> {
        assert!(file.is_ascii(), "the file is read as ISO-8859-1");
        let mut entries = BTreeMap::new();
        for line in file.lines() {
            let mut units = Vec::new();
            let mut key = None;
            let mut characters = line.trim_start_matches([' ', '\t', '\x0c']).chars().peekable();
            while let Some(character) = characters.next() {
                match character {
                    '\\' => match characters.next().expect("no continuation lines are written") {
                        'u' => {
                            let hex: String = characters.by_ref().take(4).collect();
                            units.push(u16::from_str_radix(&hex, 16).expect("four hexadecimal digits"));
                        }
                        plain => units.push(plain as u16),
                    },
                    '=' | ':' | ' ' if key.is_none() => {
                        let mut separated = character != ' ';
                        while let Some(next) = characters.peek() {
                            match next {
                                ' ' => {}
                                '=' | ':' if !separated => separated = true,
                                _ => break,
                            }
                            characters.next();
                        }
                        key = Some(String::from_utf16(&std::mem::take(&mut units)).unwrap());
                    }
                    plain => units.push(plain as u16),
                }
            }
            entries.insert(key.unwrap_or_default(), String::from_utf16(&units).unwrap());
        }
        entries
    }

    /// `StringSubstitutor.replace` of commons-text 1.10 and later without defaults: variables that are not known stay.
    fn substitute(text: &str, environment: &BTreeMap<&str, &str>) -> String {
        let mut buffer: Vec<char> = text.chars().collect();
        let mut at = 0;
        let mut escape = None;
        'outer: while at < buffer.len() {
            if buffer[at..].starts_with(&['$', '{']) {
                if at > 0 && buffer[at - 1] == '$' {
                    escape = Some(at - 1);
                }
                let start = at;
                at += 2;
                while at < buffer.len() {
                    if buffer[at] == '}' {
                        if let Some(escape) = escape.take() {
                            buffer.remove(escape);
                            at = start + 1;
                            continue 'outer;
                        }
                        let name: String = buffer[start + 2..at].iter().collect();
                        at += 1;
                        if let Some(value) = environment.get(name.as_str()) {
                            let value: Vec<char> = substitute(value, environment).chars().collect();
                            let length = value.len();
                            buffer.splice(start..at, value);
                            at = start + length;
                        }
                        continue 'outer;
                    }
                    at += 1;
                }
            } else {
                at += 1;
            }
        }
        buffer.into_iter().collect()
    }

    /// What DHIS2 makes of a file.
    fn read(file: &str) -> BTreeMap<String, String> {
        let environment = BTreeMap::from([("SECRET", "se cret\\"), ("A", "wrong")]);
        properties(file)
            .into_iter()
            .map(|(key, value)| (key, substitute(&value, &environment).trim_matches(|c| c <= ' ').to_owned()))
            .collect()
    }

    fn read_back(text: &str) -> String {
        let file = write(&BTreeMap::from([("key".to_owned(), Value::from(text))]));
        read(&file).remove("key").expect("one key")
    }

    #[test]
    fn values_are_taken_as_they_are() {
        for text in [
            "plain",
            "a = b # c ! d",
            "C:\\path\\u0041",
            "${A}",
            "$${A}",
            "$$${A}",
            "${A",
            "a}${",
            "${${A}}",
            "${a${A}b}",
            "${A}${A",
            "$A",
            "}",
            "",
            "Santé — 健康 🦟",
            "#",
            "!",
            "${A:-b}",
        ] {
            assert_eq!(read_back(text), text);
        }
    }

    #[test]
    fn secrets_come_from_the_environment() {
        let file = write(&BTreeMap::from([("connection.password".to_owned(), Value::Environment("SECRET".into()))]));
        assert_eq!(file, "connection.password = ${SECRET}\n");
        assert_eq!(read(&file)["connection.password"], "se cret\\");
    }

    proptest! {
        #[test]
        fn any_value_is_read_back(text in "[ -~éλ🦟\\\\${}A#!=:\u{80}-\u{9f}]{0,24}") {
            prop_assert_eq!(read_back(&text), text.trim_matches(|c| c <= ' '));
        }

        #[test]
        fn any_substitution_is_read_back(text in "[${}A]{0,12}") {
            prop_assert_eq!(read_back(&text), text);
        }

        #[test]
        fn any_key_is_read_back(key in "[a-z0-9_.:=#! \\\\é-]{1,16}") {
            let file = write(&BTreeMap::from([(key.clone(), Value::from("v"))]));
            prop_assert_eq!(read(&file), BTreeMap::from([(key, "v".to_owned())]));
        }
    }
}
