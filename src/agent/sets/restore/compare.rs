//! What a restored database holds beside what its manifest says.

use crate::agent::sets::manifest::Contents;

/// So many differences are named.
const NAMED: usize = 5;

/// Everything that differs, a sentence each.
pub fn contents(manifest: &Contents, found: &Contents) -> Vec<String> {
    let rows = manifest.rows.iter().filter_map(|(table, rows)| match found.rows.get(table) {
        None => Some(format!("table {table} is missing")),
        Some(found) if found != rows => Some(format!("table {table} has {found} rows of {rows}")),
        Some(_) => None,
    });
    let more = found.rows.iter().filter(|(table, rows)| **rows > 0 && !manifest.rows.contains_key(*table));
    let more = more.map(|(table, rows)| format!("table {table} has {rows} rows and is not in the manifest"));
    let sums = manifest.sums.iter().filter(|(table, sum)| found.sums.get(*table) != Some(*sum));
    let sums = sums.map(|(table, _)| format!("table {table} has other content"));
    rows.chain(more).chain(sums).collect()
}

/// In words, the first few of many.
pub fn told(differences: &[String]) -> String {
    let first: Vec<&str> = differences.iter().take(NAMED).map(String::as_str).collect();
    let more = differences.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
    first.join("; ") + &rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(rows: &[(&str, u64)], sums: &[(&str, &str)]) -> Contents {
        Contents {
            rows: rows.iter().map(|(table, rows)| ((*table).to_owned(), *rows)).collect(),
            sums: sums.iter().map(|(table, sum)| ((*table).to_owned(), (*sum).to_owned())).collect(),
        }
    }

    #[test]
    fn whatever_differs_is_told() {
        let manifest = with(&[("public.a", 1), ("public.b", 2), ("public.c", 0)], &[("a", "x"), ("b", "y")]);
        assert!(contents(&manifest, &manifest).is_empty());
        let derived = with(&[("public.a", 1), ("public.analytics", 0), ("public.b", 2), ("public.c", 0)], &[("a", "x"), ("b", "y")]);
        assert!(contents(&manifest, &derived).is_empty(), "tables without their data are no difference");
        let found = with(&[("public.b", 1), ("public.c", 0), ("public.d", 3)], &[("a", "z")]);
        let differences = [
            "table public.a is missing",
            "table public.b has 1 rows of 2",
            "table public.d has 3 rows and is not in the manifest",
            "table a has other content",
            "table b has other content",
        ];
        assert_eq!(contents(&manifest, &found), differences);
    }

    #[test]
    fn of_many_differences_the_first_are_named() {
        let many: Vec<String> = (0..7).map(|number| number.to_string()).collect();
        assert_eq!(told(&many), "0; 1; 2; 3; 4; and 2 more");
        assert_eq!(told(&many[..2]), "0; 1");
    }
}
