//! Counting, apart from messages and stores.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a text consists of.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Count<'a> {
    /// Runs of letters, digits and apostrophes.
    pub(crate) words: u64,
    pub(crate) lines: u64,
    /// Unicode scalar values, line ends included.
    pub(crate) characters: u64,
    /// The most frequent words first; of equally frequent ones the alphabetically first.
    pub(crate) top: Vec<Frequent<'a>>,
}

/// A word and how often it stands in the text.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Frequent<'a> {
    pub(crate) word: &'a str,
    pub(crate) count: u64,
}

/// The sum over all texts.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) texts: u64,
    pub(crate) words: u64,
    pub(crate) lines: u64,
    pub(crate) characters: u64,
}

impl Totals {
    /// The sum with one more text.
    pub(crate) fn plus(self, count: &Count) -> Self {
        Self {
            texts: self.texts.saturating_add(1),
            words: self.words.saturating_add(count.words),
            lines: self.lines.saturating_add(count.lines),
            characters: self.characters.saturating_add(count.characters),
        }
    }
}

/// Counts a text, and names its `top` most frequent words.
pub(crate) fn count(text: &str, top: usize) -> Count<'_> {
    let mut frequency: BTreeMap<&str, u64> = BTreeMap::new();
    let mut words = 0;
    for word in text.split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '’') {
        let word = word.trim_matches(['\'', '’']);
        if !word.is_empty() {
            words += 1;
            *frequency.entry(word).or_default() += 1;
        }
    }
    let mut frequent: Vec<Frequent> = frequency
        .into_iter()
        .map(|(word, count)| Frequent { word, count })
        .collect();
    // A stable sort keeps the alphabetical order of the map.
    frequent.sort_by_key(|frequent| Reverse(frequent.count));
    frequent.truncate(top);
    Count {
        words,
        lines: text.lines().map(|_| 1).sum(),
        characters: text.chars().map(|_| 1).sum(),
        top: frequent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (text, words, lines, characters) in [
            ("", 0, 0, 0),
            ("one", 1, 1, 3),
            ("one\n", 1, 1, 4),
            ("one\r\ntwo\n\nthree", 3, 4, 15),
            ("don't 'quote' -- 3.14", 4, 1, 21),
            ("Straße, größer: 日本語!", 3, 1, 20),
            ("...", 0, 1, 3),
        ] {
            let found = count(text, 0);
            let expected = (words, lines, characters);
            assert_eq!(
                (found.words, found.lines, found.characters),
                expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn the_most_frequent_come_first() {
        let top = |text, top| -> Vec<(&str, u64)> {
            let found = count(text, top).top.into_iter();
            found
                .map(|frequent| (frequent.word, frequent.count))
                .collect()
        };
        assert_eq!(top("b a c a b a", 2), [("a", 3), ("b", 2)]);
        assert_eq!(top("c b a", 5), [("a", 1), ("b", 1), ("c", 1)]);
        assert_eq!(top("a", 0), []);
    }

    #[test]
    fn sums_never_overflow() {
        let full = Totals {
            texts: u64::MAX,
            ..Totals::default()
        };
        assert_eq!(full.plus(&count("a", 1)).texts, u64::MAX);
    }
}
