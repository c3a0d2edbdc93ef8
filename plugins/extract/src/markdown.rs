//! Markdown, as far as its text is wanted: headings, paragraphs, lists, quotes, tables. Code
//! blocks, comments, front matter and link definitions are left out.

use crate::{Document, Heading, inline};

/// Reads a Markdown document.
pub(crate) fn read(markdown: &str) -> Document {
    let mut reader = Reader::default();
    for line in without_front_matter(markdown) {
        reader.line(line);
    }
    reader.end_paragraph();
    let mut document = reader.document;
    let largest = document.headings.iter().min_by_key(|heading| heading.level);
    document.title = largest.map_or_else(String::new, |heading| heading.text.clone());
    document
}

/// The level and the words of a line such as `## Words`; none for any other line.
pub(crate) fn heading(line: &str) -> Option<(usize, &str)> {
    let words = line.trim_start_matches('#');
    let level = line.len() - words.len();
    ((1..=6).contains(&level) && words.starts_with(' '))
        .then(|| (level, words.trim().trim_end_matches('#').trim_end()))
}

/// Metadata at the beginning, between two lines of `---`.
fn without_front_matter(markdown: &str) -> impl Iterator<Item = &str> {
    let mut lines = markdown.lines();
    if markdown.starts_with("---\n") && lines.clone().skip(1).any(|line| line == "---") {
        lines.next();
        lines.by_ref().find(|line| *line == "---");
    }
    lines
}

#[derive(Default)]
struct Reader {
    document: Document,
    /// The lines of the paragraph so far, joined.
    paragraph: String,
    /// Inside a code block: the marks that end it.
    fence: Option<&'static str>,
    in_comment: bool,
}

impl Reader {
    fn line(&mut self, line: &str) {
        let line = line.trim_end();
        let text = unquoted(line.trim_start());
        if self.in_comment {
            self.in_comment = !text.contains("-->");
        } else if let Some(fence) = self.fence {
            if text.starts_with(fence) {
                self.fence = None;
            }
        } else if let Some(fence) = fence(text) {
            self.end_paragraph();
            self.fence = Some(fence);
        } else if text.starts_with("<!--") && !text.contains("-->") {
            self.end_paragraph();
            self.in_comment = true;
        } else if let Some((level, words)) = heading(text) {
            self.end_paragraph();
            self.heading(level, words);
        } else if let Some(level) = underline(text).filter(|_| !self.paragraph.is_empty()) {
            let words = std::mem::take(&mut self.paragraph);
            self.heading(level, &words);
        } else if text.is_empty() || is_rule(text) || is_definition(text) {
            self.end_paragraph();
        } else if let Some(row) = text.strip_prefix('|') {
            self.end_paragraph();
            self.row(row);
        } else if line.starts_with("    ") && self.paragraph.is_empty() && item(text).is_none() {
            // A code block by indentation.
        } else {
            self.words(text);
        }
    }

    /// Words of a paragraph, or the beginning of a list item, which is a paragraph of its own.
    fn words(&mut self, text: &str) {
        let words = item(text);
        if words.is_some() {
            self.end_paragraph();
        }
        if !self.paragraph.is_empty() {
            self.paragraph.push(' ');
        }
        self.paragraph.push_str(words.unwrap_or(text));
    }

    fn row(&mut self, row: &str) {
        let cells: Vec<&str> = row
            .trim_end_matches('|')
            .split('|')
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .collect();
        // The line between the head of a table and its body.
        if cells
            .iter()
            .any(|cell| !cell.trim_matches([':', '-']).is_empty())
        {
            self.paragraph = cells.join(": ");
            self.end_paragraph();
        }
    }

    fn heading(&mut self, level: usize, words: &str) {
        let text = inline::text(words);
        if !text.is_empty() {
            self.document.headings.push(Heading { level, text });
        }
    }

    fn end_paragraph(&mut self) {
        let text = inline::text(&std::mem::take(&mut self.paragraph));
        if text.contains(char::is_alphanumeric) {
            self.document.paragraphs.push(text);
        }
    }
}

/// A quote is read like what it quotes.
fn unquoted(mut text: &str) -> &str {
    while let Some(quoted) = text.strip_prefix('>') {
        text = quoted.trim_start();
    }
    text
}

fn fence(text: &str) -> Option<&'static str> {
    ["```", "~~~"]
        .into_iter()
        .find(|fence| text.starts_with(fence))
}

/// The level of a heading whose second line this is.
fn underline(text: &str) -> Option<usize> {
    let all = |mark| text.len() >= 2 && text.chars().all(|c| c == mark);
    if all('=') {
        Some(1)
    } else if all('-') {
        Some(2)
    } else {
        None
    }
}

fn is_rule(text: &str) -> bool {
    ['-', '*', '_']
        .into_iter()
        .any(|mark| text.matches(mark).count() >= 3 && text.chars().all(|c| c == mark || c == ' '))
}

/// `[name]: where` says where a link goes.
fn is_definition(text: &str) -> bool {
    text.starts_with('[') && text.contains("]: ")
}

/// The words of a list item, without its mark.
fn item(text: &str) -> Option<&str> {
    let numbered = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let words = if numbered.len() < text.len() {
        numbered.strip_prefix(['.', ')'])
    } else {
        text.strip_prefix(['-', '*', '+'])
    };
    let words = words?.strip_prefix(' ')?.trim_start();
    let task = ["[ ] ", "[x] ", "[X] "];
    Some(
        task.into_iter()
            .find_map(|mark| words.strip_prefix(mark))
            .unwrap_or(words),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs() {
        for (markdown, expected) in [
            ("", vec![]),
            ("one\ntwo\n\nthree", vec!["one two", "three"]),
            (
                "- a\n- b\n  more\n1. c\n2) d",
                vec!["a", "b more", "c", "d"],
            ),
            ("* [x] done\n* [ ] open", vec!["done", "open"]),
            ("> a\n> b\n> > c", vec!["a b c"]),
            ("a\n```rust\nlet x = 1;\n```\nb", vec!["a", "b"]),
            ("~~~\nnever closed", vec![]),
            ("| a | b |\n|---|:-:|\n| `c` | d |", vec!["a: b", "c: d"]),
            ("a\n\n    code\n\nb", vec!["a", "b"]),
            ("a\n\n---\n\n* * *\n\nb", vec!["a", "b"]),
            ("<!-- one -->\n<!--\ntwo\n-->\nthree", vec!["three"]),
            ("[a]: http://b\n\ntext", vec!["text"]),
            ("---\ntitle: x\n---\ntext", vec!["text"]),
            ("---\nno end", vec!["no end"]),
        ] {
            let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(read(markdown).paragraphs, expected, "{markdown:?}");
        }
    }

    #[test]
    fn headings_and_title() {
        let document =
            read("Intro\n\n## The *second* ##\nText\nFirst\n=====\nDeep\n---\n#no\n####### no");
        let headings: Vec<(usize, &str)> = document
            .headings
            .iter()
            .map(|heading| (heading.level, &*heading.text))
            .collect();
        assert_eq!(
            headings,
            [(2, "The second"), (1, "Text First"), (2, "Deep")]
        );
        assert_eq!(document.title, "Text First");
        assert_eq!(document.paragraphs, ["Intro", "#no ####### no"]);
    }
}
