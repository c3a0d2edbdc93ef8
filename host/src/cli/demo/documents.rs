//! The texts of the demonstration: found on the machine, split into paragraphs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use mistersmith_core::files::read_text;

/// Debian's folder of the licence texts that its packages refer to.
const LICENCES: &str = "/usr/share/common-licenses";

/// The project's own documents, where the demonstration is run from a checkout.
const OWN: [&str; 2] = [".", "docs"];

/// Fewest bytes of a paragraph: shorter pieces are headings and numbers.
const SHORTEST: usize = 60;

/// Longest document in a report, in bytes; a longer one is cut to its beginning.
const LONGEST: usize = 64 * 1024;

/// Largest file that is read, in bytes: plain prose is never larger in practice.
const LARGEST: u64 = 4 * 1024 * 1024;

/// A text, and the name of its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Document {
    /// The name of the file.
    pub(super) name: String,
    /// The whole text.
    pub(super) text: String,
}

/// One paragraph of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Paragraph {
    /// The name of the document.
    pub(super) document: String,
    /// Its text, on one line.
    pub(super) text: String,
}

/// The documents in the folders that the user named, or in the default ones, if they contain prose.
pub(super) fn read(named: &[PathBuf]) -> Vec<Document> {
    let mut files = BTreeSet::new();
    if named.is_empty() {
        files.extend(texts(Path::new(LICENCES), |_| true));
        for folder in OWN {
            files.extend(texts(Path::new(folder), is_markdown));
        }
    }
    for path in named {
        if path.is_dir() {
            files.extend(texts(path, |_| true));
        } else {
            files.insert(path.clone());
        }
    }
    // Links (GPL to GPL-3) are the same text twice.
    let files: BTreeSet<PathBuf> = files
        .iter()
        .filter_map(|file| fs::canonicalize(file).ok())
        .collect();
    files.iter().filter_map(|file| read_one(file)).collect()
}

/// The paragraphs of documents, at most `most`, some of every document.
pub(super) fn paragraphs(documents: &[Document], most: usize) -> Vec<Paragraph> {
    let of = |document: &Document| {
        split(&document.text)
            .map(|text| Paragraph {
                document: document.name.clone(),
                text,
            })
            .collect()
    };
    take_in_turn(documents.iter().map(of).collect(), most)
}

/// The documents for a report, at most `most`: Markdown before plain text, the README first. Very
/// long ones are cut between two paragraphs.
pub(super) fn chosen(documents: &[Document], most: usize) -> Vec<Document> {
    let mut chosen: Vec<Document> = documents.to_vec();
    chosen.sort_by_key(|document| {
        (
            document.name != "README.md",
            !is_markdown(Path::new(&document.name)),
        )
    });
    chosen.truncate(most);
    for document in &mut chosen {
        if document.text.len() > LONGEST {
            let end = document.text.floor_char_boundary(LONGEST);
            let end = document.text.get(..end).and_then(|text| text.rfind("\n\n"));
            document.text.truncate(end.unwrap_or(0));
        }
    }
    chosen.retain(|document| !document.text.is_empty());
    chosen
}

/// Takes some of every document rather than all of the first.
fn take_in_turn(documents: Vec<Vec<Paragraph>>, most: usize) -> Vec<Paragraph> {
    let mut rest: Vec<_> = documents.into_iter().map(Vec::into_iter).collect();
    let mut taken = Vec::new();
    while !rest.is_empty() && taken.len() < most {
        rest.retain_mut(|document| match document.next() {
            Some(paragraph) if taken.len() < most => {
                taken.push(paragraph);
                true
            }
            _ => false,
        });
    }
    taken
}

fn is_markdown(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "md")
}

fn texts(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && wanted(path))
        .collect()
}

fn read_one(file: &Path) -> Option<Document> {
    let document = Document {
        text: read_text(file, LARGEST).ok()?,
        name: file.file_name()?.to_string_lossy().into_owned(),
    };
    split(&document.text).next()?;
    Some(document)
}

/// The paragraphs of a text: separated by empty lines, on one line each.
fn split(text: &str) -> impl Iterator<Item = String> {
    let mut lines = text.lines().map(str::trim).peekable();
    std::iter::from_fn(move || {
        while lines.next_if(|line| line.is_empty()).is_some() {}
        let mut paragraph = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.is_empty()) {
            paragraph.push(line);
        }
        (!paragraph.is_empty()).then(|| paragraph.join(" "))
    })
    .filter(|paragraph| paragraph.len() >= SHORTEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_stand_between_empty_lines() {
        let long = "a line of some length that goes on for a while";
        let text = format!("\n\nTitle\n\n  {long}\n{long}\n\n\n{long} {long}");
        let found: Vec<String> = split(&text).collect();
        assert_eq!(found, [format!("{long} {long}"), format!("{long} {long}")]);
    }

    #[test]
    fn every_document_gets_a_turn() {
        let document = |name: &str, count: usize| {
            let paragraph = Paragraph {
                document: name.into(),
                text: String::new(),
            };
            vec![paragraph; count]
        };
        let taken = take_in_turn(vec![document("a", 9), document("b", 1)], 4);
        let names: Vec<&str> = taken.iter().map(|p| p.document.as_str()).collect();
        assert_eq!(names, ["a", "b", "a", "a"]);
    }

    #[test]
    fn a_report_is_made_of_readable_documents() {
        let document = |name: &str, text: &str| Document {
            name: name.into(),
            text: text.into(),
        };
        let long = format!("first\n\n{}", "word ".repeat(20_000));
        let documents = [
            document("GPL-3", "text"),
            document("A.md", &long),
            document("README.md", "text"),
            document("B.md", &"x".repeat(100_000)),
        ];
        let found = chosen(&documents, 3);
        let found: Vec<(&str, &str)> = found.iter().map(|d| (&*d.name, &*d.text)).collect();
        assert_eq!(found, [("README.md", "text"), ("A.md", "first")]);
        assert_eq!(chosen(&documents[..1], 3).len(), 1);
    }
}
