//! What PostgreSQL says, as others repeat it, without data of people: what is in a row or a key stands in lines of their own, `Detail`, `Where`
//! and the like, and a value that does not fit stands in quotes behind a colon, as in `invalid input syntax for type integer: "…"`.

/// Longest sentence that is told, in characters.
const LONGEST: usize = 300;
/// What follows in a sentence that data may stand in (PostgreSQL's JDBC driver, `ServerErrorMessage`).
const WITH_DATA: [&str; 5] = ["Detail:", "DETAIL:", "Where:", "Hint:", "Call getNextException"];
/// What a value begins with. Names of tables, columns and files have no colon before them.
const VALUE: &str = ": \"";

/// The sentence, as far as it holds no data.
pub fn without_data(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let end = WITH_DATA.iter().filter_map(|word| line.find(word)).min().unwrap_or(line.len());
    let told = line.get(..end).unwrap_or_default();
    // A value may have quotes in it: what follows it is left out as well.
    let told = told.split_once(VALUE).map_or_else(|| told.trim().to_owned(), |(before, _)| format!("{before}: …"));
    told.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_and_values_are_not() {
        for (said, told) in [
            (r#"ERROR: column "occurreddate" contains null values"#, r#"ERROR: column "occurreddate" contains null values"#),
            (
                r#"could not extend file "base/1/2": No space left on device"#,
                r#"could not extend file "base/1/2": No space left on device"#,
            ),
            (
                r#"ERROR: invalid input syntax for type double precision: "Ana "the" Silva" (X.java)"#,
                "ERROR: invalid input syntax for type double precision: …",
            ),
            ("ERROR: duplicate key  Detail: Key (name)=(Ana) exists", "ERROR: duplicate key"),
            ("ERROR: one\n  Ana", "ERROR: one"),
        ] {
            assert_eq!(without_data(said), told);
        }
        assert_eq!(without_data(&"é".repeat(400)).chars().count(), LONGEST);
    }
}
