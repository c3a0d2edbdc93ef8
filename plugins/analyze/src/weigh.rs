//! The weight of each sentence in its document.

use std::collections::BTreeSet;

use crate::keywords::Frequencies;
use crate::{Sentence, rounded};

/// What a word of the title adds to the weight of a term.
const IN_TITLE: f64 = 0.5;
/// What the first sentence of a document gains; a sentence further down gains less.
const FIRST: f64 = 0.3;
/// Of so many terms on, a longer sentence gains nothing by its length; a shorter one loses.
const FULL_LENGTH: usize = 6;

/// A score for each sentence, 1 for the best: the mean weight of its different terms, more for
/// words of the title and for the beginning of the document, less for fragments.
pub(crate) fn scores(sentences: &[Sentence], title: &str, frequencies: &Frequencies) -> Vec<f64> {
    let title = title.to_lowercase();
    let title: BTreeSet<&str> = title.split(|c: char| !c.is_alphanumeric()).collect();
    let raw: Vec<f64> = sentences
        .iter()
        .enumerate()
        .map(|(place, sentence)| {
            let terms: BTreeSet<&str> = sentence.terms.iter().map(String::as_str).collect();
            let weight: f64 = terms
                .iter()
                .map(|term| {
                    let titled = if title.contains(term) { IN_TITLE } else { 0.0 };
                    frequencies.weight(term) + titled
                })
                .sum();
            let length = terms.len().max(FULL_LENGTH) as f64;
            weight / length * (1.0 + FIRST / (1.0 + place as f64))
        })
        .collect();
    let best = raw.iter().copied().fold(0.0, f64::max);
    let share = |score: f64| {
        if best > 0.0 {
            rounded(score / best)
        } else {
            0.0
        }
    };
    raw.into_iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::*;
    use crate::sentence;

    fn of(title: &str, sentences: &[Sentence]) -> Vec<f64> {
        scores(sentences, title, &Frequencies::count(sentences))
    }

    #[test]
    fn frequent_words_the_title_and_the_beginning_count() {
        let sentences = ["a1 a1 b1", "c1 d1 e1", "a1 b1 f1"].map(|terms| sentence("", terms));
        let plain = of("", &sentences);
        assert!(plain.contains(&1.0) && plain[0] > plain[1], "{plain:?}");
        assert!(plain[2] > plain[1], "{plain:?}");
        let titled = of("About C1, D1", &sentences);
        assert!(titled[1] > plain[1], "{titled:?}");
        let same = ["x1 y1", "x1 y1"].map(|terms| sentence("", terms));
        assert!(of("", &same)[0] > of("", &same)[1]);
    }

    #[test]
    fn fragments_lose_and_nothing_is_nothing() {
        let sentences = ["a1 b1", "a1 b1 a1 b1", "a1 b1 c1 d1 e1 f1", ""].map(|t| sentence("", t));
        let scores = of("", &sentences);
        assert!(scores[2] > scores[1], "{scores:?}");
        assert_eq!(scores[3], 0.0);
        assert_eq!(of("", &[sentence("", "")]), [0.0]);
    }
}
