//! What to do about some of what PostgreSQL says to a dump.

/// Types of PostGIS that a table of DHIS2 may have.
const SPATIAL: [&str; 2] = ["geometry", "geography"];

/// What was said, and what to do where that is known.
pub fn with(said: &str) -> String {
    let advice = collation(said).or_else(|| postgis(said));
    advice.map_or_else(|| said.to_owned(), |advice| format!("{said}; {advice}"))
}

/// Collations of the C library are those of the old server's image.
fn collation(said: &str) -> Option<String> {
    let name = named(said, "collation \"", "\" for encoding ")?;
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    Some(format!(
        "ICU sorts here, alike on every image: take COLLATE \"{name}\" out of the dump (first make SQL of an archive, with pg_restore --file), or give the column another collation on the old server"
    ))
}

fn postgis(said: &str) -> Option<String> {
    let (schema, kind) = named(said, "type \"", "\" does not exist")?.rsplit_once('.')?;
    let told = format!(
        "PostGIS is in schema public here: write public.{kind} for {schema}.{kind} in the dump (first make SQL of an archive, with pg_restore --file)"
    );
    (schema != "public" && SPATIAL.contains(&kind)).then_some(told)
}

fn named<'a>(said: &'a str, before: &str, after: &str) -> Option<&'a str> {
    said.split_once(before)?.1.split_once(after).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_to_help_is_told() {
        let told = |said: &str| with(said).strip_prefix(said).map(str::to_owned).unwrap();
        assert!(
            told("line 4: collation \"pg_catalog.sw_TZ.utf8\" for encoding \"UTF8\" does not exist")
                .contains("take COLLATE \"sw_TZ.utf8\" out")
        );
        assert!(
            told("ERROR:  type \"gis.geometry\" does not exist | Command was: CREATE TABLE a (")
                .contains("public.geometry for gis.geometry in")
        );
        for other in ["line 4: type \"gis.color\" does not exist", "line 4: type \"geometry\" does not exist", "line 4: syntax error"] {
            assert_eq!(told(other), "", "{other}");
        }
    }
}
