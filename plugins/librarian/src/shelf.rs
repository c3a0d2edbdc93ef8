//! The shelf of a librarian, and the search in it.

use std::collections::BTreeSet;

use serde::Serialize;

/// The shelves, compiled into the plugin: paragraphs between empty lines.
const SHELVES: [(&str, &str); 3] = [
    ("messaging", include_str!("../shelves/messaging.txt")),
    ("durability", include_str!("../shelves/durability.txt")),
    ("coordination", include_str!("../shelves/coordination.txt")),
];

/// Shorter words ("is", "how", "the") say little.
const SHORTEST: usize = 4;

/// Longer words than this are told apart by their beginning alone: "deliver" and "delivery".
const STEM: usize = 6;

/// Questions that say nothing.
const EMPTY: [&str; 12] = [
    "what", "when", "where", "which", "does", "with", "that", "this", "from", "have", "will",
    "would",
];

/// One shelf.
pub(crate) struct Shelf {
    pub(crate) name: &'static str,
    passages: Vec<(&'static str, BTreeSet<String>)>,
}

/// A passage that fits a question.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Passage<'a> {
    pub(crate) text: &'a str,
    /// The share of the question's words that stand in it, 0 to 1.
    pub(crate) score: f64,
}

impl Shelf {
    /// The shelf of the librarian with this number, from 1.
    pub(crate) fn of(number: usize) -> Self {
        let place = number.saturating_sub(1) % SHELVES.len();
        let (name, text) = SHELVES.get(place).copied().unwrap_or(("empty", ""));
        let passages = text.split("\n\n").map(str::trim);
        Self {
            name,
            passages: passages.map(|text| (text, stems(text))).collect(),
        }
    }

    /// The passages that fit a question best, at most so many, the best one first.
    pub(crate) fn look_up(&self, question: &str, most: usize) -> Vec<Passage<'_>> {
        let asked = stems(question);
        let mut found: Vec<Passage> = self
            .passages
            .iter()
            .map(|(text, stems)| {
                let shared = asked.intersection(stems).count() as f64;
                let score = shared / asked.len().max(1) as f64;
                Passage {
                    text,
                    score: (score * 100.0).round() / 100.0,
                }
            })
            .filter(|passage| passage.score > 0.0)
            .collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(most);
        found
    }
}

/// The beginnings of the words that say anything, in lower case.
fn stems(text: &str) -> BTreeSet<String> {
    text.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.chars().count() >= SHORTEST && !EMPTY.contains(word))
        .map(|word| word.trim_end_matches('s').chars().take(STEM).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_their_forms() {
        let expected = ["deliver", "delivery", "delivered"].map(|word| stems(word).len());
        assert_eq!(expected, [1, 1, 1]);
        assert_eq!(
            stems("How does the Deliveries' message groups work?")
                .into_iter()
                .collect::<Vec<_>>(),
            ["delive", "group", "messag", "work",]
        );
    }

    #[test]
    fn what_nobody_knows_is_not_found() {
        for question in ["", "how?", "elephants"] {
            assert_eq!(Shelf::of(1).look_up(question, 9), [], "{question}");
        }
        assert!(
            Shelf::of(3)
                .look_up("Which agent is the leader?", 1)
                .first()
                .is_some_and(|best| {
                    best.text.starts_with("A leader election") && best.score == 1.0
                })
        );
    }
}
