//! Plain text: paragraphs stand between empty lines.

use crate::{Document, Heading};

/// A longer first paragraph is no title.
const LONGEST_TITLE: usize = 100;

/// Reads a plain text. What stands alone at its beginning like a title is its title.
pub(crate) fn read(text: &str) -> Document {
    let mut document = Document::default();
    let mut paragraph = String::new();
    for line in text.lines().chain([""]) {
        let line = line.trim();
        if !line.is_empty() {
            if !paragraph.is_empty() {
                paragraph.push(' ');
            }
            paragraph.push_str(&line.split_whitespace().collect::<Vec<_>>().join(" "));
        } else if !paragraph.is_empty() {
            document.paragraphs.push(std::mem::take(&mut paragraph));
        }
    }
    let title = document.paragraphs.first().filter(|first| is_title(first));
    if let Some(title) = title.cloned().filter(|_| document.paragraphs.len() > 1) {
        document.paragraphs.remove(0);
        document.headings.push(Heading {
            level: 1,
            text: title.clone(),
        });
        document.title = title;
    }
    document
}

fn is_title(paragraph: &str) -> bool {
    paragraph.len() <= LONGEST_TITLE && !paragraph.ends_with(['.', '!', '?', ':', ',', ';'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_stand_between_empty_lines() {
        for (text, title, paragraphs) in [
            ("", "", vec![]),
            (
                "one\n  two  three\r\n\r\n\nfour.",
                "one two three",
                vec!["four."],
            ),
            ("Just this", "", vec!["Just this"]),
            (
                "A sentence.\n\nAnother.",
                "",
                vec!["A sentence.", "Another."],
            ),
        ] {
            let document = read(text);
            assert_eq!(
                (&*document.title, document.paragraphs),
                (title, paragraphs.iter().map(|p| (*p).to_owned()).collect()),
                "{text:?}"
            );
            assert_eq!(document.headings.len(), usize::from(!title.is_empty()));
        }
    }
}
