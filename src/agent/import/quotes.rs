//! What a line of SQL ends inside of: a text, a name, a body, a comment.

/// What a line ends inside of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Inside {
    /// Nothing that holds lines of its own.
    #[default]
    Nothing,
    /// '…'
    Text,
    /// E'…', in which a backslash takes the next character with it.
    Escaped,
    /// "…"
    Name,
    /// $tag$…$tag$
    Body(Vec<u8>),
    /// /* … */, so deep.
    Comment(u32),
}

/// What a line ends inside of that begins inside of `inside`, and the last that it says outside of comments.
pub fn after(mut inside: Inside, line: &[u8]) -> (Inside, u8) {
    let (mut rest, mut before, mut last) = (line, [b' '; 2], b' ');
    while let Some((&first, others)) = rest.split_first() {
        rest = others;
        let next = others.first().copied();
        let mut skip = 0;
        inside = match (inside, first) {
            (Inside::Nothing, b'\'') if is_escape(before) => Inside::Escaped,
            (Inside::Nothing, b'\'') => Inside::Text,
            (Inside::Nothing, b'"') => Inside::Name,
            (Inside::Nothing, b'-') if next == Some(b'-') => return (Inside::Nothing, last),
            (Inside::Nothing, b'/') if next == Some(b'*') => {
                skip = 1;
                Inside::Comment(1)
            }
            (Inside::Nothing, b'$') => tag(rest).map_or(Inside::Nothing, |tag| {
                skip = tag.len() + 1;
                Inside::Body(tag.to_vec())
            }),
            // A doubled quote is one of the text, a backslash takes the next character with it.
            (inside @ (Inside::Text | Inside::Escaped), b'\'') | (inside @ Inside::Name, b'"') if next == Some(first) => {
                skip = 1;
                inside
            }
            (Inside::Text | Inside::Escaped, b'\'') | (Inside::Name, b'"') => Inside::Nothing,
            (Inside::Escaped, b'\\') => {
                skip = 1;
                Inside::Escaped
            }
            (Inside::Body(tag), b'$') if rest.strip_prefix(tag.as_slice()).is_some_and(|rest| rest.starts_with(b"$")) => {
                skip = tag.len() + 1;
                Inside::Nothing
            }
            (Inside::Comment(depth), b'/') if next == Some(b'*') => {
                skip = 1;
                Inside::Comment(depth + 1)
            }
            (Inside::Comment(depth), b'*') if next == Some(b'/') => {
                skip = 1;
                if depth > 1 { Inside::Comment(depth - 1) } else { Inside::Nothing }
            }
            (inside, _) => inside,
        };
        let silent = matches!(inside, Inside::Comment(_)) || first.is_ascii_whitespace() || first == b'*' && skip == 1;
        last = if silent { last } else { first };
        rest = rest.get(skip..).unwrap_or_default();
        before = [before[1], first];
    }
    (inside, last)
}

/// Does what comes before a quote make it one of an escaped text: an E that is no part of a name?
fn is_escape([before, last]: [u8; 2]) -> bool {
    matches!(last, b'E' | b'e') && !before.is_ascii_alphanumeric() && before != b'_'
}

/// The tag of a dollar quote, whose first `$` was read.
fn tag(rest: &[u8]) -> Option<&[u8]> {
    let tag = rest.get(..rest.iter().position(|byte| *byte == b'$')?)?;
    let name = tag.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') && !tag.first().is_some_and(u8::is_ascii_digit);
    name.then_some(tag)
}
