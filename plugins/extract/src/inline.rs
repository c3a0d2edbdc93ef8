//! Markup inside a paragraph: emphasis, code, links, images, tags.

/// The text without its markup.
pub(crate) fn text(markup: &str) -> String {
    let mut out = String::with_capacity(markup.len());
    let mut rest = markup;
    while let Some(at) = rest.find(['\\', '`', '*', '_', '!', '[', '<']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        rest = step(from, &mut out);
    }
    out.push_str(rest);
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Takes one piece of markup, or the character that only looked like it.
fn step<'a>(from: &'a str, out: &mut String) -> &'a str {
    let mut chars = from.chars();
    let first = chars.next();
    let after = chars.as_str();
    match first {
        Some('\\') => {
            if let Some(escaped) = after.chars().next().filter(char::is_ascii_punctuation) {
                out.push(escaped);
                return after.get(1..).unwrap_or_default();
            }
        }
        Some('`') => return code(from, out),
        Some('*') => return after,
        // Emphasis begins or ends a word; inside one it is part of a name.
        Some('_') if !inside_a_word(out, after) => return after,
        Some('!') if after.starts_with('[') => return after,
        Some('[') => {
            if let Some(after) = link(after, out) {
                return after;
            }
        }
        Some('<') => {
            if let Some(after) = tag(after, out) {
                return after;
            }
        }
        _ => {}
    }
    out.extend(first);
    after
}

fn inside_a_word(before: &str, after: &str) -> bool {
    before.ends_with(char::is_alphanumeric) && after.starts_with(char::is_alphanumeric)
}

/// Code stands as it is, between as many marks as it begins with.
fn code<'a>(from: &'a str, out: &mut String) -> &'a str {
    let body = from.trim_start_matches('`');
    let marks = from.strip_suffix(body).unwrap_or(from);
    match body.split_once(marks) {
        Some((code, after)) => {
            out.push_str(code);
            after
        }
        None => {
            out.push_str(marks);
            body
        }
    }
}

/// `[words](where)` and `[words][name]` are their words.
fn link<'a>(after: &'a str, out: &mut String) -> Option<&'a str> {
    let end = matching(after, '[', ']')?;
    let (words, rest) = (after.get(..end)?, after.get(end + 1..)?);
    let rest = if let Some(target) = rest.strip_prefix('(') {
        target.get(matching(target, '(', ')')? + 1..)?
    } else {
        let name = rest.strip_prefix('[')?;
        name.get(name.find(']')? + 1..)?
    };
    // An image can stand in the words of a link; deeper than that nobody nests.
    let words = words.trim_start_matches("![");
    out.push_str(words.split_once("](").map_or(words, |(words, _)| words));
    Some(rest)
}

/// Where the bracket that is open is closed.
fn matching(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0_u32;
    for (at, c) in text.char_indices() {
        if c == close {
            if depth == 0 {
                return Some(at);
            }
            depth -= 1;
        } else if c == open {
            depth += 1;
        }
    }
    None
}

/// `<https://…>` is its address; `<b>`, `</b>`, `<!-- … -->` are nothing.
fn tag<'a>(after: &'a str, out: &mut String) -> Option<&'a str> {
    if let Some(comment) = after.strip_prefix("!--") {
        return Some(comment.split_once("-->").map_or("", |(_, after)| after));
    }
    let (inside, rest) = after.split_once('>')?;
    if inside.contains("://") || inside.contains('@') {
        out.push_str(inside);
        return Some(rest);
    }
    let name = inside.trim_start_matches('/');
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || inside.contains('<') {
        return None;
    }
    // Tags such as <br> separate words.
    out.push(' ');
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_goes_and_text_stays() {
        for (markup, expected) in [
            ("", ""),
            ("plain text", "plain text"),
            (
                "**bold** and *it* and _it_ and __b__",
                "bold and it and it and b",
            ),
            ("snake_case and `snake_*`", "snake_case and snake_*"),
            ("``a ` b``", "a ` b"),
            ("a ` alone", "a ` alone"),
            ("[words](http://a/b_(c)) after", "words after"),
            ("[a [b] c](d)", "a [b] c"),
            ("[words][name], [x] and a[1]", "words, [x] and a[1]"),
            ("![alt](a.png) [![badge](b.svg)](c)", "alt badge"),
            ("<https://a.b/c> <b>x</b> 1 < 2", "https://a.b/c x 1 < 2"),
            ("a<!-- hidden -->b <!-- open", "ab"),
            (r"\*not\* emphasis \ ok", r"*not* emphasis \ ok"),
            ("Grüße [ohne", "Grüße [ohne"),
            ("[broken](link", "[broken](link"),
        ] {
            assert_eq!(text(markup), expected, "{markup:?}");
        }
    }
}
