//! The word frequencies of a document, and its keywords.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::{Sentence, rounded};

/// A word that the document is about.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Keyword {
    pub(crate) word: String,
    pub(crate) count: u32,
    /// 1 for the most frequent one.
    pub(crate) weight: f64,
}

/// How often each word stands in a document; forms that differ in a final "s" are one word.
pub(crate) struct Frequencies<'a> {
    counts: BTreeMap<&'a str, u32>,
}

impl<'a> Frequencies<'a> {
    pub(crate) fn count(sentences: &'a [Sentence]) -> Self {
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        for term in sentences.iter().flat_map(|sentence| &sentence.terms) {
            *counts.entry(term).or_default() += 1;
        }
        // Only a plural whose singular stands in the document too is surely one.
        let plurals: Vec<&str> = counts
            .keys()
            .copied()
            .filter(|term| singular(term).is_some_and(|one| counts.contains_key(one)))
            .collect();
        for plural in plurals {
            let many = counts.remove(plural).unwrap_or(0);
            if let Some(one) = singular(plural) {
                *counts.entry(one).or_default() += many;
            }
        }
        Self { counts }
    }

    /// How often a term stands there, in either form, beside the most frequent one: 0 to 1.
    pub(crate) fn weight(&self, term: &str) -> f64 {
        f64::from(self.get(term)) / f64::from(self.most())
    }

    /// The most frequent words; of equally frequent ones the alphabetically first.
    pub(crate) fn keywords(&self, most: usize) -> Vec<Keyword> {
        let mut words: Vec<(&str, u32)> = self.counts.iter().map(|(w, n)| (*w, *n)).collect();
        // A stable sort keeps the alphabetical order of the map.
        words.sort_by_key(|(_, count)| Reverse(*count));
        words
            .into_iter()
            .take(most)
            .map(|(word, count)| Keyword {
                word: word.to_owned(),
                count,
                weight: rounded(self.weight(word)),
            })
            .collect()
    }

    fn get(&self, term: &str) -> u32 {
        let found = self.counts.get(term);
        let found = found.or_else(|| self.counts.get(singular(term)?));
        found.copied().unwrap_or(0)
    }

    fn most(&self) -> u32 {
        self.counts.values().copied().max().unwrap_or(1)
    }
}

fn singular(term: &str) -> Option<&str> {
    term.strip_suffix('s').filter(|one| one.len() > 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentence;

    #[test]
    fn plurals_are_counted_with_their_singular() {
        let sentences = [
            sentence("", "agent agents host"),
            sentence("", "agents nats zoo"),
        ];
        let frequencies = Frequencies::count(&sentences);
        let keywords: Vec<(String, u32)> = frequencies
            .keywords(3)
            .into_iter()
            .map(|k| (k.word, k.count))
            .collect();
        let expected = [("agent", 3), ("host", 1), ("nats", 1)];
        assert_eq!(
            keywords,
            expected.map(|(word, count)| (word.to_owned(), count))
        );
        for (term, weight) in [
            ("agent", 1.0),
            ("agents", 1.0),
            ("host", 1.0 / 3.0),
            ("none", 0.0),
        ] {
            assert_eq!(frequencies.weight(term), weight, "{term}");
        }
        assert_eq!(Frequencies::count(&[]).weight("x"), 0.0);
    }
}
