//! YAML in and out.
//!
//! Two libraries, since neither does both: `serde_yaml` reads several documents of one file, and `serde-saphyr` quotes what kubectl's
//! YAML 1.1 reader would take for a boolean, a number or a date (`yes`, `1_000`, `12:30:45`, `2026-01-01`).
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Why text could not be read or written as YAML.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One document of the text is no YAML or has another shape than asked for.
    #[error("read YAML document {number}")]
    Read {
        /// Which document of the text, counted from 1.
        number: usize,
        /// What is wrong, with line and column.
        source: serde_yaml::Error,
    },
    /// A value could not be written.
    #[error("write YAML")]
    Write(#[source] serde_saphyr::ser::Error),
}

/// Reads every document of `text`; empty ones are left out.
///
/// # Errors
/// The first document that is no YAML or does not fit `T`.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, Error> {
    let mut values = Vec::new();
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let number = index + 1;
        let value = serde_yaml::Value::deserialize(document).map_err(|source| Error::Read { number, source })?;
        if !value.is_null() {
            values.push(serde_yaml::from_value(value).map_err(|source| Error::Read { number, source })?);
        }
    }
    Ok(values)
}

/// Writes one value as one document, without a `---` line.
///
/// # Errors
/// A value that YAML cannot hold.
pub fn write<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_saphyr::to_string(value).map_err(Error::Write)
}

/// Writes values as documents that `kubectl apply -f -` takes, each begun by a `---` line.
///
/// # Errors
/// The first value that YAML cannot hold.
pub fn write_all<'a, T: Serialize + 'a>(values: impl IntoIterator<Item = &'a T>) -> Result<String, Error> {
    values.into_iter().try_fold(String::new(), |mut text, value| {
        let document = write(value)?;
        text.push_str("---\n");
        text.push_str(&document);
        if !document.ends_with('\n') {
            text.push('\n');
        }
        Ok(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Strings that a YAML 1.1 reader takes for something else unless they are quoted.
    const TRAPS: &[&str] = &[
        "yes",
        "no",
        "on",
        "off",
        "y",
        "n",
        "Y",
        "N",
        "true",
        "False",
        "null",
        "~",
        "",
        "1_000",
        "0x1F",
        "010",
        "0o17",
        "0b11",
        "1e3",
        ".5",
        "+1",
        "-1",
        "12:30:45",
        "190:20:30",
        "2026-01-01",
        "2026-01-01T00:00:00Z",
        ".inf",
        "-.INF",
        ".nan",
        "<<",
        "=",
        "*a",
        "&a",
        "!a",
        "%a",
        "@a",
        "`a",
        "- a",
        "? a",
        "a: b",
        "a #b",
        " a",
        "a ",
        "\ta",
        "a\n",
        "a\nb\n",
        "\na",
        "{a}",
        "[a]",
        "'a'",
        "\"a\"",
        "---",
        "...",
        "a\u{7f}b",
        "\u{feff}a",
        "é",
        "65534",
        "2.42",
        "1.10",
        "0 1 * * *",
    ];

    #[test]
    fn every_trap_comes_back_as_the_same_string() {
        for trap in TRAPS {
            let value = json!({ "value": trap, *trap: "key", "list": [trap] });
            let text = write(&value).unwrap();
            let back: Vec<Value> = read(&text).unwrap();
            assert_eq!(back, [value], "written as:\n{text}");
        }
    }

    #[test]
    fn words_of_yaml_1_1_are_quoted() {
        for trap in ["yes", "no", "on", "off", "y", "n", "1_000", "12:30:45", "2026-01-01", "010", "0x1F"] {
            let text = write(&json!({ "value": trap })).unwrap();
            assert!(text.contains(&format!("\"{trap}\"")) || text.contains(&format!("'{trap}'")), "not quoted: {text}");
        }
    }

    #[test]
    fn several_documents_are_read_and_empty_ones_are_not() {
        let found: Vec<Value> = read("---\na: 1\n---\n---\n# only a comment\n---\nb: 2\n").unwrap();
        assert_eq!(found, [json!({ "a": 1 }), json!({ "b": 2 })]);
    }

    #[test]
    fn documents_written_together_are_read_apart() {
        let values = [json!({ "a": "x\ny" }), json!({ "b": [1, 2] })];
        let text = write_all(&values).unwrap();
        assert_eq!(read::<Value>(&text).unwrap(), values);
    }

    #[test]
    fn an_error_names_the_document() {
        let error = read::<Value>("a: 1\n---\nb: [1\n").unwrap_err();
        assert_eq!(error.to_string(), "read YAML document 2");
    }
}
