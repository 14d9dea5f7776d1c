//! Java's Properties format, as `java.util.Properties.load(InputStream)` reads it: ISO-8859-1, escapes, continuation lines,
//! and the last of two equal keys wins.

use std::collections::BTreeMap;

/// Why a file is no Properties file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertiesError {
    /// `\u` without four hexadecimal digits.
    #[error("Malformed \\uxxxx encoding.")]
    MalformedUnicode,
}

/// The pairs of a file.
///
/// # Errors
/// When a `\u` is not followed by four hexadecimal digits: Java throws for the whole file, too.
pub fn parse(bytes: &[u8]) -> Result<BTreeMap<String, String>, PropertiesError> {
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let mut pairs = BTreeMap::new();
    for line in logical_lines(&text) {
        let (key, value) = split(&line);
        pairs.insert(unescape(key)?, unescape(value)?);
    }
    Ok(pairs)
}

/// Lines without comments and blanks, continuations joined.
fn logical_lines(text: &str) -> Vec<String> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines = Vec::new();
    let mut open: Option<String> = None;
    for natural in text.split('\n') {
        let natural = natural.trim_start_matches([' ', '\t', '\u{c}']);
        if open.is_none() && (natural.is_empty() || natural.starts_with(['#', '!'])) {
            continue;
        }
        let mut line = open.take().unwrap_or_default();
        let continues = natural.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1;
        line.push_str(if continues { natural.strip_suffix('\\').unwrap_or(natural) } else { natural });
        if continues {
            open = Some(line);
        } else {
            lines.push(line);
        }
    }
    lines.extend(open);
    lines
}

/// The key ends at the first `=`, `:` or blank that no backslash precedes.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line
        .char_indices()
        .find(|(_, c)| {
            let ends = !escaped && matches!(c, '=' | ':' | ' ' | '\t' | '\u{c}');
            escaped = *c == '\\' && !escaped;
            ends
        })
        .map_or(line.len(), |(at, _)| at);
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start_matches([' ', '\t', '\u{c}']);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start_matches([' ', '\t', '\u{c}']))
}

fn unescape(text: &str) -> Result<String, PropertiesError> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let unit = match c {
            '\\' => match chars.next() {
                Some('t') => u16::from(b'\t'),
                Some('n') => u16::from(b'\n'),
                Some('r') => u16::from(b'\r'),
                Some('f') => 0xc,
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let valid = digits.len() == 4 && digits.chars().all(|d| d.is_ascii_hexdigit());
                    let unit = u16::from_str_radix(&digits, 16).map_err(|_| PropertiesError::MalformedUnicode)?;
                    if !valid {
                        return Err(PropertiesError::MalformedUnicode);
                    }
                    unit
                }
                // Everything that was read is ISO-8859-1, so it fits.
                Some(other) => u16::try_from(u32::from(other)).unwrap_or(0xfffd),
                None => continue,
            },
            other => u16::try_from(u32::from(other)).unwrap_or(0xfffd),
        };
        units.push(unit);
    }
    Ok(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &[u8]) -> String {
        parse(text).unwrap().remove("k").unwrap()
    }

    #[test]
    fn reads_as_java_does() {
        assert_eq!(one(b"k = a#b=c \n"), "a#b=c ");
        assert_eq!(one(b"  k:v"), "v");
        assert_eq!(one(b"k v w"), "v w");
        assert_eq!(one(b"#k=0\n!k=1\nk=2\r\nk=3"), "3");
        assert_eq!(one(b"k=a\\\n   b\\\\\nx=1"), "ab\\");
        assert_eq!(one(b"k=C:\\dir\\new"), "C:dir\new");
        assert_eq!(one(b"k=\xe9\\u00e9\\ud83d\\ude00"), "\u{e9}\u{e9}\u{1f600}");
        assert_eq!(one("k=é".as_bytes()), "Ã©");
        assert_eq!(parse(b"a\\=b=c").unwrap().get("a=b").unwrap(), "c");
    }

    #[test]
    fn a_bad_unicode_escape_throws() {
        assert_eq!(parse(b"k=\\uZZZZ"), Err(PropertiesError::MalformedUnicode));
        assert_eq!(parse(b"k=\\u+123"), Err(PropertiesError::MalformedUnicode));
    }
}
