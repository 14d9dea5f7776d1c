//! `${NAME}` in the values of dhis.conf, as Apache Commons Text's `StringSubstitutor` replaces it from the environment:
//! `${NAME:-default}`, recursion into what was found, `$${NAME}` for a literal, and unknown names left as they are.

/// A name that refers to itself: Commons Text throws.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("Infinite loop in property interpolation of {0}")]
pub struct Loop(String);

/// `text` with every known name replaced.
///
/// # Errors
/// When a name refers to itself, directly or through others.
pub fn substitute(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, Loop> {
    within(text, lookup, &mut Vec::new())
}

fn within(text: &str, lookup: &dyn Fn(&str) -> Option<String>, open: &mut Vec<String>) -> Result<String, Loop> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        let Some(end) = from.find('}') else { break };
        let (token, after) = from.split_at(end + 1);
        let name = token.trim_start_matches("${").trim_end_matches('}');
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str(token);
        } else {
            out.push_str(before);
            out.push_str(&value(token, name, lookup, open)?);
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn value(token: &str, name: &str, lookup: &dyn Fn(&str) -> Option<String>, open: &mut Vec<String>) -> Result<String, Loop> {
    // `${${A}}` is not resolved: names are taken as they stand.
    if token.get(2..).is_some_and(|inner| inner.contains("${")) {
        return Ok(token.to_owned());
    }
    let (name, default) = name.split_once(":-").map_or((name, None), |(name, default)| (name, Some(default)));
    if open.iter().any(|other| other == name) {
        return Err(Loop(name.to_owned()));
    }
    let Some(found) = lookup(name).or_else(|| default.map(str::to_owned)) else {
        return Ok(token.to_owned());
    };
    open.push(name.to_owned());
    let value = within(&found, lookup, open)?;
    open.pop();
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        let value = match name {
            "A" => "a",
            "EMPTY" => "",
            "NEST" => "<${A}>",
            "SELF" => "${SELF}",
            "SLASH" => r"c:\x",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn replaces_as_commons_text_does() {
        for (text, want) in [
            ("x${A}y${A}", "xaya"),
            ("${EMPTY}", ""),
            ("${NONE}", "${NONE}"),
            ("${NONE:-d}", "d"),
            ("${NONE:-}", ""),
            ("${A:-d}", "a"),
            ("${NEST}", "<a>"),
            ("$${A}", "${A}"),
            ("${${A}}", "${${A}}"),
            ("${SLASH}", r"c:\x"),
            ("100% $5 ${", "100% $5 ${"),
        ] {
            assert_eq!(substitute(text, &env).unwrap(), want, "{text}");
        }
        assert_eq!(substitute("${SELF}", &env), Err(Loop("SELF".to_owned())));
    }
}
